//! The guest that an export runs: the one inside the program, or a file.
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use offloom_sandbox::{ExporterGuest, Sandbox, SandboxConfig};

/// The exporter that is inside the binary: `guest/parquet`, built by `build.rs`.
static DEFAULT_GUEST: &[u8] = include_bytes!(env!("OFFLOOM_GUEST_WASM_PATH"));

/// Compiling takes seconds and happens once for a guest; from the cache it takes none.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// Loads `file`, or the default guest, and says so when that takes a while.
///
/// # Errors
/// A file that cannot be read, or that the sandbox refuses.
pub async fn load(file: Option<PathBuf>, config: SandboxConfig) -> anyhow::Result<ExporterGuest> {
    let sandbox = Sandbox::new(config)?;
    let bytes = match &file {
        Some(path) => std::fs::read(path)
            .with_context(|| format!("the guest {} cannot be read", path.display()))?
            .into(),
        None => Cow::Borrowed(DEFAULT_GUEST),
    };
    let mut compiling = tokio::task::spawn_blocking(move || sandbox.load_exporter(&bytes));
    let loaded = tokio::select! {
        loaded = &mut compiling => loaded,
        () = tokio::time::sleep(WORTH_TELLING) => {
            tracing::info!("compiling the guest; it is kept for the next time");
            compiling.await
        }
    };
    match file {
        Some(path) => Ok(loaded?.with_context(|| format!("the guest {}", path.display()))?),
        None => Ok(loaded??),
    }
}
