//! A whole exporter in text, a few hundred bytes when it is compiled: for what no compiler of a language
//! makes. It writes `ids` for every batch. Marks in the text, such as `(;encode;)`, are where a test
//! puts code. `$attack` is not 0 when the guest has options.
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// As much of WASI as tests call.
const WASI: [(&str, &str); 3] = [
    (
        "io.wit",
        "package wasi:io@0.2.6;
         interface error { resource error; }
         interface poll {
             resource pollable { ready: func() -> bool; block: func(); }
             poll: func(in: list<borrow<pollable>>) -> list<u32>;
         }
         interface streams {
             use error.{error};
             use poll.{pollable};
             variant stream-error { last-operation-failed(error), closed }
             resource input-stream {
                 read: func(len: u64) -> result<list<u8>, stream-error>;
             }
             resource output-stream {
                 check-write: func() -> result<u64, stream-error>;
                 write: func(contents: list<u8>) -> result<_, stream-error>;
                 write-zeroes: func(len: u64) -> result<_, stream-error>;
                 blocking-write-zeroes-and-flush: func(len: u64) -> result<_, stream-error>;
                 subscribe: func() -> pollable;
                 splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
             }
         }",
    ),
    (
        "cli.wit",
        "package wasi:cli@0.2.6;
         interface stdin { use wasi:io/streams@0.2.6.{input-stream}; get-stdin: func() -> input-stream; }
         interface stderr { use wasi:io/streams@0.2.6.{output-stream}; get-stderr: func() -> output-stream; }",
    ),
    (
        "test.wit",
        "package test:worlds;
         world exporter {
             include offloom:%export/exporter-guest@0.1.0;
             import wasi:io/poll@0.2.6;
             import wasi:io/streams@0.2.6;
             import wasi:cli/stdin@0.2.6;
             import wasi:cli/stderr@0.2.6;
         }",
    ),
];

/// The core module.
pub const TEXT: &str = r#"(module
  (import "offloom:export/source@0.1.0" "[method]cursor.next" (func $next (param i32 i32 i32 i32)))
  (import "offloom:export/source@0.1.0" "[resource-drop]cursor" (func $drop-cursor (param i32)))
  (import "offloom:export/sink@0.1.0" "[method]output.write" (func $write (param i32 i32 i32 i32)))
  (import "offloom:export/sink@0.1.0" "[resource-drop]output" (func $drop-output (param i32)))
  (import "[export]offloom:export/exporter@0.1.0" "[resource-new]file" (func $new-file (param i32) (result i32)))
  (;imports;)
  (memory (export "memory") 4 (;maximum;))
  (data (i32.const 16) "idsapplication/octet-stream")
  (global $heap (mut i32) (i32.const 4096))
  (global $attack (mut i32) (i32.const 0))
  (;items;)
  (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (;realloc;)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (loop $more (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
      (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
      unreachable)))
    (local.get $at))
  (func $post (param i32)
    (;post;)
    (global.set $heap (i32.const 4096)))
  (export "cabi_post_offloom:export/exporter@0.1.0#describe" (func $post))
  (export "cabi_post_offloom:export/exporter@0.1.0#plan" (func $post))
  (export "cabi_post_offloom:export/exporter@0.1.0#[method]file.encode" (func $post))
  (func (export "offloom:export/about@0.1.0#describe-guest") (result i32)
    (;about;)
    (i32.store (i32.const 256) (i32.const 16)) (i32.store (i32.const 260) (i32.const 3))
    (i32.store (i32.const 264) (i32.const 0)) (i32.store (i32.const 268) (i32.const 0))
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#describe") (param i32 i32) (result i32)
    (global.set $attack (local.get 1))
    (;describe;)
    (i32.store (i32.const 264) (i32.const 16)) (i32.store (i32.const 268) (i32.const 3))
    (i32.store (i32.const 272) (i32.const 16)) (i32.store (i32.const 276) (i32.const 3))
    (i32.store (i32.const 280) (i32.const 19)) (i32.store (i32.const 284) (i32.const 24))
    (;describe-answer;)
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#plan") (param $classes i32) (param $count i32)
      (param i32 i32 i32 i32 i32 i32) (result i32)
    (local $index i32) (local $names i32)
    (global.set $attack (local.get 7))
    (;plan;)
    (local.set $names (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (i32.store (i32.const 260) (local.get $names))
    (i32.store (i32.const 264) (local.get $count))
    (loop $more (if (i32.lt_u (local.get $index) (local.get $count)) (then
      (i64.store (i32.add (local.get $names) (i32.mul (local.get $index) (i32.const 8)))
        (i64.load (i32.add (local.get $classes) (i32.mul (local.get $index) (i32.const 32)))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $more))))
    (;plan-answer;)
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#[static]file.open")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (global.set $attack (local.get 8))
    (;open;)
    (i32.store (i32.const 260) (call $new-file (i32.const 7)))
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#[method]file.prologue") (param i32) (result i32)
    (;prologue;)
    (i32.store (i32.const 256) (i32.const 16)) (i32.store (i32.const 260) (i32.const 3))
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#[method]file.encode")
      (param $self i32) (param $rows i32) (param $block i32) (result i32)
    (local $read i64)
    (;encode;)
    (loop $more
      (call $next (local.get $rows) (i32.const -1) (i32.const -1) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
      (if (i32.load8_u (i32.const 516)) (then
        (local.set $read (i64.add (local.get $read) (i64.extend_i32_u (i32.load (i32.const 520)))))
        (call $write (local.get $block) (i32.const 16) (i32.const 3) (i32.const 600))
        (br $more))))
    (call $drop-cursor (local.get $rows))
    (call $drop-output (local.get $block))
    (i32.store8 (i32.const 256) (i32.const 0))
    (i64.store (i32.const 264) (local.get $read))
    (i64.store (i32.const 272) (i64.const 0))
    (i64.store (i32.const 280) (i64.const 0))
    (;answer;)
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#[method]file.assemble")
      (param $self i32) (param i32 i32) (param $epilogue i32) (result i32)
    (;assemble;)
    (call $drop-output (local.get $epilogue))
    (i32.const 256))
  (func (export "offloom:export/exporter@0.1.0#[dtor]file") (param i32)
    (;dtor;))
)"#;

/// The component of [`TEXT`] with code at some of its marks.
pub fn component(code: &[(&str, &str)]) -> Vec<u8> {
    let mut text = TEXT.to_owned();
    for (mark, code) in code {
        let mark = format!("(;{mark};)");
        assert_eq!(text.matches(&mark).count(), 1, "{mark}");
        text = text.replace(&mark, &format!("{code} {mark}"));
    }
    component_of(&text).unwrap()
}

/// The component of a core module, unless it does not fit the world.
pub fn component_of(text: &str) -> Option<Vec<u8>> {
    let mut module = wat::parse_str(text).ok()?;
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).unwrap();
    let packages = WASI.map(|(name, text)| resolve.push_str(name, text).unwrap());
    let world = resolve.select_world(&packages[2..], Some("exporter")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).ok()?.encode().ok()
}

/// A component with these items at its end, in text.
pub fn with_items(component: &[u8], items: &str) -> Vec<u8> {
    let text = wasmprinter::print_bytes(component).unwrap();
    let text = text.trim_end().strip_suffix(')').unwrap();
    wat::parse_str(format!("{text}\n{items})")).unwrap()
}
