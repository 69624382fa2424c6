//! Credentials that the machine gives, and machines that have none: in processes of their own, since the
//! clients look into the variables of their process.
use std::process::Command;
use std::time::{Duration, Instant};

use offloom_protocol::error::Cause;
use offloom_protocol::store::Destination;
use offloom_test_parts::{Gcs, GcsKeys};

use crate::place::{Kind, Place};

/// Set where this program runs itself, to check access there.
const CHECKED: &str = "OFFLOOM_TEST_CHECKED_DESTINATION";

/// Set as well where it only reads: without the short patience of a check.
const ONLY_READ: &str = "OFFLOOM_TEST_ONLY_READ";

const TEST: &str = "machine::what_a_machine_gives_is_used_and_what_it_lacks_is_said_soon";

/// What the check says in a process with these variables; nothing when it passes.
fn checked(destination: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env("HOME", "/nowhere")
        .env(CHECKED, destination)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let said = output.lines().find_map(|line| line.strip_prefix("said: ")).unwrap();
    said.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_machine_gives_is_used_and_what_it_lacks_is_said_soon() {
    if let Ok(text) = std::env::var(CHECKED) {
        let destination = Destination::parse(text).unwrap();
        let checked = if std::env::var_os(ONLY_READ).is_some() {
            destination.as_export_folder().unwrap().list(1).await.map(drop)
        } else {
            destination.check_access().await
        };
        let said = checked.err().map(|error| format!("{:?} {error}", error.cause()));
        println!("\nsaid: {}", said.unwrap_or_default());
        return;
    }
    let place = Place::new(Kind::Gcs);
    let to = format!("gs://{}/exports/", place.bucket);
    let machine = Gcs::shared().environment(&GcsKeys::Machine);
    let machine: Vec<_> =
        machine.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(checked(&to, &machine), "");

    // In place of the addresses where machines ask, one where nobody is.
    let nobody = "127.0.0.1:1";
    let google = [("GCE_METADATA_HOST", nobody), ("GCE_METADATA_IP", nobody)];
    let identity = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "mine"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/metadata/identity/token"),
    ];
    let aws = [("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")];
    for (to, variables, remedy) in [
        (&*to, &google[..], "set GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container/exports/", &identity, "set AZURE_STORAGE_ACCOUNT_KEY"),
        ("s3://bucket/exports/", &aws, "set AWS_ACCESS_KEY_ID"),
    ] {
        for only_read in [None, Some((ONLY_READ, "1"))] {
            let started = Instant::now();
            let variables: Vec<_> = variables.iter().copied().chain(only_read).collect();
            let said = checked(to, &variables);
            let cause = format!("{:?}", Some(Cause::NoCredentials));
            assert!(said.starts_with(&cause) && said.contains(remedy), "{said}");
            // The next address is tried after a second; an hour would pass for no other reason.
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        }
    }
}
