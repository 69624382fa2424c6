//! Objects in a bucket: writes that are cut off, encryption.
use offloom_protocol::error::Cause;
use offloom_protocol::names::{Attempt, ObjectKey};
use offloom_protocol::store::Created;
use offloom_protocol::upload::Upload;
use offloom_test_parts::{Fault, Keys, Requests, SeaweedFs};

use crate::{bucket, content, destination, destination_at, folder_at, id, key, proxy};

#[tokio::test]
async fn a_write_that_was_cut_off_is_tried_again() {
    let bucket = bucket("cut-off");
    let proxy = proxy();
    proxy.fault(Requests::method("PUT").first(2), Fault::CutAfter { body_bytes: 1_000 });
    let created = folder_at(&proxy.endpoint(), bucket).create(&key(), content(1_000_000)).await;
    assert_eq!(created.unwrap(), Created::Ours);
    assert_eq!(proxy.spoiled(), 2);
    assert_eq!(SeaweedFs::shared().read(bucket, "exports/e1/Article.parquet"), content(1_000_000));
}

#[tokio::test]
async fn encrypted_objects_are_written_and_read() {
    let bucket = bucket("encrypted");
    let customer_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for (number, encryption) in [
        &[("AWS_SERVER_SIDE_ENCRYPTION", "AES256")][..],
        &[("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms"), ("AWS_SSE_KMS_KEY_ID", "export-key")],
        &[("AWS_SERVER_SIDE_ENCRYPTION", "sse-c"), ("AWS_SSE_CUSTOMER_KEY_BASE64", customer_key)],
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = proxy();
        let variables =
            encryption.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let variables = Keys::ReadWrite.environment(&proxy.endpoint()).into_iter().chain(variables);
        let destination = destination_at(&proxy.endpoint(), bucket, Keys::ReadWrite)
            .with_options(variables.collect());
        destination.check_access().await.unwrap_or_else(|error| panic!("{encryption:?}: {error}"));
        let folder = destination.export_folder(&id(&format!("e{number}"))).unwrap();
        for (file, len) in [(1, 1_000), (2, 20_000_000)] {
            let key = ObjectKey::class_file("Article", file, "parquet", Attempt::FIRST).unwrap();
            let mut upload = Upload::start(&folder, key.clone(), 0);
            upload.append(content(len)).await.unwrap();
            upload.finish().await.unwrap_or_else(|error| panic!("{encryption:?}: {error}"));
            let found = folder.read(&key, 100_000_000).await.unwrap();
            assert!(found == content(len), "{encryption:?}");
        }
        // What creates an object says how it is encrypted; a customer's key comes with each request.
        let (header, is_of_each) = match number {
            2 => ("x-amz-server-side-encryption-customer-key", true),
            _ => ("x-amz-server-side-encryption", false),
        };
        let creates = |line: &&String| {
            let is_whole = line.starts_with("PUT ") && !line.contains("partNumber");
            let is_read = line.starts_with("GET ") && !line.contains("list-type");
            is_whole
                || line.contains("?uploads")
                || is_of_each && (is_read || line.contains("partNumber"))
        };
        let lacking = proxy.lacking(header);
        let lacking: Vec<_> = lacking.iter().filter(creates).collect();
        assert!(lacking.is_empty(), "{encryption:?}: {lacking:?}");
    }
}

#[tokio::test]
async fn without_the_customers_key_nobody_reads_and_the_error_says_what_to_set() {
    let bucket = bucket("customer-key");
    let with_key = |key: Option<&str>| {
        let encryption = [("AWS_SERVER_SIDE_ENCRYPTION", "sse-c")].into_iter();
        let encryption = encryption.chain(key.map(|key| ("AWS_SSE_CUSTOMER_KEY_BASE64", key)));
        let encryption = encryption.filter(|_| key.is_some());
        let encryption = encryption.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = SeaweedFs::shared().environment(Keys::ReadWrite).into_iter();
        destination(bucket, Keys::ReadWrite)
            .with_options(variables.chain(encryption).collect())
            .export_folder(&id("e1"))
            .unwrap()
    };
    let right = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let wrong = "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
    with_key(Some(right)).create(&key(), content(1_000)).await.unwrap();
    assert_eq!(with_key(Some(right)).read(&key(), 1_000).await.unwrap(), content(1_000));
    let error = with_key(None).read(&key(), 1_000).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::WrongEncryptionKey), "{error}");
    assert!(error.to_string().contains("AWS_SSE_CUSTOMER_KEY_BASE64"), "{error}");
    // Of another key the store says no more than that access is denied.
    let error = with_key(Some(wrong)).read(&key(), 1_000).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::PermissionDenied), "{error}");
    let message = format!("{error} {error:?}");
    assert!(!message.contains(right) && !message.contains(wrong), "{message}");
}
