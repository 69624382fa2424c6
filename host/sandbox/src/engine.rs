//! From the bytes of a component to compiled code, under one configuration of wasmtime.
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Config, Engine, OptLevel};

use crate::cache::{CompiledCache, digest_of};
use crate::component;
use crate::error::SandboxError;
use crate::exporter::ExporterGuest;
use crate::limits::{SandboxLimits, TICK};
use crate::log::{self, LogBudget};
use crate::v0_1::bindings::ExporterGuestPre;
use crate::v0_1::linker;

/// How to set up a sandbox.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Where compiled guests are kept. By default `$XDG_CACHE_HOME/offloom` or `~/.cache/offloom`;
    /// when none of them can be used, guests are compiled every time.
    pub cache_dir: Option<PathBuf>,
    /// What each instance of a guest may use.
    pub limits: SandboxLimits,
}

/// Loads guests. Cheap to clone; all clones share the engine and its clock.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    cache: Option<Arc<CompiledCache>>,
    limits: Arc<SandboxLimits>,
}

impl Sandbox {
    /// Sets up the engine, its clock and the cache of compiled guests.
    ///
    /// Fails when the cache directory belongs to another user or can be written by other users.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let engine = Engine::new(&engine_config())
            .map_err(|error| SandboxError::Setup(error.to_string()))?;
        start_clock(&engine)?;
        Ok(Sandbox {
            engine,
            cache: CompiledCache::open(config.cache_dir)?.map(Arc::new),
            limits: Arc::new(config.limits),
        })
    }

    /// Checks a component and compiles it, or takes it from the cache. Blocks, for seconds when the
    /// cache does not have it. Load a guest once and call [`ExporterGuest::for_export`] for each
    /// export.
    pub fn load_exporter(&self, component: &[u8]) -> Result<ExporterGuest, SandboxError> {
        component::check(component, &self.limits)?;
        let digest = digest_of(component);
        let compiled = self.compile(component, &digest)?;
        let linker = linker::exporter_linker(&self.engine)
            .map_err(|error| SandboxError::Setup(format!("{error:#}")))?;
        let pre = linker
            .instantiate_pre(&compiled)
            .and_then(ExporterGuestPre::new)
            .map_err(|error| SandboxError::WrongWorld(log::escape(&format!("{error:#}"), 1024)))?;
        Ok(ExporterGuest::new(pre, digest, self.limits.clone(), LogBudget::new(&self.limits)))
    }

    fn compile(&self, component: &[u8], digest: &str) -> Result<Component, SandboxError> {
        if let Some(compiled) =
            self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest))
        {
            return Ok(compiled);
        }
        let compiled = Component::from_binary(&self.engine, component)
            .map_err(|error| SandboxError::Refused(log::escape(&format!("{error:#}"), 1024)))?;
        if let Some(cache) = &self.cache {
            cache.save(&self.engine, digest, &compiled);
        }
        Ok(compiled)
    }
}

/// SIMD is on. Every other proposal is off that guests do not need: each is code of the compiler
/// and the runtime that a hostile guest could reach. The crate features `gc` and `threads` stay
/// compiled in, because wasmtime 48.0.8 without them can abort.
fn engine_config() -> Config {
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

/// Advances the engine's epoch every tick, as long as the engine is in use.
fn start_clock(engine: &Engine) -> Result<(), SandboxError> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("guest-clock".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(|_| ())
        .map_err(|error| SandboxError::Setup(format!("the clock thread: {error}")))
}

#[cfg(test)]
mod tests {
    use wasmtime::ModuleVersionStrategy;

    use super::*;

    /// The version of wasmtime that this is built with.
    fn version() -> &'static str {
        let lock = include_str!("../../../Cargo.lock");
        let (_, package) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        package.split_once('"').unwrap().0
    }

    #[test]
    fn code_that_another_wasmtime_compiled_has_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CompiledCache::open(Some(dir.path().to_owned())).unwrap().unwrap();
        let path = |config: &Config| cache.path(&Engine::new(config).unwrap(), "digest");
        let of_version = |version: &str| {
            let mut config = engine_config();
            config.module_version(ModuleVersionStrategy::Custom(version.to_owned())).unwrap();
            path(&config)
        };
        let ours = path(&engine_config());
        // A custom version enters the name as wasmtime's own does, down to the patch.
        assert_eq!(ours, of_version(version()));
        assert_ne!(ours, of_version(&format!("{}1", version())));
        let mut other = engine_config();
        other.cranelift_opt_level(OptLevel::None);
        assert_ne!(ours, path(&other));
    }
}
