//! The authorizer without users: everybody may read everything.
use std::net::SocketAddr;

use crate::{Action, Authorizer, Principal, Unauthenticated};

/// Allows everything to everybody. It exists only where no other machine can ask: on a loopback
/// address and on the command line.
#[derive(Debug)]
pub struct Anonymous(());

impl Anonymous {
    /// For a server that listens on `listen`; `None` if other machines can reach that address.
    pub fn on(listen: SocketAddr) -> Option<Anonymous> {
        listen.ip().is_loopback().then_some(Anonymous(()))
    }

    /// For the command line, where the rights of the process decide what can be read.
    pub fn on_command_line() -> Anonymous {
        Anonymous(())
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
