//! Builds the guests that the program carries. `OFFLOOM_GUEST_WASM=FILE` takes an exporter that is already
//! built instead, and the transforms that lie beside it.
use std::path::{Path, PathBuf};

#[path = "../../guest/build_guest.rs"]
mod build_guest;

/// The packages, and the variables that the program finds them by.
const GUESTS: [(&str, &str); 3] = [
    ("offloom-guest-parquet", "OFFLOOM_GUEST_WASM_PATH"),
    ("offloom-guest-redact", "OFFLOOM_REDACT_WASM_PATH"),
    ("offloom-guest-filter", "OFFLOOM_FILTER_WASM_PATH"),
];

fn main() {
    println!("cargo::rerun-if-env-changed=OFFLOOM_GUEST_WASM");
    match guests() {
        Ok(paths) => {
            for ((_, variable), path) in GUESTS.into_iter().zip(paths) {
                println!("cargo::rustc-env={variable}={}", path.display());
            }
        }
        Err(problem) => println!("cargo::error={problem}"),
    }
}

fn guests() -> Result<[PathBuf; 3], String> {
    let packages = GUESTS.map(|(package, _)| package);
    if let Some(path) = std::env::var_os("OFFLOOM_GUEST_WASM") {
        let path = std::path::absolute(PathBuf::from(path)).map_err(|error| error.to_string())?;
        println!("cargo::rerun-if-changed={}", path.display());
        let [_, redact, filter] =
            packages.map(|package| path.with_file_name(build_guest::file_name(package)));
        return Ok([path, redact, filter]);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guest = root.join("guest");
    for part in
        ["Cargo.toml", "Cargo.lock", "build_guest.rs", "filter", "parquet", "redact", "zstd"]
    {
        println!("cargo::rerun-if-changed={}", guest.join(part).display());
    }
    println!("cargo::rerun-if-changed={}", root.join("wit").display());
    build_guest::build_guests(&guest, &target_dir()?, packages)
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
