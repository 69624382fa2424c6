//! API keys, those of the settings and those of the data directory's users.
mod static_keys;
mod successes;
mod users;
mod verifier;

use std::sync::Arc;

use successes::{Memory, Successes, Tag};
use users::KeyParts;
use verifier::Verifier;

pub(crate) use static_keys::StaticKeys;
pub use users::UsersError;
pub(crate) use users::{UsersFile, load as load_users};

use crate::authenticator::{Credentials, Unauthenticated};
use crate::failures::FailedLogins;
use crate::principal::{NOBODY, Principal, PrincipalKind};

/// Checks API keys.
pub(crate) struct ApiKeys {
    static_keys: StaticKeys,
    /// `None`: dynamic users are off.
    users: Option<Arc<UsersFile>>,
    verifier: Verifier,
    successes: Successes,
    failures: Arc<FailedLogins>,
}

impl ApiKeys {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(
        static_keys: StaticKeys,
        users: Option<UsersFile>,
        failures: Arc<FailedLogins>,
    ) -> Result<ApiKeys, ring::error::Unspecified> {
        Ok(ApiKeys {
            static_keys,
            users: users.map(Arc::new),
            verifier: Verifier::new(),
            successes: Successes::new()?,
            failures,
        })
    }

    /// The user of a key, which is not a JWT if OIDC is on.
    ///
    /// A key that was right within the last hour is not slowed down, whatever else its address does.
    pub(crate) async fn authenticate(
        &self,
        token: &str,
        credentials: Credentials<'_>,
    ) -> Result<Principal, Unauthenticated> {
        let tag = self.successes.tag(token);
        let memory = self.successes.recall(&tag);
        if memory == Memory::None {
            self.failures.admit(credentials.client)?;
        }
        let found = self.user(token, tag, memory).await;
        if let Err(Unauthenticated::Refused(_)) = found {
            self.failures.add();
        }
        found.map(|name| Principal::new(PrincipalKind::Db, name))
    }

    /// In upstream's order (`docs/format/rbac.md` 4.2).
    async fn user(&self, token: &str, tag: Tag, memory: Memory) -> Result<String, Unauthenticated> {
        if let Some(file) = &self.users {
            let file = Arc::clone(file);
            let users = tokio::task::spawn_blocking(move || file.current()).await;
            let users = users.map_err(|_| refused("the users cannot be read"))?;
            if let Some(parts) = KeyParts::of(token) {
                let found = users.of_identifier(&parts.identifier);
                let hash = found.and_then(|(_, user)| user.hash.clone());
                let is_fresh =
                    matches!(memory, Memory::Fresh(checked) if Some(&checked) == hash.as_ref());
                let is_right = is_fresh || self.verifier.verify(parts.secret, hash.clone()).await?;
                let Some((id, user)) = found.filter(|_| is_right) else {
                    return Err(refused("invalid token"));
                };
                if !is_fresh {
                    self.successes.remember(tag, hash);
                }
                return allowed(id, user.refusal());
            }
            if let Some((id, user)) = users.of_imported(token) {
                self.successes.remember(tag, None);
                return allowed(id, user.map_or(Some("invalid token"), |user| user.refusal()));
            }
        }
        match self.static_keys.user(token) {
            Some(user) => {
                self.successes.remember(tag, None);
                allowed(user, None)
            }
            None => Err(refused("invalid api key, please provide a valid api key")),
        }
    }
}

/// The user, unless something speaks against it.
fn allowed(id: &str, refusal: Option<&str>) -> Result<String, Unauthenticated> {
    match refusal {
        Some(reason) => Err(refused(reason)),
        None if id == NOBODY => Err(refused("invalid token")),
        None => Ok(id.to_owned()),
    }
}

fn refused(reason: &str) -> Unauthenticated {
    Unauthenticated::Refused(format!("unauthorized: {reason}"))
}
