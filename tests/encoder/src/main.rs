//! Writes the directories that benchmarks and memory tests read.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use offloom_encoder::{Workload, write_tenants, write_workload};

/// An independent writer of Weaviate's on-disk format.
#[derive(Parser)]
enum Command {
    /// Write DEST/data, a data directory full of one workload, and DEST/schema.json.
    WriteDirectory {
        /// The kind of objects.
        #[arg(long)]
        workload: Name,
        /// How many live objects; by default as many as the workload is measured with.
        #[arg(long)]
        rows: Option<u64>,
        /// Where to.
        dest: PathBuf,
    },
    /// Write DEST/data, a data directory with tenants of one small object each, and
    /// DEST/schema.json.
    WriteTenants {
        /// How many tenants.
        #[arg(long, default_value_t = 100_000)]
        tenants: u64,
        /// Where to.
        dest: PathBuf,
    },
}

/// A workload on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// 1,536 dimensions, 1 KB of properties.
    W1,
    /// No vector, 500 bytes of properties.
    W2,
    /// 384 dimensions, 300 bytes of properties.
    W3,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::WriteDirectory { workload, rows, dest } => {
            let workload = match workload {
                Name::W1 => Workload::W1,
                Name::W2 => Workload::W2,
                Name::W3 => Workload::W3,
            };
            write_workload(workload, rows.unwrap_or(workload.rows()), &dest)
                .with_context(|| format!("cannot write {}", dest.display()))
        }
        Command::WriteTenants { tenants, dest } => write_tenants(tenants, &dest)
            .with_context(|| format!("cannot write {}", dest.display())),
    }
}
