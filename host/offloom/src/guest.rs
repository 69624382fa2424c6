//! Loads guests: the default exporter, which is part of the program, and files.
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use offloom_export::NamedExporter;
use offloom_protocol::named_file;
use offloom_sandbox::{
    Compiler, Sandbox, SandboxConfig, SandboxError, SandboxLimits, TransformGuest,
};
use serde::{Deserialize, Serialize};

use crate::built_in;
use crate::guests::signature::TrustedKeys;
use crate::max_object_bytes::MaxObjectBytes;

/// Settings of the guest.
#[derive(Debug, Clone, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct GuestConfig {
    /// An exporter of your own
    #[arg(long, env = "OFFLOOM_GUEST", value_name = "FILE")]
    pub guest: Option<PathBuf>,
    /// The exporter of requests that name none, one of `offloom guest list` [default: parquet]
    #[arg(long, env = "OFFLOOM_EXPORTER", value_name = "NAME")]
    pub exporter: Option<String>,
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
            exporter: None,
            guest_cpu_seconds: DEFAULT_CPU_SECONDS,
            cache_dir: None,
            max_object_bytes: MaxObjectBytes::default(),
        }
    }
}

/// Processor time of a guest in one export, in seconds.
pub const DEFAULT_CPU_SECONDS: NonZeroU64 = NonZeroU64::new(3600).unwrap();

/// The largest guest that is loaded.
pub const MAX_GUEST_BYTES: u64 = 64 * 1024 * 1024;

/// Signatures are a few lines.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024;

/// A load that takes longer is logged. Compiling takes seconds, and happens once per guest.
const SLOW_LOAD: Duration = Duration::from_millis(500);

/// Sets up what loads guests.
///
/// # Errors
/// The cache directory cannot be used.
pub fn sandbox(config: &GuestConfig) -> anyhow::Result<Sandbox> {
    let GuestConfig { cache_dir, max_object_bytes, .. } = config.clone();
    let limits = SandboxLimits {
        cpu_per_export: Some(Duration::from_secs(config.guest_cpu_seconds.get())),
        ..SandboxLimits::default().with_objects(max_object_bytes.0)
    };
    Ok(Sandbox::new(SandboxConfig { compiler: compiler(), cache_dir, limits })?)
}

/// Loads the exporter of the settings, or the default one.
///
/// # Errors
/// A file that cannot be read, or that the sandbox refuses.
pub async fn load(sandbox: &Sandbox, file: Option<&Path>) -> anyhow::Result<NamedExporter> {
    let Some(path) = file else { return default_exporter(sandbox).await };
    let (sandbox, bytes) = (sandbox.clone(), read(path)?);
    let guest = compile(move || sandbox.load_exporter(&bytes)).await;
    let guest = guest.with_context(|| format!("the guest {}", path.display()))?;
    Ok(NamedExporter { name: file_name(path), guest, lease: None })
}

async fn default_exporter(sandbox: &Sandbox) -> anyhow::Result<NamedExporter> {
    let component = built_in::exporter(built_in::PARQUET).context("no default exporter")?;
    // It takes as long as the rows need.
    let sandbox = sandbox.without_time_limit();
    let guest = compile(move || sandbox.load_exporter(component)).await?;
    Ok(NamedExporter { name: built_in::PARQUET.to_owned(), guest, lease: None })
}

/// Loads a transform: one that is part of the program, or a file. Returns it with its name.
///
/// # Errors
/// A file that cannot be read, or that the sandbox refuses.
pub async fn load_transform(
    sandbox: &Sandbox,
    guest: &Path,
) -> anyhow::Result<(String, TransformGuest)> {
    if let Some((name, component)) =
        guest.to_str().and_then(|name| Some((name, built_in::transform(name)?)))
    {
        let sandbox = sandbox.without_time_limit();
        let guest = compile(move || sandbox.load_transform(component)).await?;
        return Ok((name.to_owned(), guest));
    }
    let bytes = read(guest).with_context(|| {
        format!(
            "no transform is called so: {} are part of the program",
            built_in::transform_names()
        )
    })?;
    let sandbox = sandbox.clone();
    let loaded = compile(move || sandbox.load_transform(&bytes)).await;
    let loaded = loaded.with_context(|| format!("the transform {}", guest.display()))?;
    Ok((file_name(guest), loaded))
}

/// The bytes of a guest in a file.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = named_file::read(path, MAX_GUEST_BYTES);
    bytes.with_context(|| format!("the guest {} cannot be read", path.display()))
}

/// Checks the signature of a file of the settings, which lies beside it as `FILE.minisig`.
///
/// # Errors
/// A file that cannot be read; a signature that is missing or wrong, where one is asked for.
pub fn check_signature(path: &Path, keys: &TrustedKeys) -> anyhow::Result<()> {
    if !keys.are_required() {
        return Ok(());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".minisig");
    let signature = match named_file::read(Path::new(&beside), MAX_SIGNATURE_BYTES) {
        Ok(text) => Some(String::from_utf8(text)?),
        Err(_not_there) => None,
    };
    let checked = keys.check(&read(path)?, signature.as_deref());
    checked.with_context(|| format!("the guest {}", path.display()))
}

/// The name of a guest from a file: what the manifest and errors have. They do not show the directory.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

async fn compile<T: Send + 'static>(
    load: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> anyhow::Result<T> {
    let mut compiling = tokio::task::spawn_blocking(load);
    let loaded = tokio::select! {
        loaded = &mut compiling => loaded,
        () = tokio::time::sleep(SLOW_LOAD) => {
            tracing::info!("compiling the guest; it is kept for the next time");
            compiling.await
        }
    };
    Ok(loaded??)
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
