//! The access check with right, wrong, read-only and no keys, and where nothing can be reached.
use std::time::{Duration, Instant};

use offloom_protocol::access::PassedChecks;
use offloom_protocol::claim::Claim;
use offloom_protocol::cloud::Cloud;
use offloom_protocol::error::{Cause, Operation, StoreError};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_test_parts::{Fault, Keys, Requests, SeaweedFs};

use crate::{bucket, destination, destination_at, proxy, readable_bucket};

async fn refused(destination: Destination) -> (Operation, Cause, String) {
    let error = destination.check_access().await.unwrap_err();
    let message = error.to_string();
    for secret in ["testsecret", "notthesecret", "rosecret", "Signature="] {
        assert!(!message.contains(secret), "{message}");
    }
    match error {
        StoreError::Failed { operation, cause, .. } => (operation, cause, message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_is_wrong_is_distinguished() {
    let bucket = readable_bucket();
    let (operation, cause, message) = refused(destination(bucket, Keys::ReadOnly)).await;
    assert_eq!((operation, cause), (Operation::Write, Cause::PermissionDenied));
    assert!(message.contains("s3://exports/exports/"), "{message}");
    assert!(message.contains("AccessDenied") && message.contains("access key"), "{message}");

    let (_, cause, message) = refused(destination(bucket, Keys::Wrong)).await;
    assert_eq!(cause, Cause::WrongCredentials);
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    assert!(message.contains("correct AWS_ACCESS_KEY_ID"), "{message}");

    let (_, cause, message) = refused(destination("no-such-bucket", Keys::ReadWrite)).await;
    assert_eq!(cause, Cause::BucketMissing);
    assert!(message.contains("s3://no-such-bucket/exports/"), "{message}");
    assert!(message.contains("create the bucket"), "{message}");

    let unknown = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "notthesecret")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = SeaweedFs::shared().environment(Keys::ReadWrite).into_iter().chain(unknown);
    let unknown = destination(bucket, Keys::ReadWrite).with_options(variables.collect());
    assert_eq!(refused(unknown).await.1, Cause::WrongCredentials);
    let stored = SeaweedFs::shared().objects(bucket, "");
    assert!(!stored.keys().any(|key| key.contains("access-check")), "{stored:?}");
}

#[tokio::test]
async fn no_keys_and_no_role_are_reported_within_seconds() {
    let started = Instant::now();
    let endpoint = SeaweedFs::shared().endpoint();
    let mut variables = SeaweedFs::shared().environment(Keys::ReadWrite);
    variables.retain(|(name, _)| !name.contains("KEY"));
    // In place of the address where a cloud's machines ask for their role.
    variables.push(("AWS_METADATA_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned()));
    let destination = destination_at(endpoint, "any-bucket", Keys::ReadWrite)
        .with_options(variables.into_iter().collect());
    let (_, cause, message) = refused(destination).await;
    assert_eq!(cause, Cause::NoCredentials);
    assert!(message.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_check_that_passed_is_remembered_for_its_destination_and_other_exports_are_not() {
    let (bucket, other) = (bucket("access-remembered"), bucket("access-not-remembered"));
    let proxy = proxy();
    let place = |bucket| destination_at(&proxy.endpoint(), bucket, Keys::ReadWrite);
    let passed = PassedChecks::default();

    // What failed is tried again.
    let denied = Fault::Answer { status: 403, code: "AccessDenied" };
    proxy.fault(Requests::method("GET").containing("list-type"), denied);
    place(bucket).check_access_unless_passed(&passed).await.unwrap_err();
    proxy.pass();
    place(bucket).check_access_unless_passed(&passed).await.unwrap();
    let written = proxy.count("PUT");
    assert!(written >= 4, "two checks: {written}");

    place(bucket).check_access_unless_passed(&passed).await.unwrap();
    assert_eq!(proxy.count("PUT"), written, "{:?}", proxy.seen());
    place(other).check_access_unless_passed(&passed).await.unwrap();
    assert!(proxy.count("PUT") > written);
    // The same place with other keys is another one.
    let keys = destination_at(&proxy.endpoint(), bucket, Keys::Wrong);
    keys.check_access_unless_passed(&passed).await.unwrap_err();

    let parent = Destination::bucket(Cloud::S3, bucket, "").unwrap();
    let variables = SeaweedFs::shared().environment(Keys::ReadWrite).into_iter();
    let parent = parent.with_options(variables.collect());
    let folder = parent.export_folder(&ExportId::parse("exports").unwrap()).unwrap();
    let claim = Claim::new(ExportId::parse("exports").unwrap(), "a".into(), "1".into());
    claim.take(&folder).await.unwrap();
    let error = place(bucket).check_access_unless_passed(&passed).await.unwrap_err();
    assert!(matches!(error, StoreError::InsideExport { .. }), "{error}");
}
