//! What the benchmarks are made of: directories to export, and encoding in the guest against native code.
//! `tests/bench/bench.py` runs it (`./dev bench`).
mod blocks;
mod encode;
mod generate;
mod native;

use clap::Parser;
use offloom_sandbox::compile_guest;

#[path = "../../../guest/build_guest.rs"]
mod build_guest;

/// As first argument: the process in which the guest is compiled.
const COMPILE_GUEST: &str = "compile-guest";

#[derive(Parser)]
#[command(name = "offloom-bench", about = "Parts of the benchmarks")]
enum Command {
    /// Write a data directory that a real Weaviate opens.
    Generate(generate::Generate),
    /// Measure encoding in the guest against the same code natively.
    Encode(encode::Encode),
}

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(COMPILE_GUEST) {
        compile_guest(&words.collect::<Vec<_>>())?;
        return Ok(());
    }
    match Command::parse() {
        Command::Generate(generate) => generate.run(),
        Command::Encode(encode) => encode::run(&encode),
    }
}
