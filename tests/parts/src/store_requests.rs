//! What tests ask every store themselves, past the program: objects, and signed requests.

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::client::{ClientOptions, HttpConnector, HttpRequest, ReqwestConnector};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::runtime::wait;
use crate::seaweedfs::install_tls;

/// Size in bytes of every object of `bucket`, which `store` opens, below `prefix`, which ends at a `/` or
/// is empty.
pub(crate) fn objects(
    store: impl ObjectStore,
    bucket: &str,
    prefix: &str,
) -> BTreeMap<String, u64> {
    let prefix = Path::parse(prefix).expect("a prefix");
    let found = wait(async move { store.list(Some(&prefix)).try_collect::<Vec<_>>().await })
        .unwrap_or_else(|error| panic!("objects of {bucket}: {error}"));
    found.into_iter().map(|object| (object.location.to_string(), object.size)).collect()
}

/// The bytes of an object, which must exist.
pub(crate) fn read(store: impl ObjectStore, bucket: &str, key: &str) -> Bytes {
    let path = Path::parse(key).expect("a key");
    wait(async move { store.get(&path).await?.bytes().await })
        .unwrap_or_else(|error| panic!("{bucket}/{key}: {error}"))
}

/// Puts an object, new or over an old one.
pub(crate) fn write(store: impl ObjectStore, bucket: &str, key: &str, bytes: Bytes) {
    let path = Path::parse(key).expect("a key");
    wait(async move { store.put(&path, bytes.into()).await })
        .unwrap_or_else(|error| panic!("{bucket}/{key}: {error}"));
}

/// Sends a request: the body of a 2xx answer, or what was answered instead.
pub(crate) async fn answer(request: HttpRequest) -> Result<String, String> {
    let what = format!("{} {}", request.method(), request.uri());
    let said = |error: &dyn Display| format!("{what}: {error}");
    install_tls();
    let client = ReqwestConnector::default()
        .connect(&ClientOptions::new().with_allow_http(true))
        .map_err(|error| said(&error))?;
    let answer = client.execute(request).await.map_err(|error| said(&error))?;
    let status = answer.status();
    let body = answer.into_body().bytes().await.map_err(|error| said(&error))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(body) } else { Err(said(&format!("{status} {body}"))) }
}
