//! What exports have left behind on a store, and its removal. Only objects with names as this program gives
//! them are removed, and nothing of an export that may be running or that a SUCCESS manifest lists.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use crate::claim::{Claim, ClaimError};
use crate::error::{Operation, StoreError};
use crate::manifest::{Commit, Manifest, ManifestError, Outcome, Resumed};
use crate::names::{Attempt, ExportId, ObjectKey, class_stem};
use crate::store::ExportFolder;
use crate::store::uploads::ListedUpload;

/// Why garbage could not be found or removed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest could not be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An export could not be taken from its owner.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

/// Why something is garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The export has ended, and its manifest does not list the object.
    Unlisted,
    /// The export has ended, or its claim is dead, and the upload was never completed.
    UnfinishedUpload,
    /// The claim is dead: the export never ended, and nothing of it was written for long.
    DeadClaim,
}

/// Something to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The export that it belongs to.
    pub id: ExportId,
    /// Its key in the folder of the export.
    pub key: String,
    /// Its size; absent for an upload.
    pub size_bytes: Option<u64>,
    /// Why.
    pub reason: Reason,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Object,
    Leftover,
    Upload(ListedUpload),
}

/// What was found at a destination.
#[derive(Debug, Default)]
pub struct Found {
    /// What is to be removed, by export.
    pub garbage: Vec<Garbage>,
    /// Exports with a dead claim, which end as FAILED before their objects are removed.
    dead: BTreeMap<ExportId, Attempt>,
    /// Exports that may be running, which are left alone.
    pub running: Vec<ExportId>,
    /// Folders that are left alone because their manifest cannot be read, with the reason.
    pub unreadable: Vec<(ExportId, String)>,
    /// Whether the store lists uploads that were never completed.
    pub lists_uploads: bool,
}

struct Object {
    key: String,
    size_bytes: u64,
    modified_at: DateTime<Utc>,
}

/// Finds what exports have left behind below `root`, the folder that holds theirs. An export without an
/// end is dead when nothing in its folder was written for `older_than` before `now`.
///
/// # Errors
/// [`GcError`].
pub async fn find(
    root: &ExportFolder,
    older_than: Duration,
    now: DateTime<Utc>,
) -> Result<Found, GcError> {
    let uploads = root.list_uploads().await?;
    let mut found = Found { lists_uploads: uploads.is_some(), ..Found::default() };
    let mut uploads_of: BTreeMap<String, Vec<ListedUpload>> = BTreeMap::new();
    for upload in uploads.into_iter().flatten() {
        if let Some((id, _)) = root.relative_path(&upload.path).split_once('/') {
            uploads_of.entry(id.to_owned()).or_default().push(upload);
        }
    }
    for (id, objects) in exports(root).await? {
        let folder = root.of_export(&id);
        let uploads = uploads_of.remove(id.as_str()).unwrap_or_default();
        look_at(&folder, id, objects, uploads, older_than, now, &mut found).await?;
    }
    Ok(found)
}

/// The folders below `root` that have a claim, with their objects.
async fn exports(root: &ExportFolder) -> Result<BTreeMap<ExportId, Vec<Object>>, StoreError> {
    let mut folders: BTreeMap<ExportId, Vec<Object>> = BTreeMap::new();
    let listed = root.store().list(root.prefix()).try_collect::<Vec<_>>().await;
    let listed =
        listed.map_err(|error| root.failed_at(Operation::List, root.url().into(), &error))?;
    for object in listed {
        let path = root.relative_path(&object.location);
        let Some((id, key)) = path.split_once('/') else { continue };
        let Ok(id) = ExportId::parse(id) else { continue };
        folders.entry(id).or_default().push(Object {
            key: key.to_owned(),
            size_bytes: object.size,
            modified_at: object.last_modified,
        });
    }
    let claim = ObjectKey::claim(Attempt::FIRST);
    for objects in folders.values_mut() {
        objects.sort_by(|one, other| one.key.cmp(&other.key));
    }
    folders.retain(|_, objects| objects.iter().any(|object| object.key == claim.as_str()));
    Ok(folders)
}

async fn look_at(
    folder: &ExportFolder,
    id: ExportId,
    objects: Vec<Object>,
    uploads: Vec<ListedUpload>,
    older_than: Duration,
    now: DateTime<Utc>,
    found: &mut Found,
) -> Result<(), GcError> {
    let manifest = match Manifest::read(folder).await {
        Ok(manifest) => Some(manifest),
        Err(ManifestError::Missing { .. }) => None,
        Err(ManifestError::Malformed { reason, .. }) => {
            found.unreadable.push((id, reason));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let Some((newest, _)) = Claim::newest(folder).await? else { return Ok(()) };
    // A later attempt than that of a tombstone carries the export on.
    let ended = manifest.filter(|manifest| {
        let attempt = manifest.resumed.as_ref().map_or(1, |resumed| resumed.attempt);
        manifest.status != Outcome::Failed || newest <= Attempt::new(attempt)
    });
    let last_written = objects.iter().map(|object| object.modified_at).max().unwrap_or(now);
    let age = now.signed_duration_since(last_written).to_std().unwrap_or_default();
    if ended.is_none() && age < older_than {
        found.running.push(id);
        return Ok(());
    }
    let reason = if ended.is_some() { Reason::Unlisted } else { Reason::DeadClaim };
    let mut kept = BTreeSet::from([ObjectKey::manifest().to_string()]);
    if let Some(manifest) = &ended {
        kept.extend(manifest.files.iter().map(|file| file.key.clone()));
        kept.extend(manifest.attachments.iter().map(|object| object.key.clone()));
    }
    let garbage = |key: String, size_bytes, reason, kind| {
        let id = id.clone();
        Garbage { id, key, size_bytes, reason, kind }
    };
    for object in objects.into_iter().filter(|object| !kept.contains(&object.key)) {
        // Without a manifest, nobody says which classes the export has.
        let classes = ended.as_ref().map(|manifest| manifest.classes.as_slice());
        if is_of_classes(&object.key, classes) {
            found.garbage.push(garbage(object.key, Some(object.size_bytes), reason, Kind::Object));
        }
    }
    for name in folder.list_leftovers().await? {
        found.garbage.push(garbage(name, None, Reason::UnfinishedUpload, Kind::Leftover));
    }
    for upload in uploads {
        let key = folder.relative_path(&upload.path);
        let kind = Kind::Upload(upload);
        found.garbage.push(garbage(key, None, Reason::UnfinishedUpload, kind));
    }
    if ended.is_none() {
        found.dead.insert(id, newest);
    }
    Ok(())
}

/// Removes what earlier attempts have written of an export that has just succeeded, which its manifest
/// does not list. Returns the number of objects.
///
/// # Errors
/// [`StoreError`].
pub async fn remove_unlisted(
    folder: &ExportFolder,
    manifest: &Manifest,
) -> Result<u64, StoreError> {
    let files = manifest.files.iter().map(|file| &*file.key);
    let kept: BTreeSet<&str> =
        files.chain(manifest.attachments.iter().map(|object| &*object.key)).collect();
    let mut removed = 0_u64;
    for object in folder.list(usize::MAX).await? {
        let is_ours = is_of_classes(&object.key, Some(&manifest.classes));
        if is_ours
            && !kept.contains(&*object.key)
            && let Ok(key) = ObjectKey::parse(&object.key)
        {
            folder.delete(&key).await?;
            removed = removed.saturating_add(1);
        }
    }
    Ok(removed)
}

/// Removes what was found below `root` on this kind of store. An export with a dead claim ends as FAILED
/// first, so that its process, should it wake up, commits nothing that lists a removed file.
///
/// # Errors
/// [`GcError`]; what was not removed yet stays.
pub async fn remove(
    root: &ExportFolder,
    backend: &str,
    found: &Found,
    owner: &str,
    mut removed: impl FnMut(&Garbage),
) -> Result<(), GcError> {
    let mut alive = BTreeSet::new();
    for (id, newest) in &found.dead {
        if !give_up(root, backend, id, newest.next(), owner).await? {
            alive.insert(id.clone());
        }
    }
    for garbage in found.garbage.iter().filter(|garbage| !alive.contains(&garbage.id)) {
        let folder = root.of_export(&garbage.id);
        match &garbage.kind {
            Kind::Leftover => folder.remove_leftover(&garbage.key).await?,
            Kind::Upload(upload) => folder.abort_upload(&upload.path, &upload.upload_id).await?,
            Kind::Object => match ObjectKey::parse(&garbage.key) {
                Ok(key) => folder.delete(&key).await?,
                Err(_) => continue,
            },
        }
        removed(garbage);
    }
    Ok(())
}

/// Takes an export from its owner and ends it; returns `false` if somebody else does something with it.
async fn give_up(
    root: &ExportFolder,
    backend: &str,
    id: &ExportId,
    attempt: Attempt,
    owner: &str,
) -> Result<bool, GcError> {
    let folder = root.of_export(id).with_attempt(attempt, attempt);
    let claim = Claim::new(id.clone(), owner.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    match claim.take_over(&folder, attempt).await {
        Err(ClaimError::TakenOver { .. }) => return Ok(false),
        taken => taken?,
    }
    let tombstone = match Manifest::tombstone(&folder).await {
        Err(ManifestError::Ended { .. }) => return Ok(false),
        tombstone => tombstone?,
    };
    let error = "the export never ended, and its objects were removed by offloom gc".to_owned();
    let of = Manifest::failed(id.clone(), backend.to_owned(), claim.started_at, error);
    let resumed = Some(Resumed { attempt: attempt.number(), ..Resumed::default() });
    let manifest = Manifest { resumed, ..of };
    Ok(matches!(manifest.commit(&folder, tombstone.as_ref()).await?, Commit::Won))
}

/// Whether this program may have written an object of this key for an export of these classes; of any
/// class, without them. Claims are none of them: they keep the id taken.
fn is_of_classes(key: &str, classes: Option<&[String]>) -> bool {
    let is_stem = |stem: &str| match classes {
        None => {
            let class = stem.split_once('.').map_or(stem, |(_namespace, class)| class);
            class.starts_with(|c: char| c.is_ascii_uppercase()) && !stem.starts_with('_')
        }
        Some(classes) => {
            classes.iter().any(|class| class_stem(class).is_ok_and(|of_class| of_class == stem))
        }
    };
    // What may come after the name of a class: an attempt, a number, an extension.
    let of_class = |name: &str| {
        let ends = name.match_indices(['.', '-']).map(|(at, _)| at).chain([name.len()]);
        ends.filter_map(|at| name.split_at_checked(at)).any(|(stem, _)| is_stem(stem))
    };
    let is_attachment = |stem: &str, extension: &str| {
        let rest = key.strip_prefix(stem).and_then(|rest| rest.strip_suffix(extension));
        rest.is_some_and(|mark| mark.is_empty() || mark.starts_with(".a"))
    };
    match key.split_once('/') {
        Some(("quarantine", rest)) => of_class(rest.split('/').next().unwrap_or_default()),
        Some(_) => false,
        None => {
            is_attachment("schema", ".json") || is_attachment("shards", ".jsonl") || of_class(key)
        }
    }
}
