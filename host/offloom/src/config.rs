//! Puts the settings of the server together: flag over environment over file over default.
//!
//! Each room has a struct with its settings, `XConfig`. A field is a flag, the variable
//! `OFFLOOM_<KEY>` and a key of the file at once, and `Default` has its default value.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use offloom_protocol::named_file;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::server::ApiConfig;
use crate::api::tls::TlsConfig;
use crate::backend::BackendConfig;
use crate::export_index::IndexConfig;
use crate::guest::GuestConfig;
use crate::guests::config::GuestRules;
use crate::load::LoadConfig;
use crate::metrics::config::MetricsConfig;
use crate::quotas::QuotaRules;
use crate::scheduler_config::SchedulerConfig;
use crate::setting_sources::{Setting, settings};
use crate::users::UsersConfig;

/// Settings are a page of text.
const MAX_SETTINGS_BYTES: u64 = 1024 * 1024;

/// What some editors put before the text of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Several data directories, divided as in `PATH`.
const SOURCES: &str = "OFFLOOM_SOURCES";

/// The settings of each room.
#[derive(Debug, Default, Args)]
pub struct ServerConfig {
    /// What is exported, and how much at once.
    #[command(flatten)]
    pub scheduler: SchedulerConfig,
    /// Where and how requests are accepted.
    #[command(flatten)]
    pub api: ApiConfig,
    /// Where exports may be created.
    #[command(flatten)]
    pub backend: BackendConfig,
    /// What encodes.
    #[command(flatten)]
    pub guest: GuestConfig,
    /// What guests must and may do.
    #[command(flatten)]
    pub rules: GuestRules,
    /// Where the server remembers its exports.
    #[command(flatten)]
    pub index: IndexConfig,
    /// How much load exports may cause.
    #[command(flatten)]
    pub load: LoadConfig,
    /// How many exports each user may have.
    #[command(flatten)]
    pub quotas: QuotaRules,
    /// Where and how the server is watched.
    #[command(flatten)]
    pub metrics: MetricsConfig,
    /// TLS of the listeners.
    #[command(flatten)]
    pub tls: TlsConfig,
    /// Users and their rights.
    #[command(flatten)]
    pub users: UsersConfig,
}

/// The settings that are given as flags and variables. Their place is over those of a file, whose
/// name is a flag too.
#[derive(Debug, Clone)]
pub struct GivenSettings(ArgMatches);

impl Args for GivenSettings {
    fn augment_args(command: Command) -> Command {
        // "For update", because no setting has to be given as a flag.
        ServerConfig::augment_args_for_update(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServerConfig::augment_args_for_update(command)
    }
}

impl FromArgMatches for GivenSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<GivenSettings, clap::Error> {
        Ok(GivenSettings(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = matches.clone();
        Ok(())
    }
}

impl GivenSettings {
    /// Puts the given settings over those of `file`, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a missing or contradictory setting.
    pub fn over(self, file: Option<&Path>) -> anyhow::Result<ServerConfig> {
        Ok(self.over_with_sources(file)?.0)
    }

    /// The same, and where each setting comes from.
    ///
    /// # Errors
    /// Those of [`GivenSettings::over`].
    pub fn over_with_sources(
        self,
        file: Option<&Path>,
    ) -> anyhow::Result<(ServerConfig, Vec<Setting>)> {
        let (mut config, in_file) = match file {
            Some(file) => ServerConfig::read(file)?,
            None => Default::default(),
        };
        let given = &self.0;
        let is_given = given.value_source("sources").is_some();
        config.update_from_arg_matches_mut(&mut given.clone())?;
        let variable = std::env::var_os(SOURCES).filter(|value| !value.is_empty());
        let by_variable = variable.is_some();
        config.scheduler.take_sources(variable, is_given)?;
        config.make_paths_absolute()?;
        let command = ServerConfig::augment_args_for_update(Command::new(""));
        let mut settings = settings(&command, given, &in_file, &config.values()?);
        for setting in settings.iter_mut().filter(|setting| setting.key == "sources") {
            if by_variable {
                setting.source = SOURCES.to_owned();
            }
        }
        // Not before: these values are shown with the variables that they come from.
        config.backend.take_backup_settings(|name| std::env::var(name).ok());
        config.check()?;
        Ok((config, settings))
    }
}

/// Refuses variables of this program whose value has white space around it or control characters: a
/// secret or a mounted file often adds a newline, which then is part of a path or a name.
///
/// # Errors
/// Names the variable, and shows its value.
pub fn check_variables() -> anyhow::Result<()> {
    for (name, value) in std::env::vars_os() {
        let (Some(name), value) = (name.to_str(), value.to_string_lossy()) else { continue };
        let is_clean = value.trim() == value && !value.chars().any(char::is_control);
        if name.starts_with("OFFLOOM_") && !is_clean {
            bail!("{name} has white space around it, or a control character in it: {value:?}");
        }
    }
    Ok(())
}

/// The one key of the file that is not also a flag: the data directory if there is only one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SingleSource {
    data_dir: Option<PathBuf>,
}

/// The text of a settings file.
struct SettingsFile<'a> {
    path: &'a Path,
    text: &'a str,
}

impl SettingsFile<'_> {
    /// One room's section. Keys of other rooms are ignored.
    fn section<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        toml::from_str(self.text).map_err(|error: toml::de::Error| {
            self.error(error.span().map_or(0, |span| span.start), error.message())
        })
    }

    /// Refuses a key that no room has. Those of tables are checked where the table is read.
    fn refuse_unknown_keys(&self) -> anyhow::Result<()> {
        let command = ServerConfig::augment_args_for_update(Command::new(""));
        let mut known: Vec<&str> =
            command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        known.push("data_dir");
        known.sort_unstable();
        let of_table = |known: &&str| known.split_once('.').map(|(table, _)| table.to_owned());
        let tables: BTreeSet<String> = known.iter().filter_map(of_table).collect();
        let table =
            toml::de::DeTable::parse(self.text).map_err(|error| self.error(0, error.message()))?;
        for key in table.get_ref().keys() {
            if !known.contains(&key.get_ref().as_ref()) && !tables.contains(key.get_ref().as_ref())
            {
                let expected = known.join("`, `");
                let message =
                    format!("unknown field `{}`, expected one of `{expected}`", key.get_ref());
                return Err(self.error(key.span().start, &message));
            }
        }
        Ok(())
    }

    /// The keys that it has; those of a table with its name and a dot before them.
    fn keys(&self) -> BTreeSet<String> {
        let table: toml::Table = toml::from_str(self.text).unwrap_or_default();
        let of_entry = |(key, value): (String, toml::Value)| match value {
            toml::Value::Table(table) => {
                table.into_iter().map(|(inner, _)| format!("{key}.{inner}")).collect()
            }
            _ if key == "data_dir" => vec!["sources".to_owned()],
            _ => vec![key],
        };
        table.into_iter().flat_map(of_entry).collect()
    }

    fn error(&self, offset: usize, message: &str) -> anyhow::Error {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        anyhow!("the settings {}, line {line}: {message}", self.path.display())
    }
}

impl ServerConfig {
    /// The settings of a file, and which it has.
    fn read(path: &Path) -> anyhow::Result<(ServerConfig, BTreeSet<String>)> {
        let failed = || format!("the settings {} cannot be read", path.display());
        let content = named_file::read(path, MAX_SETTINGS_BYTES).with_context(failed)?;
        let text = String::from_utf8(content).with_context(failed)?;
        let file = SettingsFile { path, text: text.trim_start_matches(BYTE_ORDER_MARK) };
        let mut config = ServerConfig {
            scheduler: file.section()?,
            api: file.section()?,
            backend: file.section()?,
            guest: file.section()?,
            rules: file.section()?,
            index: file.section()?,
            users: file.section()?,
            load: file.section()?,
            quotas: file.section()?,
            metrics: file.section()?,
            tls: file.section()?,
        };
        file.refuse_unknown_keys()?;
        let single: SingleSource = file.section()?;
        if let Some(data_dir) = single.data_dir {
            if !config.scheduler.sources.is_empty() {
                bail!("data_dir and sources are both in the file: give one directory, or a list");
            }
            config.scheduler.sources = vec![data_dir];
        }
        Ok((config, file.keys()))
    }

    /// The settings as a file would have them.
    fn values(&self) -> serde_json::Result<Map<String, Value>> {
        let ServerConfig { scheduler, api, backend, guest, rules, index, users, .. } = self;
        let ServerConfig { load, quotas, metrics, tls, .. } = self;
        let rooms = [
            serde_json::to_value(scheduler)?,
            serde_json::to_value(api)?,
            serde_json::to_value(backend)?,
            serde_json::to_value(guest)?,
            serde_json::to_value(rules)?,
            serde_json::to_value(index)?,
            serde_json::to_value(users)?,
            serde_json::to_value(load)?,
            serde_json::to_value(quotas)?,
            serde_json::to_value(metrics)?,
            serde_json::to_value(tls)?,
        ];
        let rooms = rooms.into_iter().filter_map(|room| match room {
            Value::Object(room) => Some(room),
            _ => None,
        });
        Ok(rooms.flatten().collect())
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.scheduler.sources.is_empty() {
            bail!(
                "no data directory: give --data-dir, OFFLOOM_DATA_DIR or OFFLOOM_SOURCES, or data_dir in the file"
            );
        }
        if self.backend.known().is_empty() {
            bail!(
                "nowhere to export to: give --filesystem-root for a folder, --bucket for S3, \
                 --gcs-bucket for Google Cloud Storage, or --azure-container"
            );
        }
        Ok(())
    }

    /// Errors then name absolute paths, which the API recognises and replaces.
    fn make_paths_absolute(&mut self) -> anyhow::Result<()> {
        let root = self.backend.filesystem_root.iter_mut();
        let schema = self.scheduler.schema.iter_mut();
        let keys = self.users.authentication.api_keys_file.iter_mut();
        let policy = self.users.authorization.policy_file.iter_mut();
        let of_guests = self.rules.guests.policy_file.iter_mut();
        let tls = self.tls.tls_certificate.iter_mut().chain(&mut self.tls.tls_key);
        let others = root.chain(schema).chain(keys).chain(policy).chain(of_guests).chain(tls);
        for path in self.scheduler.sources.iter_mut().chain(others) {
            if !path.as_os_str().is_empty() {
                *path = std::path::absolute(&*path)
                    .with_context(|| format!("the path {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
