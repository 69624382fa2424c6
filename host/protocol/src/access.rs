//! The access check: tries every operation of an export, and that the store decides a race.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use uuid::Uuid;

use crate::error::{Cause, Operation, StoreError};
use crate::names::{Attempt, ObjectKey};
use crate::store::{Created, Destination, ExportFolder, Patience, filesystem};

/// The probe has fewer bytes.
const MAX_PROBE_BYTES: u64 = 1_024;

/// How long a check that passed is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Checks that are remembered at once.
const MAX_REMEMBERED: usize = 256;

/// Destinations that passed the access check within the last minute.
#[derive(Debug, Default)]
pub struct PassedChecks {
    passed: Mutex<Vec<(Destination, Instant)>>,
}

impl PassedChecks {
    fn has(&self, destination: &Destination, now: Instant) -> bool {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.iter().any(|(other, at)| is_remembered(*at, now) && other == destination)
    }

    fn add(&self, destination: &Destination, now: Instant) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.retain(|(other, at)| is_remembered(*at, now) && other != destination);
        if passed.len() < MAX_REMEMBERED {
            passed.push((destination.clone(), now));
        }
    }
}

fn is_remembered(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REMEMBERED
}

impl Destination {
    /// Proves that exports can be written here, as [`ExportFolder::check_access`] does, and that this
    /// is not in the folder of another export. Gives up after seconds. Nothing is left behind: where the
    /// folder is missing on a file system, the one in which it would be created is tried.
    ///
    /// # Errors
    /// Those of [`Destination::export_folder`] and [`ExportFolder::check_access`];
    /// [`StoreError::InsideExport`]; [`StoreError::UnsuitableMount`] on a file system without hard
    /// links or fsync.
    pub async fn check_access(&self) -> Result<(), StoreError> {
        self.check_access_unless_passed(&PassedChecks::default()).await
    }

    /// As [`Destination::check_access`], but what can be done here is not tried again where `passed` has
    /// this destination. Other exports are looked for every time.
    ///
    /// # Errors
    /// As [`Destination::check_access`].
    pub async fn check_access_unless_passed(
        &self,
        passed: &PassedChecks,
    ) -> Result<(), StoreError> {
        let nearest = self.local_path().map(filesystem::nearest_existing).transpose()?;
        self.refuse_exports().await?;
        if passed.has(self, Instant::now()) {
            return Ok(());
        }
        match nearest {
            None => self.open(Patience::Check)?.check_access().await?,
            Some(nearest) => {
                filesystem::check_mount(nearest)?;
                Destination::filesystem(nearest)?.open(Patience::Check)?.check_access().await?;
            }
        }
        passed.add(self, Instant::now());
        Ok(())
    }

    /// Looks for the claim and the manifest of an export here and in the folders that hold this one.
    async fn refuse_exports(&self) -> Result<(), StoreError> {
        let folders = self.open_ancestors(Patience::Check)?;
        let found = folders.iter().map(async |folder| {
            for key in [ObjectKey::claim(Attempt::FIRST), ObjectKey::manifest()] {
                match folder.size_bytes(&key).await {
                    Ok(Some(_)) => return Ok(Some(folder.url().to_owned())),
                    Ok(None) => {}
                    Err(error) if error.is_closed() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        });
        match try_join_all(found).await?.into_iter().flatten().next() {
            Some(export) => Err(StoreError::InsideExport { url: self.url(), export }),
            None => Ok(()),
        }
    }
}

impl ExportFolder {
    /// Writes a small object (`.offloom-access-check-<random>`), reads it, checks that it cannot be
    /// created twice, lists and removes it.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with the first thing that could not be done and why: above all the
    /// causes [`Cause::BucketMissing`], [`Cause::NoCredentials`], [`Cause::WrongCredentials`],
    /// [`Cause::PermissionDenied`], [`Cause::WrongRegion`] and [`Cause::Unreachable`].
    /// [`StoreError::NoConditionalWrites`] when the store lets two coordinators win.
    pub async fn check_access(&self) -> Result<(), StoreError> {
        let nonce = Uuid::new_v4();
        let probe = ObjectKey::access_probe(nonce);
        let content = Bytes::from(format!("offloom {nonce}"));
        match self.create(&probe, content.clone()).await {
            Ok(_) => {}
            Err(error) if error.cause() == Some(Cause::Unsupported) => {
                return Err(self.no_conditional_writes());
            }
            Err(error) => return Err(error),
        }
        let used = self.use_probe(&probe, content).await;
        let removed = self.delete(&probe).await;
        used.and(removed)
    }

    async fn use_probe(&self, probe: &ObjectKey, content: Bytes) -> Result<(), StoreError> {
        if self.read(probe, MAX_PROBE_BYTES).await? != content {
            return Err(StoreError::Failed {
                operation: Operation::Read,
                url: self.object_url(probe),
                cause: Cause::StoreFailing,
                detail: "it does not hold what was just written".to_owned(),
            });
        }
        if self.create(probe, Bytes::from_static(b"second")).await? == Created::Ours {
            return Err(self.no_conditional_writes());
        }
        // Only the permission to list matters, not the result.
        self.list_below(probe).await
    }

    fn no_conditional_writes(&self) -> StoreError {
        StoreError::NoConditionalWrites { url: self.url().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_remembered_for_a_minute_and_memory_is_bounded() {
        let passed = PassedChecks::default();
        let place = |number: usize| Destination::parse(format!("/lake/{number}")).unwrap();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        passed.add(&place(0), begin);
        assert!(passed.has(&place(0), after(59)) && !passed.has(&place(1), begin));
        assert!(!passed.has(&place(0), after(60)));
        for number in 0..2 * MAX_REMEMBERED {
            passed.add(&place(number), after(1));
        }
        assert!(!passed.has(&place(2 * MAX_REMEMBERED - 1), after(1)));
        // What is forgotten makes room.
        passed.add(&place(9999), after(61));
        assert!(passed.has(&place(9999), after(61)));
        assert_eq!(passed.passed.lock().unwrap().len(), 1);
    }
}
