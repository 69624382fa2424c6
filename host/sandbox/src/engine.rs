//! From the bytes of a component to compiled code, under one configuration of wasmtime.
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::{CompiledCache, digest_of};
use crate::compiler::Compiler;
use crate::component::{self, Declared, GuestKind};
use crate::config::engine_config;
use crate::error::SandboxError;
use crate::exporter::ExporterGuest;
use crate::limits::{SandboxLimits, TICK};
use crate::log;
use crate::transform::TransformGuest;
use crate::v0_1::bindings::ExporterGuestPre;
use crate::v0_1::bindings::transform::TransformGuestPre;
use crate::v0_1::linker;

/// How to set up a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The program that compiles guests.
    pub compiler: Compiler,
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
    compiler: Arc<Compiler>,
    cache: Option<Arc<CompiledCache>>,
    limits: Arc<SandboxLimits>,
}

/// A checked and compiled guest. Cheap to clone.
#[derive(Clone)]
pub enum Guest {
    /// It chooses classes and writes files.
    Exporter(ExporterGuest),
    /// It rewrites rows.
    Transform(TransformGuest),
}

impl Guest {
    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        match self {
            Guest::Exporter(guest) => guest.digest(),
            Guest::Transform(guest) => guest.digest(),
        }
    }
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
            compiler: Arc::new(config.compiler),
            cache: CompiledCache::open(config.cache_dir)?.map(Arc::new),
            limits: Arc::new(config.limits),
        })
    }

    /// A sandbox with other limits, which shares the engine, its clock and the cache.
    #[must_use]
    pub fn with_limits(&self, change: impl FnOnce(SandboxLimits) -> SandboxLimits) -> Sandbox {
        Sandbox { limits: Arc::new(change((*self.limits).clone())), ..self.clone() }
    }

    /// A sandbox for guests that take as long as the rows need.
    #[must_use]
    pub fn without_time_limit(&self) -> Sandbox {
        self.with_limits(|limits| SandboxLimits { cpu_per_export: None, ..limits })
    }

    /// What a component says of itself, without compiling it.
    ///
    /// # Errors
    /// When it is not a guest, or asks for what is not granted.
    pub fn declared(&self, component: &[u8]) -> Result<Declared, SandboxError> {
        component::check(component, &self.limits)
    }

    /// Checks a component and compiles it in a child process, or takes it from the cache. Blocks, for
    /// seconds when the cache does not have it. Load a guest once, and use it for each export.
    pub fn load(&self, component: &[u8]) -> Result<Guest, SandboxError> {
        let declared = component::check(component, &self.limits)?;
        let digest = digest_of(component);
        let compiled = self.compile(component, &digest)?;
        let setup = |error: wasmtime::Error| SandboxError::Setup(format!("{error:#}"));
        let wrong = |error: wasmtime::Error| {
            SandboxError::WrongWorld(log::escape(&format!("{error:#}"), 1024))
        };
        let limits = Arc::clone(&self.limits);
        Ok(match declared.kind {
            GuestKind::Exporter => {
                let linker = linker::exporter_linker(&self.engine).map_err(setup)?;
                let pre = linker.instantiate_pre(&compiled).and_then(ExporterGuestPre::new);
                Guest::Exporter(ExporterGuest::new(pre.map_err(wrong)?, digest, limits))
            }
            GuestKind::Transform => {
                let linker = linker::transform_linker(&self.engine).map_err(setup)?;
                let pre = linker.instantiate_pre(&compiled).and_then(TransformGuestPre::new);
                Guest::Transform(TransformGuest::new(pre.map_err(wrong)?, digest, limits))
            }
        })
    }

    /// As [`Sandbox::load`], of a component that must be an exporter.
    pub fn load_exporter(&self, component: &[u8]) -> Result<ExporterGuest, SandboxError> {
        match self.load(component)? {
            Guest::Exporter(exporter) => Ok(exporter),
            Guest::Transform(_) => Err(wrong_kind(GuestKind::Exporter, GuestKind::Transform)),
        }
    }

    /// As [`Sandbox::load`], of a component that must be a transform.
    pub fn load_transform(&self, component: &[u8]) -> Result<TransformGuest, SandboxError> {
        match self.load(component)? {
            Guest::Transform(transform) => Ok(transform),
            Guest::Exporter(_) => Err(wrong_kind(GuestKind::Transform, GuestKind::Exporter)),
        }
    }

    fn compile(&self, component: &[u8], digest: &str) -> Result<Component, SandboxError> {
        if let Some(compiled) =
            self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest))
        {
            return Ok(compiled);
        }
        let code = self.compiler.compile(component, &self.limits)?;
        if let Some(cache) = &self.cache {
            cache.save(&self.engine, digest, &code);
        }
        // SAFETY: `Component::deserialize` runs what it is given, so the bytes must be those that
        // wasmtime's compiler made. They are: they came over a socket that only the child has, which
        // is this program with the same configuration, and the child ended without a fault. What
        // it compiled may be hostile. So the compiler has to be right, but no more than if it ran in
        // this process: its output is native code that runs here in either case.
        #[expect(unsafe_code)]
        let compiled = unsafe { Component::deserialize(&self.engine, &code) };
        compiled.map_err(|error| SandboxError::CompilerFailed(format!("{error:#}")))
    }
}

fn wrong_kind(expected: GuestKind, found: GuestKind) -> SandboxError {
    SandboxError::WrongKind { expected, found }
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
    use wasmtime::{Config, ModuleVersionStrategy, OptLevel};

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
