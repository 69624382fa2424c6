//! What is loaded and what is not: imports, worlds, formats, start-up code, the cache.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use offloom_rows::Schema;
use offloom_sandbox::{Breach, GuestError, Sandbox, SandboxConfig, SandboxError, SandboxLimits};
use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use crate::support::{compiler, options, parquet_wasm, sandbox};

/// A component of a world, made of a core module in which every function is `unreachable`; `edit`
/// changes the module's text.
pub fn component(world: &str, edit: impl Fn(String) -> String) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).unwrap();
    resolve
        .push_str(
            "sockets.wit",
            "package wasi:sockets@0.2.6;
             interface tcp-create-socket { create-tcp-socket: func() -> u32; }",
        )
        .unwrap();
    let package = resolve
        .push_str(
            "test.wit",
            "package test:worlds;
             world exporter { include offloom:%export/exporter-guest@0.1.0; }
             world transformer { include offloom:%export/transform-guest@0.1.0; }
             world networked {
                 include offloom:%export/exporter-guest@0.1.0;
                 import wasi:sockets/tcp-create-socket@0.2.6;
             }",
        )
        .unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    let text = wasmprinter::print_bytes(&module).unwrap();
    let mut module = wat::parse_str(edit(text)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn load(component: &[u8]) -> Result<(), SandboxError> {
    let dir = tempfile::tempdir().unwrap();
    Sandbox::new(config(dir.path())).unwrap().load_exporter(component).map(|_| ())
}

/// The default limits and this directory of compiled guests.
fn config(cache_dir: &Path) -> SandboxConfig {
    SandboxConfig {
        compiler: compiler(),
        cache_dir: Some(cache_dir.to_owned()),
        limits: SandboxLimits::default(),
    }
}

fn refused(component: &[u8]) -> String {
    load(component).unwrap_err().to_string()
}

/// A module's text with this before its end.
fn append(text: String, items: &str) -> String {
    let end = text.trim_end().strip_suffix(')').unwrap().to_owned();
    format!("{end}\n{items})")
}

#[test]
fn an_exporter_is_loaded_and_anything_more_or_less_is_refused() {
    load(&component("exporter", |text| text)).unwrap();
    assert_eq!(
        refused(&component("networked", |text| text)),
        "the component imports `wasi:sockets/tcp-create-socket@0.2.6`, which guests are not granted"
    );
    let wrong = refused(&component("transformer", |text| text));
    assert!(
        wrong.contains("guest of the kind `transform`, and `exporter` is needed here"),
        "{wrong}"
    );
}

/// The core module is invalid, which the compiler would say first.
#[test]
fn imports_are_checked_before_anything_is_compiled() {
    let refused = |header: &str| {
        let invalid = "(core module (func (result i32)))";
        let error = load(&wat::parse_str(format!("(component {header} {invalid})")).unwrap());
        error.unwrap_err()
    };
    for name in [
        "x:y/z",
        "wasi:cli/environment@0.3.0",
        "wasi:cli/environment",
        "wasi:sockets/tcp@0.2.6",
        "offloom:export/exporter@0.1.0",
        "offloom:export/types",
        "types",
    ] {
        // An instance without items: nobody calls it, so the linker would accept it.
        let error = refused(&format!("(import \"{name}\" (instance))"));
        assert!(
            matches!(&error, SandboxError::ForbiddenImport { name: named } if named == name),
            "{error:?}"
        );
    }
    for name in ["offloom:export/types@0.2.0", "offloom:export/source@0.1.1"] {
        let error = refused(&format!("(import \"{name}\" (instance))"));
        assert!(
            matches!(&error, SandboxError::OtherContract { name: named, .. } if named == name),
            "{error:?}"
        );
        assert!(error.to_string().contains("version 0.1.0"), "{error}");
    }
    let export = |name: &str| refused(&format!("(instance $i) (export \"{name}\" (instance $i))"));
    let error = export("offloom:export/exporter@0.2.0");
    assert!(matches!(error, SandboxError::OtherContract { .. }), "{error:?}");
    assert!(matches!(export("a:b/c"), SandboxError::WrongWorld(_)));
    // With everything that a guest needs, the compiler gets it and finds that it is invalid.
    let error = export("offloom:export/exporter@0.1.0");
    assert!(matches!(error, SandboxError::Refused(_)), "{error:?}");
    // The imports of a component within are no imports of the outer one.
    let error = refused("(component (import \"x:y/z\" (instance)))");
    assert!(matches!(error, SandboxError::WrongWorld(_)), "{error:?}");
}

#[test]
fn sizes_are_checked_before_anything_is_compiled() {
    let nested = |levels: usize| "(component ".repeat(levels) + &")".repeat(levels);
    let modules = |count: usize| format!("(component {})", "(core module)".repeat(count));
    let functions = |count: usize| {
        // Two modules: it is the sum that counts.
        let functions = "(func)".repeat(count / 2);
        format!("(component (core module {functions}) (core module {functions}))")
    };
    for (within, beyond, words) in [
        (nested(16), nested(17), "16 levels of nested components"),
        (modules(64), modules(65), "64 core modules"),
        (functions(200_000), functions(200_002), "200000 functions"),
    ] {
        let refused = |text: &str| load(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(matches!(refused(&within), SandboxError::WrongWorld(_)), "{words}");
        let error = refused(&beyond).to_string();
        assert_eq!(error, format!("the component has more than {words}"));
    }
    // Far beyond, where recursion would end the process.
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
        if !deep.is_empty() {
            inner.push(4);
            inner.extend(leb128(deep.len()));
            inner.append(&mut deep);
        }
        deep = inner;
    }
    assert!(matches!(load(&deep).unwrap_err(), SandboxError::TooMany { limit: 16, .. }));
}

/// A number as binary WebAssembly writes it.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn what_is_no_component_is_distinguished() {
    let component = component("exporter", |text| text);
    let native = std::env::current_exe().unwrap();
    for (bytes, words) in [
        (&b"(component)"[..], "it is text"),
        (b"\0asm\x01\0\0\0", "it is a core module"),
        (b"", "it is empty"),
        (b"PK\x03\x04", "does not begin like one"),
        (&fs::read(native).unwrap()[..4096], "it is native code"),
    ] {
        let message = refused(bytes);
        assert!(message.contains("not a WebAssembly component"), "{message}");
        assert!(message.contains(words), "{message}");
    }
    // Damaged in many places: refused, or whole by luck, but never a panic.
    for at in (8..component.len()).step_by(component.len() / 60) {
        let mut damaged = component.clone();
        damaged[at] ^= 0x55;
        let _ = load(&damaged);
        assert!(load(&component[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn features_beyond_the_allowed_are_refused() {
    for (items, words) in [
        ("(memory 1) (memory 1)", "multiple memories"),
        ("(tag)", "exceptions"),
        ("(type (struct))", "gc"),
    ] {
        let message = refused(&component("exporter", |text| append(text, items)));
        assert!(message.contains("the component was refused"), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let small = SandboxLimits { component_bytes: 100, ..SandboxLimits::default() };
    let error = sandbox(small).load_exporter(parquet_wasm()).map(|_| ()).unwrap_err();
    assert!(matches!(error, SandboxError::TooLarge { limit: 100, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_is_under_the_same_limits() {
    let limits =
        SandboxLimits { cpu_between_moves: Duration::from_millis(200), ..SandboxLimits::default() };
    let open = async |items: &str| {
        let component = component("exporter", |text| append(text, items));
        let guest = sandbox(limits.clone()).load_exporter(&component).unwrap().for_export();
        let schema = Schema::of_class("Article", false, None);
        guest.open(&schema, &options(&[]), 1).await.map(|_| ()).unwrap_err()
    };
    let error = open("(func $spin (loop br 0)) (start $spin)").await;
    assert!(matches!(error, GuestError::Limit(Breach::CpuBetweenMoves(_))), "{error:?}");
    let error = open("(table 100001 funcref)").await;
    assert!(matches!(error, GuestError::Limit(Breach::TableElements { .. })), "{error:?}");
    let error = open("(func $t (table.fill $huge (i32.const 0) (ref.null func) (i32.const 90001))) (table $huge 90000 funcref) (start $t)").await;
    assert!(error.to_string().contains("out of bounds table access"), "{error}");
    let error = open("(func $m (drop (memory.grow (i32.const 65535)))) (start $m)").await;
    assert!(matches!(error, GuestError::Limit(Breach::Memory { .. })), "{error:?}");
    // Nothing wrong with its start: the first call finds `unreachable`.
    let error = open("").await;
    assert!(error.to_string().contains("unreachable code"), "{error}");
}

#[test]
fn compiled_guests_are_kept_and_damage_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = dir.path().join("below/offloom");
    let component = component("exporter", |text| text);
    let load = || Sandbox::new(config(&cache_dir)).unwrap().load_exporter(&component).unwrap();
    let entry = || {
        let entries: Vec<_> =
            fs::read_dir(&cache_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    };

    let digest = load().digest().to_owned();
    assert!(entry().file_name().unwrap().to_str().unwrap().starts_with(&digest));
    assert_eq!(fs::metadata(&cache_dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(entry()).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = fs::read(entry()).unwrap();
    let written = fs::metadata(entry()).unwrap().modified().unwrap();
    load();
    assert_eq!(fs::metadata(entry()).unwrap().modified().unwrap(), written, "taken from the cache");

    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for damaged in [vec![], whole[..20].to_vec(), whole[..5000].to_vec(), flipped(0), flipped(9000)]
    {
        fs::write(entry(), damaged).unwrap();
        load();
        assert_eq!(fs::read(entry()).unwrap(), whole, "compiled anew");
    }
    // An entry that others could have written is not run either.
    fs::set_permissions(entry(), fs::Permissions::from_mode(0o666)).unwrap();
    load();
    assert_eq!(fs::metadata(entry()).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Each guest's own code runs, whatever its entry holds, and each entry is put right.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_guest_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let components = [
        component("exporter", |text| text),
        component("exporter", |text| append(text, "(table 100001 funcref)")),
    ];
    let open = async |component: &[u8]| {
        let guest = Sandbox::new(config(dir.path())).unwrap().load_exporter(component).unwrap();
        let schema = Schema::of_class("Article", false, None);
        let error =
            guest.for_export().open(&schema, &options(&[]), 1).await.map(|_| ()).unwrap_err();
        (guest.digest().to_owned(), error.to_string())
    };
    let said = [open(&components[0]).await, open(&components[1]).await];
    assert!(said[0].1.contains("unreachable code"), "{said:?}");
    assert!(said[1].1.contains("100000 table elements"), "{said:?}");
    let entries: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [first, second] = entries.as_slice() else { panic!("{entries:?}") };
    let whole = [fs::read(first).unwrap(), fs::read(second).unwrap()];

    let beside = dir.path().join("beside");
    fs::rename(first, &beside).unwrap();
    fs::rename(second, first).unwrap();
    fs::rename(&beside, second).unwrap();
    for (component, said) in components.iter().zip(&said) {
        assert_eq!(open(component).await, *said);
    }
    assert_eq!([fs::read(first).unwrap(), fs::read(second).unwrap()], whole, "compiled anew");

    // The code itself is no guest.
    let code = &whole[0][..whole[0].len() - 32 - first.file_name().unwrap().len()];
    assert!(refused(code).contains("it is native code"));

    // As earlier versions wrote it: the checksum and the code, without a name.
    fs::write(first, [Sha256::digest(code).as_slice(), code].concat()).unwrap();
    for (component, said) in components.iter().zip(&said) {
        assert_eq!(open(component).await, *said);
    }
    assert_eq!(fs::read(first).unwrap(), whole[0], "compiled anew");
}

#[test]
fn a_cache_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let message = Sandbox::new(config(dir.path())).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("can be written by other users"), "{message}");
    assert!(message.contains("chmod 700"), "{message}");
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(Sandbox::new(config(&file)).is_err());
}
