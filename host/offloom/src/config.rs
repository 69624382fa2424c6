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
use crate::backend::BackendConfig;
use crate::export_index::IndexConfig;
use crate::guest::GuestConfig;
use crate::guests::config::GuestRules;
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
        let ServerConfig { scheduler, api, backend, guest, rules, index, users } = self;
        let rooms = [
            serde_json::to_value(scheduler)?,
            serde_json::to_value(api)?,
            serde_json::to_value(backend)?,
            serde_json::to_value(guest)?,
            serde_json::to_value(rules)?,
            serde_json::to_value(index)?,
            serde_json::to_value(users)?,
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
        let others = root.chain(schema).chain(keys).chain(policy).chain(of_guests);
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
mod tests {
    use offloom_authz::AuthorizationAction;

    use super::*;
    use crate::api;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn resolve(flags: &[&str], file: Option<&Path>) -> anyhow::Result<ServerConfig> {
        let command = GivenSettings::augment_args(Command::new("serve").no_binary_name(true));
        GivenSettings::from_arg_matches(&command.try_get_matches_from(flags)?)?.over(file)
    }

    #[test]
    fn a_flag_stands_above_the_file_and_the_file_above_the_default() {
        let file =
            file("data_dir = '/a'\nfilesystem_root = '/out'\nworkers = 3\nmax_exports = 9\n");
        let config = resolve(&["--workers", "7"], Some(file.path())).unwrap();
        assert_eq!(config.scheduler.workers, 7);
        assert_eq!(config.scheduler.max_exports, 9);
        assert_eq!(config.scheduler.shutdown_grace_seconds, 20);
        assert_eq!(config.scheduler.sources, [Path::new("/a")]);
        assert_eq!(config.api.listen, "127.0.0.1:8080".parse().unwrap());
    }

    #[test]
    fn every_setting_is_a_flag_and_a_key_of_the_file() {
        let by_file = file(
            "sources = ['/a', '/b']\nlisten = '127.0.0.1:1'\ngrpc_listen = '127.0.0.1:2'\nallowed_hosts = ['h', '[::1]:2']\nschema = '/s'\nbucket = 'lake'\n\
             filesystem_root = '/out'\nallowed_buckets = ['c', 'd']\ngcs_bucket = 'e'\nallowed_gcs_buckets = ['f']\n\
             azure_container = 'g'\nallowed_azure_containers = ['h', 'i']\npath = 'p'\nguest = '/g'\nexporter = 'mine'\nguest_cpu_seconds = 60\n\
             workers = 3\nmax_exports = 9\nmax_waiting = 8\nmax_object_bytes = '100MiB'\nstate_dir = '/state'\ncache_dir = '/cache'\n\
             quarantine_raw = true\nshutdown_grace_seconds = 5\ndigest = 'sha256'\n\
             [authentication]\napi_keys_file = '/keys'\n\
             [authorization]\naction = 'manage_backups'\npolicy_file = '/policy'\n\
             [guests]\nadmins = ['a', 'b']\npublic_keys = ['k']\npolicy_file = '/guests'\n\
             tenant_memory = '64MiB'\ntenant_cpu_seconds = 7\ntenant_instances = 2\ntenant_output = '1GiB'\n",
        );
        let by_file = resolve(&[], Some(by_file.path())).unwrap();
        let by_flags = resolve(
            &[
                "--data-dir=/a",
                "--data-dir=/b",
                "--listen=127.0.0.1:1",
                "--grpc-listen=127.0.0.1:2",
                "--allowed-hosts=h, [::1]:2",
                "--schema=/s",
                "--bucket=lake",
                "--filesystem-root=/out",
                "--allowed-buckets=c,d",
                "--gcs-bucket=e",
                "--allowed-gcs-buckets=f",
                "--azure-container=g",
                "--allowed-azure-containers=h,i",
                "--path=p",
                "--guest=/g",
                "--exporter=mine",
                "--guest-cpu-seconds=60",
                "--workers=3",
                "--max-exports=9",
                "--max-waiting=8",
                "--max-object-bytes=104857600",
                "--state-dir=/state",
                "--cache-dir=/cache",
                "--quarantine-raw",
                "--shutdown-grace-seconds=5",
                "--digest=sha256",
                "--api-keys-file=/keys",
                "--authorization-action=manage_backups",
                "--policy-file=/policy",
                "--guests-admins=a,b",
                "--guests-public-keys=k",
                "--guests-policy-file=/guests",
                "--guests-tenant-memory=64MiB",
                "--guests-tenant-cpu-seconds=7",
                "--guests-tenant-instances=2",
                "--guests-tenant-output=1GiB",
            ],
            None,
        )
        .unwrap();
        assert_eq!(format!("{by_file:?}"), format!("{by_flags:?}"));
        assert!(by_file.api.quarantine_raw);
        assert_eq!(by_file.index.state_dir().unwrap(), Path::new("/state"));
        // Every setting differs from its default, so none is missing above.
        let (set, unset) = (format!("{by_file:#?}"), format!("{:#?}", ServerConfig::default()));
        let is_setting = |line: &&str| {
            // Weaviate's settings, which count where there are none of ours.
            line.contains(": ") && line.ends_with(',') && !line.contains("backups: None")
        };
        for line in set.lines().filter(is_setting) {
            assert!(!unset.contains(line), "{line}");
        }
    }

    #[test]
    fn every_setting_has_its_variable() {
        let command = GivenSettings::augment_args(Command::new("serve"));
        for arg in command.get_arguments() {
            let variable = format!("OFFLOOM_{}", key(arg).to_uppercase().replace('.', "__"));
            assert_eq!(arg.get_env().unwrap().to_str(), Some(variable.as_str()));
        }
    }

    /// The key of an option in the table of `docs/rest-api.md`.
    fn key(arg: &clap::Arg) -> String {
        let id = arg.get_id().as_str();
        if id == "sources" { "data_dir".to_owned() } else { id.to_owned() }
    }

    /// Key and description of each row of the table of settings.
    fn documented() -> std::collections::BTreeMap<&'static str, &'static str> {
        let docs = include_str!("../../../docs/rest-api.md");
        let (_, section) = docs.split_once("\n## Settings\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let columns = rows.map(|row| row.splitn(3, " | ").collect::<Vec<_>>());
        columns
            .map(|columns| (columns[0].trim_end_matches('`'), columns[2].trim_end_matches(" |")))
            .collect()
    }

    #[test]
    fn every_setting_is_documented_with_its_default() {
        let command = GivenSettings::augment_args(Command::new("serve"));
        let mut keys: Vec<String> = command.get_arguments().map(key).collect();
        // Of the file and the environment alone.
        keys.push("sources".to_owned());
        keys.sort();
        let documented = documented();
        assert_eq!(documented.keys().copied().collect::<Vec<_>>(), keys);

        let ServerConfig { scheduler, api, backend, guest, rules, index, users } =
            ServerConfig::default();
        for (key, default) in [
            ("listen", format!("`{}`; ", api.listen)),
            ("grpc_listen", format!("`{}`; ", api::grpc::default_address())),
            ("max_exports", format!("exports that run at once, {}; ", scheduler.max_exports)),
            ("max_waiting", format!("wait for their turn, {}; ", scheduler.max_waiting)),
            ("guest_cpu_seconds", format!("in one export, {} (", guest.guest_cpu_seconds)),
            ("quarantine_raw", format!("; `{}`", api.quarantine_raw)),
            ("digest", format!("are digested, `{}` or", scheduler.digest)),
            (
                "shutdown_grace_seconds",
                format!(" after SIGTERM, {}", scheduler.shutdown_grace_seconds),
            ),
        ] {
            assert!(documented[key].contains(&default), "{key}: {default:?}: {}", documented[key]);
        }
        assert_eq!(usize::from(scheduler.workers), offloom_export::default_workers());
        assert!(documented["workers"].ends_with("; the number of cores"));
        assert!(scheduler.sources.is_empty() && scheduler.schema.is_none());
        assert!(backend.known().is_empty() && backend.path.is_empty());
        assert!(guest.guest.is_none() && guest.cache_dir.is_none());
        assert_eq!(api.grpc_listen, None);
        assert!(format!("{index:?}").contains("state_dir: None"));
        assert_eq!(users.authorization.action, AuthorizationAction::Read);
        assert!(documented["authorization.action"].contains("; `read`"));
        assert!(users.authorization.policy_file.is_none());
        let guests_rules = &rules.guests;
        assert!(guests_rules.policy_file.is_none());
        assert!(guests_rules.admins.is_empty() && guests_rules.public_keys.is_empty());
        assert!(guest.exporter.is_none() && documented["exporter"].contains("`parquet`"));
        let tenants = &guests_rules.tenants;
        for (key, default) in [
            ("guests.tenant_memory", tenants.tenant_memory.to_string()),
            ("guests.tenant_cpu_seconds", tenants.tenant_cpu_seconds.to_string()),
            ("guests.tenant_instances", tenants.tenant_instances.to_string()),
            ("guests.tenant_output", tenants.tenant_output.to_string()),
        ] {
            let default = format!("; {}", default.replace(".0", ""));
            assert!(documented[key].ends_with(&default), "{key}: {default:?}: {}", documented[key]);
        }
        assert!(users.authentication.api_keys_file.is_none());

        // The help says the same.
        for (arg, default) in [
            ("listen", api.listen.to_string()),
            ("grpc_listen", api::grpc::default_address().to_string()),
            ("guest_cpu_seconds", guest.guest_cpu_seconds.to_string()),
            ("max_exports", scheduler.max_exports.to_string()),
            ("max_waiting", scheduler.max_waiting.to_string()),
            ("digest", scheduler.digest.to_string()),
            ("shutdown_grace_seconds", scheduler.shutdown_grace_seconds.to_string()),
        ] {
            let arg = command.get_arguments().find(|found| found.get_id() == arg).unwrap();
            let help = arg.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }

    #[test]
    fn directories_of_the_command_line_stand_above_those_of_the_file() {
        let several = file("sources = ['/a', '/b']\nbucket = 'lake'\n");
        let config = resolve(&[], Some(several.path())).unwrap();
        assert_eq!(config.scheduler.sources, [Path::new("/a"), Path::new("/b")]);
        let config = resolve(&["--data-dir", "/c"], Some(several.path())).unwrap();
        assert_eq!(config.scheduler.sources, [Path::new("/c")]);
        let both = file("sources = ['/a']\ndata_dir = '/b'\nbucket = 'lake'\n");
        let error = resolve(&[], Some(both.path())).unwrap_err();
        assert!(error.to_string().contains("data_dir and sources"), "{error}");
    }

    #[test]
    fn an_unknown_key_and_a_wrong_type_are_named_with_their_line() {
        let unknown = file("data_dir = '/a'\nworker = 3\n");
        let error = format!("{:#}", resolve(&[], Some(unknown.path())).unwrap_err());
        assert!(error.contains("line 2: unknown field `worker`"), "{error}");
        assert!(error.contains("`workers`") && error.contains("`data_dir`"), "{error}");
        let wrong = file("data_dir = '/a'\n\nworkers = 'x'\n");
        let error = format!("{:#}", resolve(&[], Some(wrong.path())).unwrap_err());
        assert!(error.contains("line 3: invalid type"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let error = resolve(&[], None).unwrap_err();
        assert!(error.to_string().contains("--data-dir"), "{error}");
        let error = resolve(&["--data-dir", "/a"], None).unwrap_err();
        assert!(error.to_string().contains("--filesystem-root"), "{error}");
    }
}
