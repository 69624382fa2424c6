//! Builds packages of this workspace as components. Included by the program's build script and by
//! the sandbox's tests, which both need a guest that the outer cargo does not build.
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that guests are built for.
const TARGET: &str = "wasm32-wasip2";

/// Variables that cargo, clippy and `cargo +nightly` set for child processes. An inner cargo must not
/// inherit them.
const NOT_INHERITED: &[&str] =
    &["RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN"];

/// Builds packages of the workspace in `guest_dir` and answers where the components lie. All
/// profiles of the outer build share one build in `<target_dir>/guest`.
pub fn build_guests<const N: usize>(
    guest_dir: &Path,
    target_dir: &Path,
    packages: [&str; N],
) -> Result<[PathBuf; N], String> {
    check_target()?;
    let target_dir = target_dir.join("guest");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(packages.map(|package| format!("--package={package}")))
        .arg("--manifest-path")
        .arg(guest_dir.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir);
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|error| format!("cargo cannot be run: {error}"))?;
    if !status.success() {
        return Err(format!("building the guests {packages:?} failed; see above"));
    }
    let folder = target_dir.join(TARGET).join("release");
    Ok(packages.map(|package| folder.join(file_name(package))))
}

/// The file of the component of a package.
pub fn file_name(package: &str) -> String {
    format!("{}.wasm", package.replace('-', "_"))
}

fn check_target() -> Result<(), String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("rustc cannot be run: {error}"))?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(format!("the target {TARGET} is missing; type `rustup target add {TARGET}`"))
}
