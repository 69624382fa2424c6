//! Uploads in parts by their ids, on stores that have such ids: each can be continued and aborted by
//! another process, and on S3 those that nobody knows of can be listed.
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::AmazonS3;
use object_store::client::{HttpClient, HttpRequest};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as StorePath;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{Error, MultipartId, PutPayload, Result};
use reqwest::Method;
use serde::Deserialize;

/// An upload in parts that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// The object that it would make.
    pub path: StorePath,
    /// What the store calls it.
    pub upload_id: String,
}

/// A store whose uploads have ids.
#[async_trait]
pub trait UploadStore: Debug + Send + Sync {
    /// Begins an upload.
    async fn begin(&self, path: &StorePath) -> Result<MultipartId>;

    /// Writes the part of this number, from 0; one that is there already is replaced.
    async fn put_part(
        &self,
        path: &StorePath,
        id: &MultipartId,
        number: usize,
        payload: PutPayload,
    ) -> Result<PartId>;

    /// Makes the object out of all parts, in their order.
    async fn complete(&self, path: &StorePath, id: &MultipartId, parts: Vec<PartId>) -> Result<()>;

    /// Removes the parts.
    async fn abort(&self, path: &StorePath, id: &MultipartId) -> Result<()>;

    /// Every upload below `prefix`; `None` if the store cannot be asked for them.
    async fn list(&self, prefix: &StorePath) -> Result<Option<Vec<ListedUpload>>>;
}

/// The uploads of a bucket of `object_store`, and how they are listed, if they are.
#[derive(Debug)]
pub(super) struct BucketUploads<S> {
    pub store: Arc<S>,
    pub listing: Option<S3Listing>,
}

/// Lists the uploads of a bucket of S3.
#[derive(Debug)]
pub(super) struct S3Listing {
    pub s3: Arc<AmazonS3>,
    /// For the one request that `object_store` lacks.
    pub http: HttpClient,
}

#[async_trait]
impl<S: MultipartStore + Debug> UploadStore for BucketUploads<S> {
    async fn begin(&self, path: &StorePath) -> Result<MultipartId> {
        self.store.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &StorePath,
        id: &MultipartId,
        number: usize,
        payload: PutPayload,
    ) -> Result<PartId> {
        self.store.put_part(path, id, number, payload).await
    }

    async fn complete(&self, path: &StorePath, id: &MultipartId, parts: Vec<PartId>) -> Result<()> {
        self.store.complete_multipart(path, id, parts).await.map(drop)
    }

    async fn abort(&self, path: &StorePath, id: &MultipartId) -> Result<()> {
        self.store.abort_multipart(path, id).await
    }

    async fn list(&self, prefix: &StorePath) -> Result<Option<Vec<ListedUpload>>> {
        match &self.listing {
            Some(listing) => listing.list(prefix).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The answer of S3 to ListMultipartUploads, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: Option<String>,
    #[serde(default)]
    next_upload_id_marker: Option<String>,
    #[serde(default)]
    upload: Vec<PageEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageEntry {
    key: String,
    upload_id: String,
}

/// How long the address of a listing is valid.
const LISTING_VALID: Duration = Duration::from_secs(300);

/// A thousand uploads with keys of 1,024 bytes, several times over.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

impl S3Listing {
    async fn list(&self, prefix: &StorePath) -> Result<Vec<ListedUpload>> {
        let mut found = Vec::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let page = self.page(prefix, after.take()).await?;
            for upload in page.upload {
                let path = StorePath::parse(&upload.key)?;
                found.push(ListedUpload { path, upload_id: upload.upload_id });
            }
            match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
                (true, Some(key), Some(id)) => after = Some((key, id)),
                (false, _, _) => return Ok(found),
                _ => return Err(unreadable("a list of uploads breaks off without a marker")),
            }
        }
    }

    async fn page(&self, prefix: &StorePath, after: Option<(String, String)>) -> Result<Page> {
        let mut query = vec![("uploads".to_owned(), String::new())];
        if !prefix.as_ref().is_empty() {
            query.push(("prefix".to_owned(), format!("{prefix}/")));
        }
        if let Some((key, id)) = after {
            query.push(("key-marker".to_owned(), key));
            query.push(("upload-id-marker".to_owned(), id));
        }
        let options = SignedUrlOptions::new().with_query(query);
        let root = StorePath::default();
        let url = self.s3.signed_url_opts(Method::GET, &root, LISTING_VALID, &options).await?;
        let mut request = HttpRequest::new(Vec::new().into());
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| unreadable("the address of a list is none"))?;
        let answer = self.http.execute(request).await;
        let answer =
            answer.map_err(|source| Error::Generic { store: "S3", source: source.into() })?;
        let status = answer.status();
        let body = answer.into_body().bytes().await;
        let body = body.map_err(|source| Error::Generic { store: "S3", source: source.into() })?;
        if body.len() > MAX_PAGE_BYTES {
            return Err(unreadable("a list of uploads is too long"));
        }
        let body = String::from_utf8_lossy(&body);
        if !status.is_success() {
            // As `object_store` words it: the cause is read from this text.
            return Err(unreadable(&format!(
                "Server returned non-2xx status code: {status}: {body}"
            )));
        }
        quick_xml::de::from_str(&body).map_err(|error| unreadable(&error.to_string()))
    }
}

fn unreadable(reason: &str) -> Error {
    Error::Generic { store: "S3", source: reason.to_owned().into() }
}
