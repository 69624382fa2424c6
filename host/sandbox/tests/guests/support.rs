//! Builds the guests that the tests run, and opens sandboxes for them.
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use offloom_sandbox::{Compiler, GuestOptions, GuestRun, Sandbox, SandboxConfig, SandboxLimits};

use crate::build_guest::build_guests;

/// Cargo's target directory; the guests are built in `guest` below it, as the program's build does.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The bytes of a guest of the `guest` workspace, built when it is not up to date.
fn build(package: &str) -> Vec<u8> {
    let guest_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
    let [file] = build_guests(&guest_dir, &target_dir(), [package]).unwrap();
    std::fs::read(file).unwrap()
}

/// The default exporter.
pub fn parquet_wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| build("offloom-guest-parquet"))
}

/// The guest of which an option says how it misbehaves.
pub fn hostile_wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| build("offloom-guest-hostile"))
}

/// The exporter that guest authors copy.
pub fn minimal_wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| build("offloom-guest-minimal"))
}

/// A sandbox whose compiled guests are kept between runs of the tests.
pub fn sandbox(limits: SandboxLimits) -> Sandbox {
    use std::os::unix::fs::DirBuilderExt;
    let cache_dir = target_dir().join("tmp/compiled-guests");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&cache_dir).unwrap();
    Sandbox::new(SandboxConfig { compiler: compiler(), cache_dir: Some(cache_dir), limits })
        .unwrap()
}

/// The program of these tests compiles guests too, in [`compile_guest`].
pub fn compiler() -> Compiler {
    Compiler::this_program(["support::compile_guest", "--exact", "--ignored", "--nocapture"])
}

#[test]
#[ignore = "the process in which the other tests compile guests"]
fn compile_guest() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(2).is_some_and(|second| second == "--exact") {
        offloom_sandbox::compile_guest(&arguments[5..]).unwrap();
    }
}

/// The default exporter with the default limits, in an export of its own.
pub fn parquet_guest() -> GuestRun {
    sandbox(SandboxLimits::default()).load_exporter(parquet_wasm()).unwrap().for_export()
}

/// Options from pairs.
pub fn options(pairs: &[(&str, &str)]) -> GuestOptions {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// All that was logged in this process since the first call.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Mutex<Vec<u8>>>);

impl LogLines {
    /// The lines with these words in them.
    pub fn containing(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

impl std::io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Begins to collect the log of the whole process, once.
pub fn log_lines() -> LogLines {
    static LINES: OnceLock<LogLines> = OnceLock::new();
    let collect = || {
        let lines = LogLines::default();
        let writer = lines.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        lines
    };
    LINES.get_or_init(collect).clone()
}
