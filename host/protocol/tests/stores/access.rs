//! The access check on the clouds: wrong, expired and read-only credentials, missing buckets, nobody
//! there. What is said names what is missing, and no secret.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use offloom_protocol::error::{Cause, Operation, StoreError};
use offloom_protocol::store::Destination;
use offloom_test_parts::{AzureKeys, Azurite, Fault, Gcs, GcsKeys, Requests};

use crate::place::{Kind, Place};
use crate::{for_stores, id, key};

for_stores! {
    s3: S3, gcs: Gcs, azure: Azure;
    rights_that_are_missing_after_the_first_write_are_named_and_the_probe_goes,
    a_missing_bucket_is_one,
    nobody_at_the_endpoint_is_reported_within_seconds,
    a_store_without_conditional_writes_is_refused,
    no_redirect_leads_to_another_host,
}

async fn refused(destination: &Destination, secret: &str) -> (Operation, Cause, String) {
    let error = destination.check_access().await.unwrap_err();
    let message = format!("{error} {error:?}");
    assert!(!message.contains(secret), "{message}");
    match error {
        StoreError::Failed { operation, cause, .. } => (operation, cause, message),
        other => panic!("{other}"),
    }
}

async fn rights_that_are_missing_after_the_first_write_are_named_and_the_probe_goes(kind: Kind) {
    let place = Place::new(kind);
    let code = match kind {
        Kind::Azure => "AuthorizationPermissionMismatch",
        _ => "AccessDenied",
    };
    let denied = Fault::Answer { status: 403, code };
    let (listing, removal) = match kind {
        Kind::Azure => ("comp=list", ("POST", "comp=batch")),
        _ => ("list-type", ("DELETE", "access")),
    };
    for (method, path, operation, rights) in [
        ("GET", "access", Operation::Read, ["s3:GetObject", "storage.objects.get", "r (read)"]),
        ("GET", listing, Operation::List, ["s3:ListBucket", "storage.objects.list", "l (list)"]),
        (
            removal.0,
            removal.1,
            Operation::Delete,
            ["s3:DeleteObject", "storage.objects.delete", "d (delete)"],
        ),
    ] {
        let proxy = kind.proxy();
        proxy.fault(Requests::method(method).containing(path), denied.clone());
        let (failed, cause, message) = refused(&place.through(&proxy), "no secret").await;
        assert_eq!((failed, cause), (operation, Cause::PermissionDenied), "{message}");
        assert!(rights.iter().any(|right| message.contains(right)), "{message}");
        let left = place.objects();
        assert_eq!(left.len(), usize::from(operation == Operation::Delete), "{left:?}");
    }
}

async fn a_missing_bucket_is_one(kind: Kind) {
    let cloud = kind.cloud().unwrap();
    let missing = Destination::bucket(cloud, "no-such-bucket", "exports").unwrap();
    let missing = missing.with_options(kind.variables(None).into_iter().collect());
    let (_, cause, message) = refused(&missing, "no secret").await;
    assert_eq!(cause, Cause::BucketMissing, "{message}");
    assert!(message.contains(&format!("create the {}", cloud.bucket_word())), "{message}");
    let place = format!("{}://no-such-bucket/exports/", cloud.scheme());
    assert!(message.contains(&place), "{message}");
}

async fn nobody_at_the_endpoint_is_reported_within_seconds(kind: Kind) {
    let started = Instant::now();
    let place = Place::new(kind);
    let proxy = kind.proxy();
    proxy.refuse_connections();
    let (operation, cause, message) = refused(&place.through(&proxy), "no secret").await;
    // First it is looked whether another export is there.
    assert_eq!((operation, cause), (Operation::Read, Cause::Unreachable), "{message}");
    assert!(message.contains(proxy.endpoint().trim_start_matches("http://")), "{message}");
    assert!(message.contains("refused"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

async fn a_store_without_conditional_writes_is_refused(kind: Kind) {
    let place = Place::new(kind);
    let proxy = kind.proxy();
    // The server takes the second write of the probe as if it had no condition.
    let unsupported = Fault::Answer { status: 501, code: "NotImplemented" };
    proxy.fault(Requests::method("PUT"), unsupported);
    let error = place.through(&proxy).check_access().await.unwrap_err();
    assert!(matches!(error, StoreError::NoConditionalWrites { .. }), "{error}");
}

/// Credentials would go along.
async fn no_redirect_leads_to_another_host(kind: Kind) {
    let (first, second) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let elsewhere = second.local_addr().unwrap();
    let here = format!("http://{}", first.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = first.accept() {
            let mut request = [0; 65_536];
            let _ = stream.read(&mut request);
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{elsewhere}/x\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut variables = kind.variables(None);
    for (_, value) in &mut variables {
        if let Some(rest) = value.strip_prefix("http://") {
            let (_, path) = rest.split_once('/').unwrap_or((rest, ""));
            *value = format!("{here}/{path}");
        }
    }
    let place = Place::new(kind);
    let (_, cause, message) = refused(&place.destination_with(variables), "no secret").await;
    assert_eq!(cause, Cause::WrongRegion, "{message}");
    assert!(message.contains("another host"), "{message}");
    second.set_nonblocking(true).unwrap();
    let followed = second.accept();
    assert!(followed.is_err(), "{followed:?}");
}

#[tokio::test]
async fn tokens_of_google_are_distinguished() {
    let place = Place::new(Kind::Gcs);
    let with = |keys: &GcsKeys| place.destination_with(Gcs::shared().environment(keys));
    let (_, cause, message) = refused(&with(&GcsKeys::Wrong), GcsKeys::Wrong.secret()).await;
    assert_eq!(cause, Cause::WrongCredentials, "{message}");
    assert!(message.contains("correct GOOGLE_APPLICATION_CREDENTIALS"), "{message}");

    let keys = GcsKeys::ReadOnly;
    let (operation, cause, message) = refused(&with(&keys), keys.secret()).await;
    assert_eq!((operation, cause), (Operation::Write, Cause::PermissionDenied), "{message}");
    assert!(message.contains("the permission storage.objects.create"), "{message}");
}

#[tokio::test]
async fn a_service_account_signs_its_own_tokens() {
    let place = Place::new(Kind::Gcs);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), GcsKeys::service_account()).unwrap();
    let keys = GcsKeys::ServiceAccount(file.path().to_str().unwrap().to_owned());
    let variables = Gcs::shared().environment(&keys);
    place.destination_with(variables.clone()).check_access().await.unwrap();

    // The same as a text, and of an account that has another key.
    let text = GcsKeys::service_account();
    let renamed = text.replace("offloom-tests-key-1", "offloom-tests-key-2");
    for (text, is_known) in [(text, true), (renamed, false)] {
        let mut variables = variables.clone();
        variables.retain(|(name, _)| name != "GOOGLE_APPLICATION_CREDENTIALS");
        variables.push(("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), text));
        let checked = place.destination_with(variables).check_access().await;
        let cause = checked.as_ref().err().map(StoreError::cause);
        assert_eq!(cause, (!is_known).then_some(Some(Cause::WrongCredentials)), "{checked:?}");
    }
}

#[tokio::test]
async fn keys_and_signatures_of_azure_are_distinguished() {
    let place = Place::new(Kind::Azure);
    let container = place.bucket.clone();
    let with = |keys: &AzureKeys| place.destination_with(Azurite::shared().environment(keys));
    with(&AzureKeys::ConnectionString).check_access().await.unwrap();
    let all = AzureKeys::signature(&container, "racwdl");
    with(&all).check_access().await.unwrap();
    assert!(place.objects().is_empty(), "{:?}", place.objects());

    let expired = AzureKeys::Signature {
        container: container.clone(),
        permissions: "racwdl".to_owned(),
        expiry: "2020-01-01T00:00:00Z".to_owned(),
    };
    let wrong = AzureKeys::WrongSignature { container: container.clone() };
    for keys in [AzureKeys::WrongAccount, wrong, expired] {
        let (_, cause, message) = refused(&with(&keys), &keys.secret()).await;
        assert_eq!(cause, Cause::WrongCredentials, "{keys:?}: {message}");
        assert!(message.contains("correct AZURE_STORAGE_ACCOUNT_KEY"), "{message}");
    }
    // The answer to a HEAD has no body, and its code in a header.
    let wrong = AzureKeys::WrongSignature { container: container.clone() };
    let folder = with(&wrong).export_folder(&id("e1")).unwrap();
    let error = folder.size_bytes(&key()).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::PermissionDenied), "{error}");
    assert!(error.to_string().contains("AuthorizationFailure"), "{error}");
    for (permissions, operation, right) in [
        ("rl", Operation::Write, "c and w (create, write)"),
        ("rcwl", Operation::Delete, "d (delete)"),
        ("cwdl", Operation::Read, "r (read)"),
        ("rcwd", Operation::List, "l (list)"),
    ] {
        let keys = AzureKeys::signature(&container, permissions);
        let (failed, cause, message) = refused(&with(&keys), &keys.secret()).await;
        assert_eq!((failed, cause), (operation, Cause::PermissionDenied), "{message}");
        assert!(message.contains(right), "{message}");
    }
    let other = AzureKeys::signature("another-container", "racwdl");
    let (_, cause, message) = refused(&with(&other), &other.secret()).await;
    assert_eq!(cause, Cause::WrongCredentials, "{message}");
}
