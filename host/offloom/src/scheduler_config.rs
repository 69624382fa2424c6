//! The settings of what is exported, and how much at once.
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use offloom_export::default_workers;
use offloom_protocol::digest::DigestAlgorithm;
use serde::{Deserialize, Serialize};

use crate::directory_cache::DirectoryCache;

/// Settings of what is exported, and how much at once.
#[derive(Debug, Clone, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times (in the
    /// file: `sources`, a list; OFFLOOM_SOURCES: divided by colons): those of a cluster's nodes, which
    /// become one export
    #[arg(long = "data-dir", env = "OFFLOOM_DATA_DIR", value_name = "DIR")]
    pub sources: Vec<PathBuf>,
    /// A saved answer of GET /v1/schema
    #[arg(long, env = "OFFLOOM_SCHEMA", value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Guests that encode at the same time, shared by all exports [default: the number of cores]
    #[arg(long, env = "OFFLOOM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Exports that run at the same time; others wait [default: 4]
    #[arg(long, env = "OFFLOOM_MAX_EXPORTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_exports: u16,
    /// Exports that wait for those; further requests are refused until one of them has its turn
    /// [default: 256]
    #[arg(long, env = "OFFLOOM_MAX_WAITING", value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub max_waiting: u32,
    /// how long running exports may continue after SIGTERM, in seconds [default: 20]
    #[arg(long, env = "OFFLOOM_SHUTDOWN_GRACE_SECONDS", value_name = "N")]
    pub shutdown_grace_seconds: u64,
    /// How the files of an export are digested, blake3 or sha256 [default: blake3]
    #[arg(long, env = "OFFLOOM_DIGEST", value_name = "ALGORITHM")]
    pub digest: DigestAlgorithm,
}

impl Default for SchedulerConfig {
    fn default() -> SchedulerConfig {
        SchedulerConfig {
            sources: Vec::new(),
            schema: None,
            workers: u16::try_from(default_workers()).unwrap_or(u16::MAX),
            max_exports: 4,
            max_waiting: 256,
            shutdown_grace_seconds: 20,
            digest: DigestAlgorithm::default(),
        }
    }
}

impl SchedulerConfig {
    /// Takes the directories of the variable `OFFLOOM_SOURCES`, which stand over those of a file.
    /// `is_given`: whether a flag or `OFFLOOM_DATA_DIR` has given others.
    ///
    /// # Errors
    /// When both the variable and one of those is there.
    pub fn take_sources(
        &mut self,
        variable: Option<OsString>,
        is_given: bool,
    ) -> anyhow::Result<()> {
        match variable.filter(|value| !value.is_empty()) {
            Some(_) if is_given => anyhow::bail!(
                "OFFLOOM_SOURCES and --data-dir (or OFFLOOM_DATA_DIR) are both given: give one of them"
            ),
            Some(value) => self.sources = std::env::split_paths(&value).collect(),
            None => {}
        }
        Ok(())
    }

    /// What opens the data directories for each export.
    pub fn directories(&self) -> DirectoryCache {
        let max_exports = usize::from(self.max_exports);
        DirectoryCache::new(self.sources.clone(), self.schema.clone(), max_exports)
    }
}
