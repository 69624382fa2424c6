//! The configuration of wasmtime: one for the process that compiles and the one that runs.
use wasmtime::{Config, OptLevel};

/// SIMD is on. Every other proposal is off that guests do not need: each is code of the compiler
/// and the runtime that a hostile guest could reach. The crate features `gc` and `threads` stay
/// compiled in, because wasmtime 48.0.8 without them can abort.
pub(crate) fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_stack_switching(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed);
    config
}
