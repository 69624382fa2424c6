//! Objects in a bucket: lost answers, encryption.
use bytes::Bytes;
use offloom_protocol::claim::Claim;
use offloom_protocol::names::ObjectKey;
use offloom_protocol::store::{Created, Destination};
use offloom_protocol::upload::Upload;
use offloom_test_parts::{Fault, Keys, Requests, SeaweedFs};

use crate::{bucket, content, destination, folder, folder_at, id, key, proxy};

#[tokio::test]
async fn objects_are_created_once_and_listed_relative_to_the_folder() {
    let folder = folder(bucket("objects"));
    assert_eq!(folder.list(10).await.unwrap(), []);
    let key = ObjectKey::parse("quarantine/Article.jsonl").unwrap();
    let ours = Bytes::from_static(b"ours");
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    assert_eq!(folder.create(&key, ours.clone()).await.unwrap(), Created::Ours);
    let theirs = folder.create(&key, Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(theirs, Created::Theirs(ours));
    let listed = folder.list(10).await.unwrap();
    assert_eq!((listed[0].key.as_str(), listed[0].size_bytes), ("quarantine/Article.jsonl", 4));
    assert_eq!(folder.size_bytes(&key).await.unwrap(), Some(4));
    assert_eq!(folder.size_bytes(&ObjectKey::claim()).await.unwrap(), None);
}

#[tokio::test]
async fn prefixes_are_taken_as_they_are() {
    let bucket = bucket("prefixes");
    let options = SeaweedFs::shared().environment(Keys::ReadWrite).into_iter().collect();
    let destination = Destination::parse("s3://prefixes/ü 50%/a+b&c").unwrap();
    let folder = destination.with_s3_options(options).export_folder(&id("e1")).unwrap();
    folder.create(&key(), content(3)).await.unwrap();
    assert_eq!(folder.list(10).await.unwrap()[0].key, "Article.parquet");
    let stored = SeaweedFs::shared().objects(bucket, "").into_keys().collect::<Vec<_>>();
    assert_eq!(stored, ["ü 50%/a+b&c/e1/Article.parquet"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_ours() {
    let bucket = bucket("lost-reply");
    let proxy = proxy();
    let folder = folder_at(&proxy.endpoint(), bucket);
    let claims = Requests::method("PUT").containing("_claim.json");
    proxy.fault(claims.clone().first(1), Fault::DropReply);
    let claim = Claim::new(id("e1"), "a".to_owned(), "0.1.0".to_owned());
    claim.take(&folder).await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(Claim::read(&folder).await.unwrap().unwrap().nonce, claim.nonce);

    // Another's is not taken for ours, whatever happens to the answer.
    proxy.fault(claims.first(1), Fault::DropReply);
    let theirs = folder.create(&ObjectKey::claim(), Bytes::from_static(b"mine")).await.unwrap();
    assert!(matches!(theirs, Created::Theirs(_)), "{theirs:?}");
    assert_eq!(proxy.spoiled(), 2);
}

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
        let variables =
            encryption.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let server = SeaweedFs::shared();
        let variables = server.environment(Keys::ReadWrite).into_iter().chain(variables);
        let destination = destination(bucket, Keys::ReadWrite).with_s3_options(variables.collect());
        destination.check_access().await.unwrap_or_else(|error| panic!("{encryption:?}: {error}"));
        let folder = destination.export_folder(&id(&format!("e{number}"))).unwrap();
        for (file, len) in [(1, 1_000), (2, 20_000_000)] {
            let key = ObjectKey::class_file("Article", file, "parquet").unwrap();
            let mut upload = Upload::start(&folder, key.clone(), 0);
            upload.append(content(len)).await.unwrap();
            upload.finish().await.unwrap_or_else(|error| panic!("{encryption:?}: {error}"));
            let found = folder.read(&key, 100_000_000).await.unwrap();
            assert!(found == content(len), "{encryption:?}");
        }
    }
    // Without the customer's key nobody reads what was written with it.
    let plain = destination(bucket, Keys::ReadWrite).export_folder(&id("e2")).unwrap();
    plain.read(&key(), 1_000).await.unwrap_err();
}
