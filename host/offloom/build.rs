//! Builds the default guest, so that the program carries it. `OFFLOOM_GUEST_WASM=FILE` takes a
//! component that is already built instead.
use std::path::{Path, PathBuf};

#[path = "../../guest/build_guest.rs"]
mod build_guest;

fn main() {
    println!("cargo::rerun-if-env-changed=OFFLOOM_GUEST_WASM");
    match guest() {
        Ok(path) => println!("cargo::rustc-env=OFFLOOM_GUEST_WASM_PATH={}", path.display()),
        Err(problem) => println!("cargo::error={problem}"),
    }
}

fn guest() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("OFFLOOM_GUEST_WASM") {
        let path = std::path::absolute(PathBuf::from(path)).map_err(|error| error.to_string())?;
        println!("cargo::rerun-if-changed={}", path.display());
        return Ok(path);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guest = root.join("guest");
    for part in ["Cargo.toml", "Cargo.lock", "build_guest.rs", "parquet", "zstd"] {
        println!("cargo::rerun-if-changed={}", guest.join(part).display());
    }
    println!("cargo::rerun-if-changed={}", root.join("wit").display());
    build_guest::build_guest(&guest, &target_dir()?, "offloom-guest-parquet")
}

/// Cargo's target directory: the one above the output directory that cargo has tagged.
fn target_dir() -> Result<PathBuf, String> {
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .or_else(|| out_dir.ancestors().nth(4))
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} lies in no target directory", out_dir.display()))
}
