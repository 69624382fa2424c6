//! Settings of the server: flag over environment over file over default, put together for each room.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use offloom_sandbox::SandboxConfig;
use serde::Deserialize;

use crate::api::ApiConfig;
use crate::backend::BackendConfig;
use crate::scheduler::SchedulerConfig;

/// Every setting, as a flag, as the variable `OFFLOOM_<KEY>` and as a key of the file.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Weaviate's data directory (PERSISTENCE_DATA_PATH); it is only read. Several times (in the
    /// file: `sources`, a list): those of a cluster's nodes, which become one export
    #[arg(long = "data-dir", env = "OFFLOOM_DATA_DIR", value_name = "DIR")]
    #[serde(default)]
    sources: Vec<PathBuf>,
    /// In the file, the data directory when there is one.
    #[arg(skip)]
    data_dir: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "OFFLOOM_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// A saved answer of GET /v1/schema
    #[arg(long, env = "OFFLOOM_SCHEMA", value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The folder of the backend `filesystem`; without it there is no such backend
    #[arg(long, env = "OFFLOOM_FILESYSTEM_ROOT", value_name = "DIR")]
    filesystem_root: Option<PathBuf>,
    /// The bucket of the backend `s3`; without it there is no such backend. Credentials, region and
    /// endpoint come from the AWS_* variables
    #[arg(long, env = "OFFLOOM_BUCKET", value_name = "NAME")]
    bucket: Option<String>,
    /// More buckets that a request may name
    #[arg(long, env = "OFFLOOM_ALLOWED_BUCKETS", value_name = "A,B", value_delimiter = ',')]
    allowed_buckets: Option<Vec<String>>,
    /// A prefix that every path in a bucket starts with
    #[arg(long, env = "OFFLOOM_PATH", value_name = "PREFIX")]
    path: Option<String>,
    /// An exporter of your own
    #[arg(long, env = "OFFLOOM_GUEST", value_name = "FILE")]
    guest: Option<PathBuf>,
    /// Guests that encode at the same time, shared by all exports [default: the number of cores]
    #[arg(long, env = "OFFLOOM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Exports that run at the same time; others wait [default: 4]
    #[arg(long, env = "OFFLOOM_MAX_EXPORTS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    max_exports: Option<u16>,
    /// Where the server remembers its exports [default: $XDG_STATE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where compiled guests are kept [default: $XDG_CACHE_HOME/offloom]
    #[arg(long, env = "OFFLOOM_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Let quarantined objects keep their stored bytes, where no filter or tenant limit is active
    #[arg(long, env = "OFFLOOM_QUARANTINE_RAW", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    quarantine_raw: Option<bool>,
    /// How long running exports may go on after SIGTERM, in seconds [default: 20]
    #[arg(long, env = "OFFLOOM_SHUTDOWN_GRACE_SECONDS", value_name = "N")]
    shutdown_grace_seconds: Option<u64>,
}

/// The settings of each room.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where and how requests are taken.
    pub api: ApiConfig,
    /// Where exports may go.
    pub backend: BackendConfig,
    /// What runs.
    pub scheduler: SchedulerConfig,
    /// How guests are run.
    pub sandbox: SandboxConfig,
    /// A component in place of the default guest.
    pub guest: Option<PathBuf>,
    /// Whether quarantined objects may keep their stored bytes.
    pub quarantine_raw: bool,
    /// Where the index lies.
    pub state_dir: PathBuf,
}

impl Settings {
    /// Puts the file, when there is one, below what flags and variables say.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a setting that is missing or makes no sense.
    pub fn resolve(self, file: Option<&Path>) -> anyhow::Result<ServerConfig> {
        let below = file.map_or_else(|| Ok(Settings::default()), Settings::read)?;
        if below.data_dir.is_some() && !below.sources.is_empty() {
            bail!("data_dir and sources are both in the file: give one directory, or a list");
        }
        let sources = match (self.sources, below.data_dir) {
            (given, _) if !given.is_empty() => given,
            (_, Some(data_dir)) => vec![data_dir],
            (_, None) => below.sources,
        };
        if sources.is_empty() {
            bail!("no data directory: give --data-dir, OFFLOOM_DATA_DIR, or data_dir in the file");
        }
        let backend = BackendConfig {
            filesystem_root: self.filesystem_root.or(below.filesystem_root),
            bucket: self.bucket.or(below.bucket),
            allowed_buckets: self.allowed_buckets.or(below.allowed_buckets).unwrap_or_default(),
            path: self.path.or(below.path).unwrap_or_default(),
        };
        if backend.known().is_empty() {
            bail!("nowhere to export to: give --filesystem-root for a folder, or --bucket for S3");
        }
        let workers = self.workers.or(below.workers);
        Ok(ServerConfig {
            api: ApiConfig {
                listen: self
                    .listen
                    .or(below.listen)
                    .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            },
            backend,
            scheduler: SchedulerConfig {
                sources,
                schema: self.schema.or(below.schema),
                workers: workers.map_or_else(crate::worker::default_workers, usize::from),
                max_exports: self.max_exports.or(below.max_exports).unwrap_or(4).into(),
                shutdown_grace: Duration::from_secs(
                    self.shutdown_grace_seconds.or(below.shutdown_grace_seconds).unwrap_or(20),
                ),
            },
            sandbox: SandboxConfig {
                cache_dir: self.cache_dir.or(below.cache_dir),
                ..SandboxConfig::default()
            },
            guest: self.guest.or(below.guest),
            quarantine_raw: self.quarantine_raw.or(below.quarantine_raw).unwrap_or_default(),
            state_dir: self
                .state_dir
                .or(below.state_dir)
                .or_else(default_state_dir)
                .context("no state directory: give --state-dir, or set HOME")?,
        })
    }

    fn read(path: &Path) -> anyhow::Result<Settings> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the settings {} cannot be read", path.display()))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count().saturating_add(1);
            anyhow!("the settings {}, line {line}: {}", path.display(), error.message())
        })
    }
}

fn default_state_dir() -> Option<PathBuf> {
    let of =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("XDG_STATE_HOME")
        .or_else(|| of("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("offloom"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_flag_stands_above_the_file_and_the_file_above_the_default() {
        let file =
            file("data_dir = '/a'\nfilesystem_root = '/out'\nworkers = 3\nmax_exports = 9\n");
        let settings = Settings { workers: Some(7), ..Settings::default() };
        let config = settings.resolve(Some(file.path())).unwrap();
        assert_eq!(config.scheduler.workers, 7);
        assert_eq!(config.scheduler.max_exports, 9);
        assert_eq!(config.scheduler.sources, [Path::new("/a")]);
        assert_eq!(config.api.listen, "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn directories_of_the_command_line_stand_above_those_of_the_file() {
        let several = file("sources = ['/a', '/b']\nbucket = 'lake'\n");
        let config = Settings::default().resolve(Some(several.path())).unwrap();
        assert_eq!(config.scheduler.sources, [Path::new("/a"), Path::new("/b")]);
        let settings = Settings { sources: vec!["/c".into()], ..Settings::default() };
        let config = settings.resolve(Some(several.path())).unwrap();
        assert_eq!(config.scheduler.sources, [Path::new("/c")]);
        let both = file("sources = ['/a']\ndata_dir = '/b'\nbucket = 'lake'\n");
        let error = Settings::default().resolve(Some(both.path())).unwrap_err();
        assert!(error.to_string().contains("data_dir and sources"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let file = file("data_dir = '/a'\nworker = 3\n");
        let error = Settings::default().resolve(Some(file.path())).unwrap_err();
        assert!(format!("{error:#}").contains("unknown field `worker`"), "{error:#}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let error = Settings::default().resolve(None).unwrap_err();
        assert!(error.to_string().contains("--data-dir"), "{error}");
        let settings = Settings { sources: vec!["/a".into()], ..Settings::default() };
        assert!(settings.resolve(None).unwrap_err().to_string().contains("--filesystem-root"));
    }
}
