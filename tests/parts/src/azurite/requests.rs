//! What tests ask Azurite themselves: containers, objects, blocks of uploads that were not completed.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder,
};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::Azurite;
use super::keys::{ACCOUNT, ACCOUNT_KEY};
use crate::runtime::wait;
use crate::seaweedfs::install_tls;
use crate::store_requests::{self, answer};

impl Azurite {
    /// Makes a container, which must not exist.
    pub fn create_container(&self, container: &str) {
        self.try_create(container)
            .unwrap_or_else(|reason| panic!("container {container}: {reason}"));
    }

    /// Size in bytes of every object of `container` below `prefix`, which ends at a `/` or is empty.
    pub fn objects(&self, container: &str, prefix: &str) -> BTreeMap<String, u64> {
        store_requests::objects(self.client(container), container, prefix)
    }

    /// The names, sorted, of objects that exist only as blocks which no completion made visible.
    pub fn uncommitted(&self, container: &str) -> Vec<String> {
        let url = format!(
            "{}/{container}?restype=container&comp=list&include=uncommittedblobs",
            self.endpoint()
        );
        let answer = wait(signed("GET", url))
            .unwrap_or_else(|reason| panic!("blocks of {container}: {reason}"));
        let committed = self.objects(container, "");
        let names = answer.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next());
        let names = names.filter(|name| !committed.contains_key(*name)).map(str::to_owned);
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The bytes of an object, which must exist.
    pub fn read(&self, container: &str, key: &str) -> Bytes {
        store_requests::read(self.client(container), container, key)
    }

    /// Puts an object, new or over an old one: how a test damages what was stored.
    pub fn write(&self, container: &str, key: &str, bytes: impl Into<Bytes>) {
        store_requests::write(self.client(container), container, key, bytes.into());
    }

    /// A client with the account's key, to do what the program does not.
    pub fn client(&self, container: &str) -> MicrosoftAzure {
        install_tls();
        MicrosoftAzureBuilder::new()
            .with_account(ACCOUNT)
            .with_access_key(ACCOUNT_KEY)
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_container_name(container)
            .build()
            .expect("a client of Azurite")
    }

    /// Whether the server can make a container yet; an error says what it answered.
    pub(super) fn try_create(&self, container: &str) -> Result<(), String> {
        let url = format!("{}/{container}?restype=container", self.endpoint());
        wait(signed("PUT", url)).map(drop)
    }
}

/// Sends a signed request without a body: the body of a 2xx answer, or what was answered instead.
async fn signed(method: &str, url: String) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| format!("{method} {url}: {error}");
    let key = AzureAccessKey::try_new(ACCOUNT_KEY).map_err(|error| said(&error))?;
    let credential = AzureCredential::AccessKey(key);
    let mut request: HttpRequest = hyper::Request::builder()
        .method(method)
        .uri(&url)
        .header("content-length", "0")
        .body(HttpRequestBody::empty())
        .map_err(|error| said(&error))?;
    AzureAuthorizer::new(&credential, ACCOUNT)
        .try_authorize(&mut request)
        .map_err(|error| said(&error))?;
    answer(request).await
}
