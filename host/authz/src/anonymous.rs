//! The service without users: everybody may do everything.
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Action, Authenticator, Authorizer, Credentials, Policy, Principal, Unauthenticated};

/// Takes everybody as the one anonymous principal. It exists only where no other machine can ask.
#[derive(Debug)]
pub struct Anonymous(());

impl Anonymous {
    /// For a server that listens on `listen`; `None` if other machines can reach that address.
    pub fn on(listen: SocketAddr) -> Option<Anonymous> {
        listen.ip().is_loopback().then_some(Anonymous(()))
    }
}

#[async_trait]
impl Authenticator for Anonymous {
    async fn authenticate(&self, _: Credentials<'_>) -> Result<Principal, Unauthenticated> {
        Ok(Principal::anonymous())
    }
}

/// The policy without rules: every principal may do everything.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn policy(&self) -> Arc<dyn Policy> {
        Arc::new(AllowAll)
    }
}

impl Policy for AllowAll {
    fn permits(&self, _: &Principal, _: Action, _: &str) -> bool {
        true
    }

    fn permits_every_class(&self, _: &Principal, _: Action) -> bool {
        true
    }

    fn permits_tenants(&self, _: &Principal, _: Action, _: &str, tenants: &[&str]) -> Vec<bool> {
        vec![true; tenants.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_is_for_loopback_addresses_only() {
        for (address, allowed) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:80", true),
            ("[::1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.168.1.4:8080", false),
        ] {
            assert_eq!(Anonymous::on(address.parse().unwrap()).is_some(), allowed, "{address}");
        }
    }
}
