//! Settings: where they come from, and that each is documented.
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
    let file = file("data_dir = '/a'\nfilesystem_root = '/out'\nworkers = 3\nmax_exports = 9\n");
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
         workers = 3\nmax_exports = 9\nmax_waiting = 8\nmax_object_bytes = '100MiB'\n\
         max_read_rate = '1MiB'\nmax_write_rate = '2MiB'\nmax_request_rate = 3\nidle_io = true\nmetrics_listen = '127.0.0.1:3'\ntls_certificate = '/c'\ntls_key = '/k'\nstate_dir = '/state'\ncache_dir = '/cache'\n\
         quarantine_raw = true\nshutdown_grace_seconds = 5\ndigest = 'sha256'\n\
         [quotas]\nrunning = 1\nwaiting = 2\nper_day = 3\n\
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
            "--max-read-rate=1MiB",
            "--max-write-rate=2097152",
            "--max-request-rate=3",
            "--idle-io",
            "--metrics-listen=127.0.0.1:3",
            "--tls-certificate=/c",
            "--tls-key=/k",
            "--quotas-running=1",
            "--quotas-waiting=2",
            "--quotas-per-day=3",
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
    let docs = include_str!("../../../../docs/rest-api.md");
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

    let ServerConfig {
        scheduler,
        api,
        backend,
        guest,
        rules,
        index,
        users,
        load,
        quotas,
        metrics,
        tls,
    } = ServerConfig::default();
    for (key, default) in [
        ("listen", format!("`{}`; ", api.listen)),
        ("grpc_listen", format!("`{}`; ", api::grpc::default_address())),
        ("max_exports", format!("exports that run at once, {}; ", scheduler.max_exports)),
        ("max_waiting", format!("wait for their turn, {}; ", scheduler.max_waiting)),
        ("guest_cpu_seconds", format!("in one export, {} (", guest.guest_cpu_seconds)),
        ("quarantine_raw", format!("; `{}`", api.quarantine_raw)),
        ("digest", format!("are digested, `{}` or", scheduler.digest)),
        ("shutdown_grace_seconds", format!(" after SIGTERM, {}", scheduler.shutdown_grace_seconds)),
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
    for (key, room) in [
        ("max_read_rate", format!("{load:?}")),
        ("max_write_rate", format!("{load:?}")),
        ("max_request_rate", format!("{load:?}")),
        ("quotas.per_day", format!("{quotas:?}")),
    ] {
        let field = key.rsplit('.').next().unwrap();
        assert!(room.contains(&format!("{field}: None")), "{room}");
        assert!(documented[key].ends_with("; no limit"), "{key}: {}", documented[key]);
    }
    assert!(load.idle_io.is_none() && documented["idle_io"].ends_with("; `false`"));
    assert!(quotas.quotas.running.is_none() && quotas.quotas.waiting.is_none());
    assert!(metrics.metrics_listen.is_none());
    assert!(tls.tls_certificate.is_none() && tls.tls_key.is_none());

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
