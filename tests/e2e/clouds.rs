//! Exports to Google's and Azure's API: from the command line, over REST, by Weaviate's own settings.
use std::path::Path;
use std::process::Command;

use offloom_fixtures::{Fixture, unpack};
use offloom_test_parts::{AzureKeys, Azurite, Gcs, GcsKeys, Keys, SeaweedFs};
use serde_json::json;
use tempfile::TempDir;

use crate::golden::compare;
use crate::program::{Said, program, said};
use crate::s3::bucket;
use crate::server::{Server, serve};

/// Variables that programs of all clouds would set.
type Variables = Vec<(String, String)>;

/// `offloom` with these variables, with all that it logs.
fn offloom(variables: &Variables, arguments: &[&str]) -> Said {
    said(program().env("OFFLOOM_LOG", "trace").envs(variables.clone()).args(arguments))
}

fn export(fixture: &Fixture, variables: &Variables, to: &str) -> Said {
    let (data, schema) = (fixture.data_dir(), fixture.schema_file());
    let (data, schema) = (data.to_str().unwrap(), schema.to_str().unwrap());
    let what = ["export", "--data-dir", data, "--schema", schema, "--id", "first"];
    offloom(variables, &[&what[..], &["--to", to]].concat())
}

/// Copies the objects of an export into a folder, for readers of files.
fn fetch(url: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (bucket, prefix) = rest.split_once('/').unwrap();
    let objects = match scheme {
        "az" => Azurite::shared().objects(bucket, prefix),
        _ => SeaweedFs::shared().objects(bucket, prefix),
    };
    for key in objects.keys() {
        let content = match scheme {
            "az" => Azurite::shared().read(bucket, key),
            _ => SeaweedFs::shared().read(bucket, key),
        };
        std::fs::write(folder.path().join(key.rsplit('/').next().unwrap()), content).unwrap();
    }
    folder
}

/// Exports, reads the rows back with a reader of the format, proves, and finds damage.
fn exported_and_proved(variables: &Variables, to: &str, secret: &str, damage: impl Fn(&str)) {
    let fixture = unpack("basic").unwrap();
    let exported = export(&fixture, variables, to).expect_success();
    let url = format!("{to}first/");
    assert_eq!(exported.out.lines().last(), Some(url.as_str()));
    compare(fetch(&url).path(), &fixture);
    let proved = offloom(variables, &["verify", &url]).expect_success();
    let again = export(&fixture, variables, to);
    assert!(again.err.contains("the export id 'first' is in use"), "{again:#?}");
    damage("first/Note.parquet");
    let damaged = offloom(variables, &["verify", &url]);
    assert!(!damaged.ok && format!("{damaged:?}").contains("Note.parquet"), "{damaged:#?}");
    for said in [exported, proved, again, damaged] {
        assert!(!format!("{said:?}").contains(secret), "{said:#?}");
    }
    for entry in std::fs::read_dir(fetch(&url).path()).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!content.windows(secret.len()).any(|found| found == secret.as_bytes()));
    }
}

fn flip_in_google(bucket: &str, key: &str) {
    let mut content = SeaweedFs::shared().read(bucket, key).to_vec();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    SeaweedFs::shared().write(bucket, key, content);
}

fn flip_in_azure(container: &str, key: &str) {
    let mut content = Azurite::shared().read(container, key).to_vec();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    Azurite::shared().write(container, key, content);
}

#[test]
fn the_command_line_exports_to_google_with_a_token_and_with_a_service_account() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), GcsKeys::service_account()).unwrap();
    let account = GcsKeys::ServiceAccount(file.path().to_str().unwrap().to_owned());
    for (keys, bucket) in
        [(GcsKeys::Token, bucket("gcs-by-token")), (account, bucket("gcs-by-account"))]
    {
        let to = format!("gs://{bucket}/lake/weaviate/");
        exported_and_proved(&Gcs::shared().environment(&keys), &to, keys.secret(), |key| {
            flip_in_google(bucket, &format!("lake/weaviate/{key}"));
        });
    }
}

#[test]
fn the_command_line_exports_to_azure_with_a_key_a_signature_and_a_connection_string() {
    for (number, keys) in [
        AzureKeys::Account,
        AzureKeys::signature("azure-exports-1", "racwdl"),
        AzureKeys::ConnectionString,
    ]
    .into_iter()
    .enumerate()
    {
        let container = format!("azure-exports-{number}");
        Azurite::shared().create_container(&container);
        let to = format!("az://{container}/lake/weaviate/");
        let variables = Azurite::shared().environment(&keys);
        exported_and_proved(&variables, &to, &keys.secret(), |key| {
            flip_in_azure(&container, &format!("lake/weaviate/{key}"));
        });
    }
}

#[test]
fn what_is_missing_is_said_in_the_words_of_each_cloud() {
    let fixture = unpack("basic").unwrap();
    let google = bucket("gcs-refused");
    Azurite::shared().create_container("azure-refused");
    let azure = "azure-refused";
    let reading = AzureKeys::signature(azure, "rl");
    let wrong = AzureKeys::WrongSignature { container: azure.to_owned() };
    let of_google = |keys: &GcsKeys| Gcs::shared().environment(keys);
    let of_azure = |keys: &AzureKeys| Azurite::shared().environment(keys);
    for (variables, to, secret, expected) in [
        (
            of_google(&GcsKeys::Wrong),
            format!("gs://{google}/"),
            GcsKeys::Wrong.secret().to_owned(),
            "correct GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            of_google(&GcsKeys::ReadOnly),
            format!("gs://{google}/"),
            GcsKeys::ReadOnly.secret().to_owned(),
            "the permission storage.objects.create",
        ),
        (
            of_google(&GcsKeys::Token),
            "gs://no-such-bucket/".to_owned(),
            GcsKeys::Token.secret().to_owned(),
            "create the bucket",
        ),
        (
            of_azure(&AzureKeys::WrongAccount),
            format!("az://{azure}/"),
            AzureKeys::WrongAccount.secret(),
            "correct AZURE_STORAGE_ACCOUNT_KEY",
        ),
        (of_azure(&wrong), format!("az://{azure}/"), wrong.secret(), "AZURE_STORAGE_SAS_TOKEN"),
        (
            of_azure(&reading),
            format!("az://{azure}/"),
            reading.secret(),
            "the permission c and w (create, write)",
        ),
        (
            of_azure(&AzureKeys::Account),
            "az://no-such-container/".to_owned(),
            AzureKeys::Account.secret(),
            "create the container",
        ),
    ] {
        let refused = export(&fixture, &variables, &to);
        assert!(!format!("{refused:?}").contains(&secret), "{refused:#?}");
        let error = refused.expect_error();
        assert!(error.contains(expected) && error.contains(&to), "{error}");
        assert!(!error.contains("sig="), "{error}");
    }
    assert!(SeaweedFs::shared().objects(google, "").is_empty());
    assert!(Azurite::shared().objects(azure, "").is_empty());
}

/// The variables that reach all three.
fn of_all_clouds() -> Variables {
    let mut variables = SeaweedFs::shared().environment(Keys::ReadWrite);
    variables.extend(Gcs::shared().environment(&GcsKeys::Token));
    variables.extend(Azurite::shared().environment(&AzureKeys::Account));
    variables
}

fn exported_over_rest(server: &Server, fixture: &Fixture, backend: &str, name: &str, url: &str) {
    let created = server.post(&format!("/v1/export/{backend}"), &json!({ "id": "day-1" })).ok();
    assert_eq!((&created["path"], &created["backend"]), (&json!(url), &json!(name)));
    let ended = server.wait(name, "day-1");
    assert_eq!(ended["status"], "SUCCESS", "{ended:#}");
    compare(fetch(url).path(), fixture);
}

#[test]
fn one_server_exports_to_every_cloud_and_a_request_names_what_is_allowed() {
    let fixture = unpack("basic").unwrap();
    let work = tempfile::tempdir().unwrap();
    Azurite::shared().create_container("rest-azure");
    Azurite::shared().create_container("rest-azure-too");
    let mut command = serve(&fixture.data_dir(), work.path());
    command
        .envs(of_all_clouds())
        .args(["--schema".as_ref(), fixture.schema_file().as_os_str()])
        .args(["--bucket", bucket("rest-s3"), "--gcs-bucket", bucket("rest-gcs")])
        .args(["--azure-container", "rest-azure", "--path", "prod"])
        .args(["--allowed-gcs-buckets", bucket("rest-gcs-too")])
        .args(["--allowed-azure-containers", "rest-azure-too"]);
    let server = Server::start(&mut command);
    exported_over_rest(&server, &fixture, "s3", "s3", "s3://rest-s3/prod/day-1/");
    exported_over_rest(&server, &fixture, "backup-gcs", "gcs", "gs://rest-gcs/prod/day-1/");
    exported_over_rest(&server, &fixture, "azure", "azure", "az://rest-azure/prod/day-1/");
    for (backend, other, url) in [
        ("gcs", "rest-gcs-too", "gs://rest-gcs-too/prod/team/day-2/"),
        ("azure", "rest-azure-too", "az://rest-azure-too/prod/team/day-2/"),
    ] {
        let place = json!({ "bucket": other, "path": "prod/team" });
        let path = format!("/v1/export/{backend}");
        let created = server.post(&path, &json!({ "id": "day-2", "config": place })).ok();
        assert_eq!(created["path"], url);
        assert_eq!(server.wait(backend, "day-2")["status"], "SUCCESS");
        for place in [
            json!({ "bucket": "rest-s3" }),
            json!({ "bucket": "theirs" }),
            json!({ "path": "production" }),
        ] {
            let answer = server.post(&path, &json!({ "id": "day-3", "config": place }));
            assert!(answer.error(422).contains("is not allowed"), "{place}");
        }
        // Nothing in a request says where the store is, or whose account.
        let endpoint = json!({ "endpoint": "http://127.0.0.1:1", "account": "theirs" });
        server.post(&path, &json!({ "id": "day-4", "config": endpoint })).ok();
        assert_eq!(server.wait(backend, "day-4")["status"], "SUCCESS");
    }
    // The server remembers in which bucket an export is, and under both names of the backend.
    let (by_name, by_module) = ("/v1/export/gcs/day-2", "/v1/export/backup-gcs/day-2");
    assert_eq!(server.get(by_module).ok(), server.get(by_name).ok());
    assert!(server.delete(by_module).error(409).contains("already finished"));
}

/// Starts a server with nothing but what Weaviate's own variables say.
fn by_weaviates_settings(fixture: &Fixture, work: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = serve(&fixture.data_dir(), work);
    command
        .args(["--schema".as_ref(), fixture.schema_file().as_os_str()])
        .envs(variables.iter().copied());
    command
}

#[test]
fn weaviates_own_settings_are_enough() {
    let fixture = unpack("basic").unwrap();
    let host = SeaweedFs::shared().endpoint().strip_prefix("http://").unwrap();
    Azurite::shared().create_container("weaviates-azure");
    let mut variables = vec![
        ("BACKUP_S3_BUCKET", bucket("weaviates-s3")),
        ("BACKUP_S3_PATH", "of/weaviate"),
        ("BACKUP_S3_ENDPOINT", host),
        ("BACKUP_S3_USE_SSL", "false"),
        ("AWS_ACCESS_KEY", "testkey"),
        ("AWS_SECRET_KEY", "testsecret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("BACKUP_GCS_BUCKET", bucket("weaviates-gcs")),
        ("BACKUP_AZURE_CONTAINER", "weaviates-azure"),
        ("BACKUP_AZURE_PATH", "of/weaviate"),
    ];
    let google = Gcs::shared().environment(&GcsKeys::Token);
    let azure = Azurite::shared().environment(&AzureKeys::ConnectionString);
    let of_clouds = google.iter().chain(&azure);
    variables.extend(of_clouds.map(|(name, value)| (name.as_str(), value.as_str())));

    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut by_weaviates_settings(&fixture, work.path(), &variables));
    exported_over_rest(&server, &fixture, "s3", "s3", "s3://weaviates-s3/of/weaviate/day-1/");
    exported_over_rest(&server, &fixture, "gcs", "gcs", "gs://weaviates-gcs/day-1/");
    let url = "az://weaviates-azure/of/weaviate/day-1/";
    exported_over_rest(&server, &fixture, "azure", "azure", url);
    drop(server);

    // The bucket and the path of exports stand above those of backups.
    variables.push(("EXPORT_DEFAULT_BUCKET", "weaviates-gcs"));
    variables.push(("EXPORT_DEFAULT_PATH", "exports"));
    variables.retain(|(name, _)| *name != "BACKUP_AZURE_CONTAINER");
    let work = tempfile::tempdir().unwrap();
    let server = Server::start(&mut by_weaviates_settings(&fixture, work.path(), &variables));
    exported_over_rest(&server, &fixture, "gcs", "gcs", "gs://weaviates-gcs/exports/day-1/");
    let message = server.post("/v1/export/azure", &json!({ "id": "day-1" })).error(422);
    assert!(message.contains("this server has: s3, gcs"), "{message}");
}

#[test]
fn config_check_says_which_of_weaviates_settings_count_and_hides_secrets() {
    let fixture = unpack("basic").unwrap();
    Azurite::shared().create_container("checked-azure");
    let keys = AzureKeys::signature("checked-azure", "racwdl");
    let mut variables = Azurite::shared().environment(&keys);
    variables.push(("BACKUP_AZURE_CONTAINER".to_owned(), "checked-azure".to_owned()));
    let data = fixture.data_dir();
    let checked = offloom(&variables, &["config", "check", "--data-dir", data.to_str().unwrap()]);
    let checked = checked.expect_success();
    for line in [
        "backend azure = az://checked-azure/ (BACKUP_AZURE_CONTAINER)",
        "AZURE_STORAGE_SAS_TOKEN = (hidden) (variable)",
        "AZURE_STORAGE_ACCOUNT_NAME = devstoreaccount1 (variable)",
        "backend azure: az://checked-azure/ can be used",
    ] {
        assert!(checked.out.lines().any(|found| found == line), "{line}: {}", checked.out);
    }
    assert!(!format!("{checked:?}").contains(&keys.secret()), "{checked:#?}");
}

#[test]
fn what_is_encrypted_with_a_customers_key_is_proved_with_it_alone() {
    let fixture = unpack("basic").unwrap();
    let to = format!("s3://{}/", bucket("customers-key"));
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let plain = SeaweedFs::shared().environment(Keys::ReadWrite);
    let mut with_key = plain.clone();
    for (name, value) in
        [("AWS_SERVER_SIDE_ENCRYPTION", "sse-c"), ("AWS_SSE_CUSTOMER_KEY_BASE64", key)]
    {
        with_key.push((name.to_owned(), value.to_owned()));
    }
    export(&fixture, &with_key, &to).expect_success();
    let url = format!("{to}first/");
    offloom(&with_key, &["verify", &url]).expect_success();
    let error = offloom(&plain, &["verify", &url]).expect_error();
    assert!(error.contains("AWS_SSE_CUSTOMER_KEY_BASE64") && !error.contains(key), "{error}");
}
