//! The interface of everything that finds out who asks.
use std::net::IpAddr;

use async_trait::async_trait;

use crate::Principal;

/// What a request says of its principal.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The value of the header `Authorization`. It is a secret, so this type has no `Debug`.
    pub authorization: Option<&'a str>,
    /// The client's address. Failures are slowed down by it.
    pub client: IpAddr,
}

/// Finds out who asks.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The principal of a request.
    ///
    /// # Errors
    /// [`Unauthenticated`].
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Principal, Unauthenticated>;
}

/// Why a request has no principal. No text has a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// No credentials, or wrong ones: status 401.
    #[error("{0}")]
    Refused(String),
    /// Too many failures from this address: status 429.
    #[error("too many failed logins from this address: try again in {seconds} s")]
    SlowedDown {
        /// When the next try is taken.
        seconds: u64,
    },
    /// The identity provider cannot be asked, which is no fault of the client: status 503.
    #[error("the identity provider cannot be asked: {0}")]
    Unavailable(String),
}
