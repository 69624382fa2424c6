//! The keys of the settings.
use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::Secret;

/// Keys and their users (`docs/format/rbac.md` 4.1). It holds digests, not keys.
#[derive(Default)]
pub(crate) struct StaticKeys {
    keys: Vec<([u8; 32], String)>,
}

impl StaticKeys {
    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = (&'a Secret, String)>) -> StaticKeys {
        let digest = |(key, user): (&Secret, String)| (digest(key.reveal()), user);
        StaticKeys { keys: keys.into_iter().map(digest).collect() }
    }

    /// The user of a key. All keys are compared, so that the time says nothing of which one is right.
    pub(crate) fn user(&self, token: &str) -> Option<&str> {
        let given = digest(token);
        let mut found = u64::MAX;
        for (index, (digest, _)) in (0u64..).zip(&self.keys) {
            found.conditional_assign(&index, digest.as_slice().ct_eq(&given));
        }
        let index = usize::try_from(found).ok()?;
        self.keys.get(index).map(|(_, user)| user.as_str())
    }
}

pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.keys.iter().map(|(_, user)| user)).finish()
    }
}
