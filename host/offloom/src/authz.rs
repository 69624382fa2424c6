//! Who may export what: decided on the host, before a guest sees anything.
use std::net::SocketAddr;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name that logs and claims show.
    pub name: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To read the objects of a class.
    Read,
}

/// No principal could be made of what the request carries.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unauthenticated {
    /// What is missing or wrong, without secrets.
    pub reason: String,
}

/// Decides for a server. Every answer is given per class, so that a request can be narrowed to
/// what may be read.
pub trait Authorizer: Send + Sync {
    /// The principal behind a request. `credentials` is the text of its `Authorization` header.
    ///
    /// # Errors
    /// [`Unauthenticated`], which a client sees as 401.
    fn authenticate(&self, credentials: Option<&str>) -> Result<Principal, Unauthenticated>;

    /// Which of `classes` the principal may act on, in their order. Names are exact, but need not
    /// be those of classes that exist.
    fn permitted(&self, principal: &Principal, action: Action, classes: &[String]) -> Vec<String>;
}

/// Everybody may read everything: only for a server that listens on a loopback address.
#[derive(Debug)]
pub struct Anonymous(());

impl Anonymous {
    /// None for an address that other machines can reach.
    pub fn on(listen: SocketAddr) -> Option<Anonymous> {
        listen.ip().is_loopback().then_some(Anonymous(()))
    }
}

impl Authorizer for Anonymous {
    fn authenticate(&self, _credentials: Option<&str>) -> Result<Principal, Unauthenticated> {
        Ok(Principal { name: "anonymous".to_owned() })
    }

    fn permitted(&self, _: &Principal, _: Action, classes: &[String]) -> Vec<String> {
        classes.to_vec()
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
