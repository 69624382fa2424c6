//! What tests ask the server for behind the back of the program under test.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde::Deserialize;

use super::keys::{Keys, REGION};
use super::{FIRST_BUCKET, SeaweedFs};
use crate::runtime::wait;
use crate::store_requests::{self, answer};

/// The part of S3's answer to ListMultipartUploads that tests look at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MultipartUploads {
    is_truncated: bool,
    #[serde(default)]
    upload: Vec<OpenUpload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenUpload {
    key: String,
}

impl SeaweedFs {
    /// Makes a bucket, which must not exist.
    pub fn create_bucket(&self, bucket: &str) {
        wait(signed(Keys::ReadWrite, "PUT", format!("{}/{bucket}", self.endpoint())))
            .unwrap_or_else(|reason| panic!("bucket {bucket}: {reason}"));
    }

    /// Keys of the multipart uploads that were begun in `bucket` and neither completed nor aborted,
    /// sorted; a key is named once for each of its uploads.
    pub fn open_uploads(&self, bucket: &str) -> Vec<String> {
        let url = format!("{}/{bucket}?uploads", self.endpoint());
        let answer = wait(signed(Keys::ReadWrite, "GET", url))
            .unwrap_or_else(|reason| panic!("open uploads of {bucket}: {reason}"));
        let uploads: MultipartUploads = quick_xml::de::from_str(&answer)
            .unwrap_or_else(|error| panic!("open uploads of {bucket}: {error} in {answer}"));
        assert!(!uploads.is_truncated, "more open uploads in {bucket} than one answer holds");
        let mut keys: Vec<_> = uploads.upload.into_iter().map(|upload| upload.key).collect();
        keys.sort();
        keys
    }

    /// Size in bytes of every object of `bucket` below `prefix`, which ends at a `/` or is empty.
    pub fn objects(&self, bucket: &str, prefix: &str) -> BTreeMap<String, u64> {
        store_requests::objects(self.client(bucket), bucket, prefix)
    }

    /// The bytes of an object, which must exist.
    pub fn read(&self, bucket: &str, key: &str) -> Bytes {
        store_requests::read(self.client(bucket), bucket, key)
    }

    /// Puts an object, new or over an old one: how a test damages what was stored.
    pub fn write(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        store_requests::write(self.client(bucket), bucket, key, bytes.into());
    }

    /// Whether the server can store something yet; an error says what it answered.
    pub(super) fn try_first_put(&self) -> Result<(), String> {
        let bucket = format!("{}/{FIRST_BUCKET}", self.endpoint());
        wait(async move {
            match signed(Keys::ReadWrite, "PUT", bucket.clone()).await {
                Err(reason) if !reason.contains("BucketAlreadyOwnedByYou") => Err(reason),
                _ => signed(Keys::ReadWrite, "PUT", format!("{bucket}/object")).await.map(drop),
            }
        })
    }

    fn client(&self, bucket: &str) -> AmazonS3 {
        Keys::ReadWrite.client(self.endpoint(), bucket).build().expect("a client of SeaweedFS")
    }
}

/// Sends a signed request without a body: the body of a 2xx answer, or what was answered instead.
async fn signed(keys: Keys, method: &str, url: String) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| format!("{method} {url}: {error}");
    let (key, secret) = keys.pair();
    let credential =
        AwsCredential { key_id: key.to_owned(), secret_key: secret.to_owned(), token: None };
    let mut request: HttpRequest = hyper::Request::builder()
        .method(method)
        .uri(&url)
        .body(HttpRequestBody::empty())
        .map_err(|error| said(&error))?;
    AwsAuthorizer::new(&credential, "s3", REGION)
        .try_authorize(&mut request, None)
        .map_err(|error| said(&error))?;
    answer(request).await
}
