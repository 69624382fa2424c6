//! Guests on disk: components by their digest, and an index of names and versions.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::name::{GuestName, Owner};
use crate::state_database::{StateDatabase, StateError, StateTable};

/// Key `<class>/<tenant>/<name>`, without class and tenant `//<name>`; value a [`GuestEntry`] as JSON.
const GUESTS: StateTable = TableDefinition::new("guests");

/// The form of an entry.
const FORMAT: u32 = 1;

/// Folder of the components in the state directory.
const FOLDER: &str = "guests";

/// Why a guest could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum GuestStoreError {
    /// The index failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A component cannot be written or read.
    #[error("the guest {}: {source}", path.display())]
    File {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A component is not the one that was stored.
    #[error("the guest {} was changed on disk: push it again", path.display())]
    Changed {
        /// Its file.
        path: PathBuf,
    },
    /// An entry of a later program.
    #[error("the guest {name} was stored by a later version of this program")]
    Format {
        /// Its name.
        name: GuestName,
    },
}

/// A guest with all of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestEntry {
    /// The form of this entry.
    format: u32,
    /// `exporter` or `transform`, the same for all versions.
    pub kind: String,
    /// The versions in the order in which they came.
    pub versions: Vec<GuestVersion>,
    /// Digest of the version that `name` alone means.
    pub active: String,
    /// Digests of those that were active before, the last one last.
    pub before: Vec<String>,
}

/// One version of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestVersion {
    /// SHA-256 of the component.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it came, UTC.
    pub pushed_at: DateTime<Utc>,
    /// Who sent it, such as `db:alice`.
    pub pushed_by: String,
    /// The text of its `.minisig` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl GuestEntry {
    /// A guest with its first version, which is active.
    pub fn new(kind: String, version: GuestVersion) -> GuestEntry {
        let active = version.digest.clone();
        GuestEntry { format: FORMAT, kind, versions: vec![version], active, before: Vec::new() }
    }

    /// The version with this digest.
    pub fn version(&self, digest: &str) -> Option<&GuestVersion> {
        self.versions.iter().find(|version| version.digest == digest)
    }
}

/// The store. Its calls block.
#[derive(Debug, Clone)]
pub struct GuestStore {
    folder: PathBuf,
    database: StateDatabase,
}

impl GuestStore {
    /// Opens the store in the state directory.
    ///
    /// # Errors
    /// The folder cannot be created, or the index cannot be used.
    pub fn open(state_dir: &Path, database: StateDatabase) -> Result<GuestStore, StateError> {
        let folder = state_dir.join(FOLDER);
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        created.map_err(|source| StateError::Directory { path: folder.clone(), source })?;
        database.create_table(GUESTS)?;
        Ok(GuestStore { folder, database })
    }

    /// Writes a component, unless it is there. Returns its digest.
    ///
    /// # Errors
    /// [`GuestStoreError::File`].
    pub fn write(&self, component: &[u8]) -> Result<String, GuestStoreError> {
        let digest = hex::encode(Sha256::digest(component));
        let path = self.path(&digest);
        let beside = path.with_extension(format!("{}.partial", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(component)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|source| {
            // What could not be written whole is of no use; the error itself is reported.
            let _ = fs::remove_file(&beside);
            GuestStoreError::File { path, source }
        })?;
        Ok(digest)
    }

    /// Reads a component, and makes sure that it is the one with this digest.
    ///
    /// # Errors
    /// [`GuestStoreError::File`], [`GuestStoreError::Changed`].
    pub fn read(&self, digest: &str) -> Result<Vec<u8>, GuestStoreError> {
        let path = self.path(digest);
        let component = fs::read(&path)
            .map_err(|source| GuestStoreError::File { path: path.clone(), source })?;
        if hex::encode(Sha256::digest(&component)) == digest {
            Ok(component)
        } else {
            Err(GuestStoreError::Changed { path })
        }
    }

    /// The entry of a name.
    ///
    /// # Errors
    /// [`GuestStoreError::State`], [`GuestStoreError::Format`].
    pub fn entry(
        &self,
        owner: &Owner,
        name: &GuestName,
    ) -> Result<Option<GuestEntry>, GuestStoreError> {
        let key = key(owner, name);
        let read = |table: redb::ReadOnlyTable<&'static str, &'static [u8]>| {
            Ok(table.get(key.as_str())?.map(|value| value.value().to_vec()))
        };
        let found = self.database.read(GUESTS, read)?;
        found.map(|json| self.decoded(name, &key, &json)).transpose()
    }

    /// All entries, in the order of owner and name.
    ///
    /// # Errors
    /// As [`GuestStore::entry`].
    pub fn entries(&self) -> Result<Vec<(Owner, GuestName, GuestEntry)>, GuestStoreError> {
        Ok(self.readable_entries()?.0)
    }

    /// All entries that can be read, and whether these are all.
    #[expect(clippy::type_complexity)]
    fn readable_entries(
        &self,
    ) -> Result<(Vec<(Owner, GuestName, GuestEntry)>, bool), GuestStoreError> {
        let all = self.database.read(GUESTS, |table| {
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                all.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(all)
        })?;
        let (mut entries, mut are_all) = (Vec::new(), true);
        for (key, json) in all {
            let Some((owner, name)) = parse_key(&key) else { continue };
            match self.decoded(&name, &key, &json) {
                Ok(entry) => entries.push((owner, name, entry)),
                // One that cannot be read does not hide the others.
                Err(error) => {
                    are_all = false;
                    tracing::error!(%error, "a guest is left out of the list");
                }
            }
        }
        Ok((entries, are_all))
    }

    /// Replaces the entry of a name by what `change` makes of it: nothing and something, both ways. Other
    /// changes wait meanwhile.
    ///
    /// # Errors
    /// Those of `change`; as [`GuestStore::entry`].
    pub fn change<E: From<GuestStoreError>>(
        &self,
        owner: &Owner,
        name: &GuestName,
        change: impl FnOnce(Option<GuestEntry>) -> Result<Option<GuestEntry>, E>,
    ) -> Result<Option<GuestEntry>, E> {
        let key = key(owner, name);
        let mut result = None;
        let outcome = &mut result;
        let written = self.database.write(GUESTS, |table| {
            let found = table.get(key.as_str())?.map(|value| value.value().to_vec());
            let found = found.map(|json| self.decoded(name, &key, &json)).transpose();
            match found.map_err(E::from).and_then(change) {
                Ok(Some(entry)) => {
                    // Texts, numbers and times always have a form in JSON.
                    let json = serde_json::to_vec(&entry).unwrap_or_default();
                    table.insert(key.as_str(), json.as_slice())?;
                    *outcome = Some(Ok(Some(entry)));
                }
                Ok(None) => {
                    table.remove(key.as_str())?;
                    *outcome = Some(Ok(None));
                }
                // Nothing was changed in this transaction.
                Err(error) => *outcome = Some(Err(error)),
            }
            Ok(())
        });
        written.map_err(GuestStoreError::from)?;
        result.unwrap_or(Ok(None))
    }

    /// Removes components that no entry has any more.
    ///
    /// # Errors
    /// As [`GuestStore::entry`]; [`GuestStoreError::File`].
    pub fn remove_unused(&self, digests: &[String]) -> Result<(), GuestStoreError> {
        let (entries, are_all) = self.readable_entries()?;
        // One that cannot be read may have them.
        for digest in digests.iter().filter(|_| are_all) {
            if entries.iter().any(|(_, _, entry)| entry.version(digest).is_some()) {
                continue;
            }
            let path = self.path(digest);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(GuestStoreError::File { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn decoded(
        &self,
        name: &GuestName,
        key: &str,
        json: &[u8],
    ) -> Result<GuestEntry, GuestStoreError> {
        let entry: GuestEntry = self.database.decoded(key, json)?;
        if entry.format > FORMAT {
            return Err(GuestStoreError::Format { name: name.clone() });
        }
        Ok(entry)
    }
}

fn key(owner: &Owner, name: &GuestName) -> String {
    match owner {
        Owner::Operator => format!("//{name}"),
        Owner::Tenant { class, tenant } => format!("{class}/{tenant}/{name}"),
    }
}

fn parse_key(key: &str) -> Option<(Owner, GuestName)> {
    let (owner, name) = key.rsplit_once('/')?;
    let owner = if owner == "/" { Owner::Operator } else { Owner::of_query(Some(owner)).ok()? };
    Some((owner, name.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path) -> GuestStore {
        GuestStore::open(dir, StateDatabase::open(dir).unwrap()).unwrap()
    }

    fn version(digest: &str) -> GuestVersion {
        GuestVersion {
            digest: digest.to_owned(),
            size_bytes: 3,
            pushed_at: Utc::now(),
            pushed_by: "anonymous".to_owned(),
            signature: None,
        }
    }

    #[test]
    fn entries_are_kept_by_owner_and_name() {
        let dir = tempfile::tempdir().unwrap();
        let name: GuestName = "mine".parse().unwrap();
        let tenant = Owner::of_query(Some("Shelf/north")).unwrap();
        let entry = GuestEntry::new("transform".to_owned(), version("aa"));
        {
            let store = store(dir.path());
            let put = |_: Option<GuestEntry>| Ok::<_, GuestStoreError>(Some(entry.clone()));
            store.change(&tenant, &name, put).unwrap();
            assert_eq!(store.entry(&Owner::Operator, &name).unwrap(), None);
        }
        let store = store(dir.path());
        assert_eq!(store.entry(&tenant, &name).unwrap(), Some(entry.clone()));
        assert_eq!(store.entries().unwrap(), [(tenant.clone(), name.clone(), entry)]);
        store.change(&tenant, &name, |_| Ok::<_, GuestStoreError>(None)).unwrap();
        assert_eq!(store.entries().unwrap(), []);
    }

    #[test]
    fn a_component_that_was_changed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let digest = store.write(b"component").unwrap();
        assert_eq!(store.read(&digest).unwrap(), b"component");
        fs::write(store.path(&digest), b"another").unwrap();
        assert!(matches!(store.read(&digest), Err(GuestStoreError::Changed { .. })));
        store.remove_unused(std::slice::from_ref(&digest)).unwrap();
        assert!(matches!(store.read(&digest), Err(GuestStoreError::File { .. })));
    }

    #[test]
    fn a_component_that_an_entry_has_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let digest = store.write(b"component").unwrap();
        let entry = GuestEntry::new("exporter".to_owned(), version(&digest));
        let name: GuestName = "a".parse().unwrap();
        store.change(&Owner::Operator, &name, |_| Ok::<_, GuestStoreError>(Some(entry))).unwrap();
        store.remove_unused(std::slice::from_ref(&digest)).unwrap();
        assert!(store.read(&digest).is_ok());
    }
}
