//! Takes each request's credentials to the method that is for them.
use std::sync::Arc;

use async_trait::async_trait;

use crate::api_keys::ApiKeys;
use crate::authenticator::{Authenticator, Credentials, Unauthenticated};
use crate::failures::FailedLogins;
use crate::oidc::{Oidc, is_jwt};
use crate::principal::Principal;

/// API keys, OIDC, or both.
pub(crate) struct Methods {
    pub api_keys: Option<ApiKeys>,
    pub oidc: Option<Oidc>,
    pub failures: Arc<FailedLogins>,
}

#[async_trait]
impl Authenticator for Methods {
    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Principal, Unauthenticated> {
        let Some(token) = credentials.authorization.and_then(bearer) else {
            return Err(Unauthenticated::Refused(self.how_to_come_in()));
        };
        match (&self.api_keys, &self.oidc) {
            (_, Some(oidc)) if self.api_keys.is_none() || is_jwt(token) => {
                let found = oidc.authenticate(token).await;
                // Cheap, so it comes first: right tokens are never slowed down.
                if let Err(Unauthenticated::Refused(_)) = found {
                    self.failures.admit(credentials.client)?;
                    self.failures.add();
                }
                found
            }
            (Some(api_keys), _) => api_keys.authenticate(token, credentials).await,
            (None, _) => Err(Unauthenticated::Refused(self.how_to_come_in())),
        }
    }
}

impl Methods {
    /// Upstream's text (`docs/format/rbac.md` 5).
    fn how_to_come_in(&self) -> String {
        let mut names = Vec::new();
        if self.api_keys.is_some() {
            names.push("API-keys");
        }
        if self.oidc.is_some() {
            names.push("OIDC");
        }
        format!(
            "anonymous access not enabled. Please authenticate through one of the available \
             methods: [{}]",
            names.join(", ")
        )
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer("Bearer key"), Some("key"));
        assert_eq!(bearer("bearer  key "), Some("key"));
        assert_eq!(bearer("Basic key"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("key"), None);
    }
}
