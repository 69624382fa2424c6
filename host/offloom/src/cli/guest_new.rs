//! `offloom guest new`: writes crates to begin with, and the contract that they are built against.
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::terminal::outln;

/// What `offloom guest new` takes.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// The folder, which must not exist or be empty
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    Rust,
}

/// The contract.
const WIT: [(&str, &str); 9] = [
    ("about.wit", include_str!("../../../../wit/about.wit")),
    ("codec.wit", include_str!("../../../../wit/codec.wit")),
    ("exporter.wit", include_str!("../../../../wit/exporter.wit")),
    ("held.wit", include_str!("../../../../wit/held.wit")),
    ("sink.wit", include_str!("../../../../wit/sink.wit")),
    ("source.wit", include_str!("../../../../wit/source.wit")),
    ("transform.wit", include_str!("../../../../wit/transform.wit")),
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("worlds.wit", include_str!("../../../../wit/worlds.wit")),
];

/// The code of each crate, which finds the contract in `../../wit`.
const CRATES: [(&str, &str); 2] = [
    ("transform", include_str!("../../../../guest/minimal-transform/src/lib.rs")),
    ("exporter", include_str!("../../../../guest/minimal/src/lib.rs")),
];

const WORKSPACE: &str = include_str!("../../templates/rust/Cargo.toml");
const README: &str = include_str!("../../templates/rust/README.md");

/// Writes the folder.
///
/// # Errors
/// The folder is not empty, or cannot be written.
pub fn run(args: &NewArgs) -> anyhow::Result<()> {
    let NewArgs { language: Language::Rust, dir } = args;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: choose another folder", dir.display());
    }
    write(&dir.join("Cargo.toml"), WORKSPACE)?;
    write(&dir.join("README.md"), README)?;
    for (name, text) in WIT {
        write(&dir.join("wit").join(name), text)?;
    }
    for (name, code) in CRATES {
        let manifest = include_str!("../../templates/rust/crate.toml").replace("NAME", name);
        write(&dir.join(name).join("Cargo.toml"), &manifest)?;
        write(&dir.join(name).join("src/lib.rs"), &code.replace("../../wit", "../wit"))?;
    }
    outln!("{}: read its README.md", dir.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    written
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("{} cannot be written", path.display()))
}
