//! The users of `raft/db_users/users.json`, and the keys that they come with.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use subtle::ConstantTimeEq;

use super::static_keys::digest;
use crate::files::{self, Fingerprint};

/// Of `users.json`. A user takes some 500 bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Why the users cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file or its metadata cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not what Weaviate writes.
    #[error("{path} is no list of users as Weaviate writes it: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Place and kind of the error. Values are not in it.
        reason: String,
    },
}

/// Users of one version of the file (`docs/format/rbac.md` 4.2).
#[derive(Default, PartialEq)]
pub(crate) struct Users {
    by_identifier: HashMap<String, String>,
    users: HashMap<String, User>,
    imported: Vec<(String, [u8; 32])>,
}

/// A dynamic user.
#[derive(Default, PartialEq)]
pub(crate) struct User {
    /// The argon2id hash of the key's secret part, in PHC form.
    pub hash: Option<String>,
    is_known: bool,
    is_active: bool,
    is_revoked: bool,
    namespace: String,
}

impl User {
    /// Why a user with the right key may not come in.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self {
            User { is_known: false, .. } => Some("invalid token"),
            User { is_active: false, .. } => Some("user deactivated"),
            User { is_revoked: true, .. } => Some("key is revoked"),
            User { namespace, .. } if !namespace.is_empty() => Some(
                "the user is confined to a namespace, which this service does not support: use a \
                 key of a global user",
            ),
            _ => None,
        }
    }
}

impl Users {
    fn parse(bytes: &[u8]) -> Result<Users, String> {
        if bytes.is_empty() {
            return Ok(Users::default());
        }
        // Of the error only the place is kept: its text can have values of the file.
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {}, column {}", error.line(), error.column()))?;
        if file.version != 0 {
            return Err(format!("version {} is newer than this program", file.version));
        }
        let data = file.data;
        let mut users: HashMap<String, User> = HashMap::new();
        for (id, user) in data.users.unwrap_or_default() {
            let Some(user) = user else { continue };
            // Names have no colon of their own: what is before one is a namespace.
            let namespace = match id.split_once(':') {
                Some((namespace, _)) if user.namespace.is_empty() => namespace.to_owned(),
                _ => user.namespace,
            };
            users.insert(
                id,
                User { is_known: true, is_active: user.active, namespace, ..User::default() },
            );
        }
        for (id, hash) in data.secure_key_storage_by_id.unwrap_or_default() {
            users.entry(id).or_default().hash = Some(hash);
        }
        for (id, _) in data.user_key_revoked.unwrap_or_default() {
            users.entry(id).or_default().is_revoked = true;
        }
        let mut imported: Vec<_> =
            data.imported_api_keys_weak_hash.unwrap_or_default().into_iter().collect();
        imported.sort();
        Ok(Users { by_identifier: data.identifier_to_id.unwrap_or_default(), users, imported })
    }

    /// Whether there is nobody. Weaviate writes such a file too.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Id and user of an identifier.
    pub(crate) fn of_identifier(&self, identifier: &str) -> Option<(&str, &User)> {
        let id = self.by_identifier.get(identifier)?;
        Some((id, self.users.get(id)?))
    }

    /// Id and user of a key that was imported whole.
    pub(crate) fn of_imported(&self, token: &str) -> Option<(&str, Option<&User>)> {
        let given = digest(token);
        let mut found = None;
        for (id, stored) in &self.imported {
            if bool::from(stored.as_slice().ct_eq(&given)) {
                found = Some((id.as_str(), self.users.get(id)));
            }
        }
        found
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Data", default)]
    data: Data,
    #[serde(rename = "Version", default)]
    version: i64,
}

/// A map of Go is `null` when nothing was put into it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Data {
    secure_key_storage_by_id: Option<HashMap<String, String>>,
    identifier_to_id: Option<HashMap<String, String>>,
    users: Option<HashMap<String, Option<FileUser>>>,
    user_key_revoked: Option<HashMap<String, IgnoredAny>>,
    imported_api_keys_weak_hash: Option<HashMap<String, [u8; 32]>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileUser {
    active: bool,
    #[serde(default)]
    namespace: String,
}

/// The parts of a dynamic key.
pub(crate) struct KeyParts {
    pub identifier: String,
    pub secret: String,
}

impl KeyParts {
    /// `None`: the token has not the form of a dynamic key (`docs/format/rbac.md` 4.2).
    pub(crate) fn of(token: &str) -> Option<KeyParts> {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let mut parts = text.split('_');
        let (identifier, secret) = (parts.next()?, parts.next()?);
        let is_key = parts.next() == Some("v200")
            && parts.next().is_none()
            && identifier.len() == 16
            && secret.len() == 44;
        is_key.then(|| KeyParts { identifier: identifier.to_owned(), secret: secret.to_owned() })
    }
}

/// The file, which the server rewrites every minute and on changes.
pub(crate) struct UsersFile {
    path: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    users: Arc<Users>,
    fingerprint: Fingerprint,
    /// Of the last version that could not be read.
    complaint: Option<String>,
}

impl UsersFile {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// [`UsersError`].
    pub(crate) fn open(path: &Path) -> Result<UsersFile, UsersError> {
        let (users, fingerprint) = load(path)?;
        let held = Held { users: Arc::new(users), fingerprint, complaint: None };
        Ok(UsersFile { path: path.to_owned(), held: Mutex::new(held) })
    }

    /// The users of this moment. Blocks. A version that cannot be read leaves the last one in force, and
    /// is logged once.
    pub(crate) fn current(&self) -> Arc<Users> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.look(&mut held) {
            let text = error.to_string();
            if held.complaint.as_ref() != Some(&text) {
                tracing::error!(error = %text, "the users before the change stay in force");
                held.complaint = Some(text);
            }
        }
        Arc::clone(&held.users)
    }

    fn look(&self, held: &mut Held) -> Result<(), UsersError> {
        let now = files::fingerprint(&self.path).map_err(|source| self.unreadable(source))?;
        if now == held.fingerprint {
            return Ok(());
        }
        let (users, fingerprint) = load(&self.path)?;
        *held = Held { users: Arc::new(users), fingerprint, complaint: None };
        tracing::debug!(path = %self.path.display(), "the users have changed");
        Ok(())
    }

    fn unreadable(&self, source: std::io::Error) -> UsersError {
        UsersError::Read { path: self.path.clone(), source }
    }
}

/// The users of a file, once, with the fingerprint from before it was read.
pub(crate) fn load(path: &Path) -> Result<(Users, Fingerprint), UsersError> {
    let unreadable = |source| UsersError::Read { path: path.to_owned(), source };
    let fingerprint = files::fingerprint(path).map_err(unreadable)?;
    let bytes = files::read(path, MAX_BYTES).map_err(unreadable)?;
    let users = Users::parse(&bytes.unwrap_or_default())
        .map_err(|reason| UsersError::Content { path: path.to_owned(), reason })?;
    Ok((users, fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_dynamic_key() {
        let key = |text: &str| KeyParts::of(&STANDARD.encode(text));
        let (identifier, secret) = ("i".repeat(16), "s".repeat(44));
        let parts = key(&format!("{identifier}_{secret}_v200")).unwrap();
        assert_eq!((parts.identifier, parts.secret), (identifier.clone(), secret.clone()));
        for other in [
            format!("{identifier}_{secret}_v201"),
            format!("{identifier}_{secret}"),
            format!("{identifier}_{secret}_v200_"),
            format!("{}_{secret}_v200", "i".repeat(15)),
            format!("{identifier}_{}_v200", "s".repeat(45)),
        ] {
            assert!(key(&other).is_none(), "{other}");
        }
        assert!(KeyParts::of("key-alice").is_none());
    }

    #[test]
    fn empty_and_null_files_have_no_users_and_an_unknown_version_is_an_error() {
        assert!(Users::parse(b"").unwrap() == Users::default());
        assert!(
            Users::parse(br#"{"Data":{"Users":null},"Version":0}"#).unwrap() == Users::default()
        );
        assert!(Users::parse(br#"{"Data":{},"Version":1}"#).is_err());
    }

    #[test]
    fn a_namespace_is_in_its_field_or_before_the_colon() {
        let text = br#"{"Data":{"Users":{
            "one:u":{"Active":true},"v":{"Active":true,"Namespace":"one"},"w":{"Active":true}}}}"#;
        let users = Users::parse(text).unwrap().users;
        let is_refused = |id| users.get(id).unwrap().refusal().is_some();
        assert_eq!(["one:u", "v", "w"].map(is_refused), [true, true, false]);
    }

    #[test]
    fn an_error_of_a_file_has_no_value_in_it() {
        let Err(error) = Users::parse(br#"{"Data":{"Users":{"u":{"Active":"hush"}}}}"#) else {
            panic!("a text was taken for a truth value");
        };
        assert!(!error.contains("hush") && error.contains("line 1"), "{error}");
    }
}
