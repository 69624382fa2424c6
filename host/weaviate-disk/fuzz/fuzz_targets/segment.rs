//! Fuzzes the target `segment` of `tests/fuzz/targets`.
#![no_main]
#[allow(dead_code, unused_imports, reason = "what the seeds need")]
#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::run("segment", input));
