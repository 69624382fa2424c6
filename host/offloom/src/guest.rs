//! Loads the guest: the default one, which is part of the program, or a file.
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use offloom_protocol::named_file;
use offloom_sandbox::{Compiler, ExporterGuest, Sandbox, SandboxConfig, SandboxLimits};
use serde::{Deserialize, Serialize};

use crate::max_object_bytes::MaxObjectBytes;

/// Settings of the guest.
#[derive(Debug, Clone, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct GuestConfig {
    /// An exporter of your own
    #[arg(long, env = "OFFLOOM_GUEST", value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// Processor time of such a guest in one export, in seconds [default: 3600]
    #[arg(long, env = "OFFLOOM_GUEST_CPU_SECONDS", value_name = "N")]
    pub guest_cpu_seconds: NonZeroU64,
    /// Where compiled guests are kept [default: $XDG_CACHE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The largest object that is exported, such as 100MiB; at most 512 MiB. A guest may then take more
    /// memory [default: 32MiB]
    #[arg(long, env = "OFFLOOM_MAX_OBJECT_BYTES", value_name = "SIZE")]
    pub max_object_bytes: MaxObjectBytes,
}

impl Default for GuestConfig {
    fn default() -> GuestConfig {
        GuestConfig {
            guest: None,
            guest_cpu_seconds: DEFAULT_CPU_SECONDS,
            cache_dir: None,
            max_object_bytes: MaxObjectBytes::default(),
        }
    }
}

/// Processor time of a guest in one export, in seconds.
pub const DEFAULT_CPU_SECONDS: NonZeroU64 = NonZeroU64::new(3600).unwrap();

/// The exporter that is part of the program: `guest/parquet`, built by `build.rs`.
static DEFAULT_GUEST: &[u8] = include_bytes!(env!("OFFLOOM_GUEST_WASM_PATH"));

/// The largest guest that is loaded.
const MAX_GUEST_BYTES: u64 = 64 * 1024 * 1024;

/// A load that takes longer is logged. Compiling takes seconds, and happens once per guest.
const SLOW_LOAD: Duration = Duration::from_millis(500);

/// Loads the guest of the settings, or the default one.
///
/// # Errors
/// A file that cannot be read, or that the sandbox refuses.
pub async fn load(config: GuestConfig) -> anyhow::Result<ExporterGuest> {
    let GuestConfig { guest: file, guest_cpu_seconds, cache_dir, max_object_bytes } = config;
    let limits = SandboxLimits {
        // The default guest takes as long as the rows need.
        cpu_per_export: file.as_ref().map(|_| Duration::from_secs(guest_cpu_seconds.get())),
        ..SandboxLimits::default().with_objects(max_object_bytes.0)
    };
    let sandbox = Sandbox::new(SandboxConfig { compiler: compiler(), cache_dir, limits })?;
    let bytes = match &file {
        Some(path) => named_file::read(path, MAX_GUEST_BYTES)
            .with_context(|| format!("the guest {} cannot be read", path.display()))?
            .into(),
        None => Cow::Borrowed(DEFAULT_GUEST),
    };
    let mut compiling = tokio::task::spawn_blocking(move || sandbox.load_exporter(&bytes));
    let loaded = tokio::select! {
        loaded = &mut compiling => loaded,
        () = tokio::time::sleep(SLOW_LOAD) => {
            tracing::info!("compiling the guest; it is kept for the next time");
            compiling.await
        }
    };
    match file {
        Some(path) => Ok(loaded?.with_context(|| format!("the guest {}", path.display()))?),
        None => Ok(loaded??),
    }
}

/// The hidden command `offloom compile-guest`.
#[cfg(not(test))]
fn compiler() -> Compiler {
    Compiler::this_program(["compile-guest"])
}

/// The program of these tests compiles guests too, in [`tests::compile_guest`].
#[cfg(test)]
fn compiler() -> Compiler {
    Compiler::this_program(["guest::tests::compile_guest", "--exact", "--ignored", "--nocapture"])
}

#[cfg(test)]
mod tests {
    #[test]
    #[ignore = "the process in which the other tests compile the guest"]
    fn compile_guest() {
        let arguments: Vec<String> = std::env::args().collect();
        if arguments.get(2).is_some_and(|second| second == "--exact") {
            offloom_sandbox::compile_guest(&arguments[5..]).unwrap();
        }
    }
}
