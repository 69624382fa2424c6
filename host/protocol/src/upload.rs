//! Uploads one file: equal parts, bounded memory, a digest, all or nothing.
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument;

use crate::digest::{Digest, Hasher, digest_of};
use crate::error::{Cause, Operation, StoreError};
use crate::logged_upload::LoggedUpload;
use crate::names::ObjectKey;
use crate::store::traffic::traffic;
use crate::store::{Created, ExportFolder};

/// The smallest part.
const MIN_PART_BYTES: u64 = 8 * 1024 * 1024;

/// How many parts the estimated file is divided into; S3 takes 10,000, which leaves room for an
/// estimate that was too low.
const PLANNED_PARTS: u64 = 8_000;

/// Parts that the store has not confirmed. With the one that is being filled, three are in memory.
const MAX_PARTS_UNDER_WAY: usize = 2;

/// Pieces of a part that are smaller are copied into one, so that a part has at most some hundred.
const MIN_PIECE_BYTES: usize = 64 * 1024;

/// How long an error waits for the removal of the parts. The store was just retried for a minute;
/// after this time, removal continues in the background.
const ABORT_PATIENCE: Duration = Duration::from_secs(10);

/// The pause before removal is tried again, which doubles each time.
const FIRST_ABORT_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause: this long after a store is back, at most, its parts are gone.
const LONGEST_ABORT_PAUSE: Duration = Duration::from_secs(60);

type Multipart = Box<dyn MultipartUpload>;
type Beginning = JoinHandle<object_store::Result<Multipart>>;
type Parts = JoinSet<object_store::Result<()>>;

/// What a finished upload has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes of the object.
    pub size_bytes: u64,
    /// Digest of them.
    pub digest: Digest,
}

/// A file that is being written. It becomes visible as a whole when [`Upload::finish`] returns;
/// after an error, [`Upload::abort`] or a drop nothing of it stays. While the store cannot be
/// reached, removal is tried again as long as the Tokio runtime lives, which it needs.
#[derive(Debug)]
pub struct Upload {
    folder: ExportFolder,
    key: ObjectKey,
    part_bytes: usize,
    /// The part that is being filled.
    part: Part,
    size_bytes: u64,
    /// The digest of the parts so far, on a blocking thread: a part costs it milliseconds.
    digest: Option<JoinHandle<Hasher>>,
    /// Present while the store begins the upload. A task of its own, so that an upload that was begun
    /// is known even if the caller is dropped.
    beginning: Option<Beginning>,
    /// Present once there is more than one part.
    multipart: Option<Multipart>,
    parts_under_way: Parts,
    failed: bool,
}

/// A part that is being filled: its bytes as they came, without a copy of the large pieces.
#[derive(Debug, Default)]
struct Part {
    pieces: Vec<Bytes>,
    /// The small pieces after them.
    small: BytesMut,
    size_bytes: usize,
}

impl Part {
    fn push(&mut self, piece: Bytes) {
        self.size_bytes = self.size_bytes.saturating_add(piece.len());
        if piece.len() < MIN_PIECE_BYTES {
            self.small.extend_from_slice(&piece);
        } else {
            self.end_small();
            self.pieces.push(piece);
        }
    }

    fn into_pieces(mut self) -> Vec<Bytes> {
        self.end_small();
        self.pieces
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).freeze());
        }
    }
}

impl Upload {
    /// Begins an upload. Nothing reaches the store before the first part is full.
    /// `estimated_bytes` fixes the size of the parts: an estimate of the whole file's size, rather
    /// too high than too low.
    pub fn start(folder: &ExportFolder, key: ObjectKey, estimated_bytes: u64) -> Upload {
        let continued = folder.log().and_then(|log| log.part_bytes(&key));
        let continued = continued.and_then(|bytes| usize::try_from(bytes).ok());
        let part_bytes = continued.unwrap_or_else(|| part_bytes(estimated_bytes));
        Upload::with_part_bytes(folder, key, part_bytes)
    }

    fn with_part_bytes(folder: &ExportFolder, key: ObjectKey, part_bytes: usize) -> Upload {
        Upload {
            folder: folder.clone(),
            key,
            part_bytes,
            part: Part::default(),
            size_bytes: 0,
            digest: None,
            beginning: None,
            multipart: None,
            parts_under_way: JoinSet::new(),
            failed: false,
        }
    }

    /// Bytes appended so far, which is the offset of what comes next.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Appends `bytes`; waits if the store is slower than the caller.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when a part could not be written: the upload is aborted then, and
    /// every later call returns [`StoreError::Aborted`].
    pub async fn append(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.check_alive()?;
        self.size_bytes = self.size_bytes.saturating_add(bytes.len() as u64);
        while !bytes.is_empty() {
            if self.part.size_bytes >= self.part_bytes {
                let sent = self.send_part().await;
                self.abort_on_error(sent).await?;
            }
            let room = self.part_bytes.saturating_sub(self.part.size_bytes);
            self.part.push(bytes.split_to(room.min(bytes.len())));
        }
        Ok(())
    }

    /// Writes the rest and makes the object visible. A file smaller than one part is one PUT, which
    /// is refused when the object exists.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Aborted`]; nothing stays.
    pub async fn finish(mut self) -> Result<Uploaded, StoreError> {
        self.check_alive()?;
        let written = self.write_rest().await;
        let digest = self.abort_on_error(written).await?;
        Ok(Uploaded { size_bytes: self.size_bytes, digest })
    }

    /// Writes what is left in parts, and waits for them. Nothing becomes visible, and the upload can still be
    /// aborted. [`Upload::finish`] does this first.
    ///
    /// # Errors
    /// As [`Upload::append`].
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        self.check_alive()?;
        let settled = self.send_rest().await;
        self.abort_on_error(settled).await
    }

    /// Gives the upload up and removes what it had written.
    ///
    /// # Errors
    /// [`StoreError::Failed`] with [`Operation::Abort`] when parts may have stayed.
    pub async fn abort(mut self) -> Result<(), StoreError> {
        self.discard().await
    }

    fn check_alive(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Aborted { url: self.folder.object_url(&self.key) });
        }
        Ok(())
    }

    /// After an error, removes the parts at once. If that fails too, the first error is returned: it
    /// has the cause.
    async fn abort_on_error<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            let _ = tokio::time::timeout(ABORT_PATIENCE, self.discard()).await;
        }
        result
    }

    async fn discard(&mut self) -> Result<(), StoreError> {
        let Some(aborting) = self.begin_abort() else { return Ok(()) };
        let aborted = aborting.await.unwrap_or_else(|error| Err(error.into()));
        aborted.map_err(|error| self.error(Operation::Abort, &error))
    }

    /// `None` where there is nothing to remove.
    fn begin_abort(&mut self) -> Option<JoinHandle<object_store::Result<()>>> {
        self.failed = true;
        self.part = Part::default();
        let parts = std::mem::take(&mut self.parts_under_way);
        let (beginning, multipart) = (self.beginning.take(), self.multipart.take());
        if beginning.is_none() && multipart.is_none() {
            return None;
        }
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let (folder, key) = (self.folder.clone(), self.key.clone());
        let removal = async move {
            let Some(mut multipart) = stop(parts, beginning, multipart).await else {
                return Ok(());
            };
            let removed = multipart.abort().await;
            if removed.as_ref().is_err_and(|error| may_recover(&folder, &key, error)) {
                // The caller has the error, and does not wait for the store to be back.
                let tracked = folder.clone();
                let later = remove_later(folder, key, multipart);
                tracked.spawn_abort(later, &tokio::runtime::Handle::current());
            }
            removed
        };
        Some(self.folder.spawn_abort(removal, &runtime))
    }

    /// Returns the digest, which is complete before the object becomes visible.
    async fn write_rest(&mut self) -> Result<Digest, StoreError> {
        if self.multipart.is_none() {
            return self.put_whole().await;
        }
        self.send_rest().await?;
        let digest = self.settle_digest().await?.finish();
        if let Some(multipart) = self.multipart.as_mut()
            && let Err(error) = multipart.complete().await
        {
            let failure = self.error(Operation::Complete, &error);
            if failure.cause() != Some(Cause::NotFound) || !self.is_complete(&digest).await {
                return Err(failure);
            }
        }
        self.multipart = None;
        Ok(digest)
    }

    /// Whether the object is there already. S3 forgets an upload that it has completed, so a retry
    /// after a lost reply finds none.
    async fn is_complete(&mut self, digest: &Digest) -> bool {
        match self.folder.size_bytes(&self.key).await {
            Ok(Some(size_bytes)) if size_bytes == self.size_bytes => {
                let (folder, algorithm) = (&self.folder, digest.algorithm);
                let found = digest_of(folder, &self.key, algorithm, size_bytes, |_| ()).await;
                found.is_ok_and(|found| found == *digest)
            }
            _ => false,
        }
    }

    async fn send_rest(&mut self) -> Result<(), StoreError> {
        // A file of one part is written as a whole.
        if self.multipart.is_none() {
            return Ok(());
        }
        if self.part.size_bytes > 0 {
            self.send_part().await?;
        }
        self.wait_for_parts(0).await
    }

    async fn put_whole(&mut self) -> Result<Digest, StoreError> {
        let pieces = std::mem::take(&mut self.part).into_pieces();
        self.update_digest(pieces.clone()).await?;
        // In one, because it is compared with what is there in its place.
        let content = match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        };
        let digest = self.settle_digest().await?.finish();
        traffic().write(content.len()).await;
        let span = part_span(&self.key, content.len());
        match self.folder.create(&self.key, content).instrument(span).await? {
            Created::Ours => Ok(digest),
            Created::Theirs(_) => Err(StoreError::Failed {
                operation: Operation::Write,
                url: self.folder.object_url(&self.key),
                cause: Cause::AlreadyExists,
                detail: "it exists already with other content".to_owned(),
            }),
        }
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let part = std::mem::take(&mut self.part).into_pieces();
        self.update_digest(part.clone()).await?;
        self.wait_for_parts(MAX_PARTS_UNDER_WAY.saturating_sub(1)).await?;
        if self.multipart.is_none() {
            let (folder, key) = (self.folder.clone(), self.key.clone());
            let part_bytes = self.part_bytes as u64;
            let beginning = self.beginning.get_or_insert_with(|| {
                tokio::spawn(async move { begin(folder, key, part_bytes).await })
            });
            let begun = beginning.await.unwrap_or_else(|error| Err(error.into()));
            self.beginning = None;
            self.multipart = Some(begun.map_err(|error| self.error(Operation::WritePart, &error))?);
        }
        traffic().write(part.iter().map(Bytes::len).sum()).await;
        if let Some(multipart) = self.multipart.as_mut() {
            let bytes: usize = part.iter().map(Bytes::len).sum();
            let sending = multipart.put_part(PutPayload::from_iter(part));
            self.parts_under_way.spawn(sending.instrument(part_span(&self.key, bytes)));
        }
        Ok(())
    }

    /// Waits for the digest of the previous part, so that no part stays in memory only for its digest.
    async fn update_digest(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let mut hasher = self.settle_digest().await?;
        self.digest = Some(tokio::task::spawn_blocking(move || {
            for piece in &pieces {
                hasher.update(piece);
            }
            hasher
        }));
        Ok(())
    }

    async fn settle_digest(&mut self) -> Result<Hasher, StoreError> {
        match self.digest.take() {
            None => Ok(Hasher::new(self.folder.digest())),
            Some(digest) => {
                digest.await.map_err(|error| self.error(Operation::Write, &error.into()))
            }
        }
    }

    async fn wait_for_parts(&mut self, max_under_way: usize) -> Result<(), StoreError> {
        while self.parts_under_way.len() > max_under_way {
            match self.parts_under_way.join_next().await {
                None | Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return Err(self.error(Operation::WritePart, &error)),
                Some(Err(error)) => {
                    return Err(self.error(Operation::WritePart, &object_store::Error::from(error)));
                }
            }
        }
        Ok(())
    }

    fn error(&self, operation: Operation, error: &object_store::Error) -> StoreError {
        self.folder.failed(operation, &self.key, error)
    }
}

impl Drop for Upload {
    /// An upload that was neither finished nor aborted, such as that of a task that was dropped.
    fn drop(&mut self) {
        // No caller is left to get an error. Stores can expire uploads that stay open.
        drop(self.begin_abort());
    }
}

/// A part in a trace, or a file that is one.
fn part_span(key: &ObjectKey, bytes: usize) -> tracing::Span {
    tracing::info_span!("part", %key, bytes)
}

/// Begins an upload in parts of this size, or continues the one that the log of the folder names.
async fn begin(
    folder: ExportFolder,
    key: ObjectKey,
    part_bytes: u64,
) -> object_store::Result<Multipart> {
    let path = folder.path(&key);
    match (folder.uploads().cloned(), folder.log().cloned()) {
        (Some(uploads), Some(log)) => {
            let begun = LoggedUpload::begin(uploads, log, key, path, part_bytes).await?;
            Ok(Box::new(begun))
        }
        _ => folder.store().put_multipart(&path).await,
    }
}

/// Stops the parts under way. Returns the upload whose parts have to be removed; one that was never
/// begun left nothing.
async fn stop(
    mut parts: Parts,
    beginning: Option<Beginning>,
    multipart: Option<Multipart>,
) -> Option<Multipart> {
    parts.shutdown().await;
    match (multipart, beginning) {
        (Some(multipart), _) => Some(multipart),
        (None, Some(beginning)) => beginning.await.ok().and_then(Result::ok),
        (None, None) => None,
    }
}

/// Whether removal may succeed later: the store was away or had an error of its own, or did not take the
/// credentials.
fn may_recover(folder: &ExportFolder, key: &ObjectKey, error: &object_store::Error) -> bool {
    let cause = folder.failed(Operation::Abort, key, error).cause();
    // Keys that have expired may be renewed, and rights given.
    matches!(
        cause,
        Some(
            Cause::Unreachable
                | Cause::StoreFailing
                | Cause::NoCredentials
                | Cause::WrongCredentials
                | Cause::PermissionDenied
        )
    )
}

/// Tries to remove the parts until the store is back. An upload that the store does not know any
/// more is one that an earlier try removed.
async fn remove_later(folder: ExportFolder, key: ObjectKey, mut multipart: Multipart) {
    let mut pause = FIRST_ABORT_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match multipart.abort().await {
            Err(error) if may_recover(&folder, &key, &error) => {
                pause = pause.saturating_mul(2).min(LONGEST_ABORT_PAUSE);
            }
            Ok(()) | Err(_) => return,
        }
    }
}

/// How many requests it takes to write a file of so many bytes: one, or the parts with the begin and the
/// end of their upload.
pub fn write_requests(file_bytes: u64) -> u64 {
    let part_bytes = part_bytes(file_bytes) as u64;
    match file_bytes.div_ceil(part_bytes.max(1)) {
        0 | 1 => 1,
        parts => parts.saturating_add(2),
    }
}

fn part_bytes(estimated_bytes: u64) -> usize {
    let bytes = estimated_bytes.div_ceil(PLANNED_PARTS).max(MIN_PART_BYTES);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_part_is_one_request() {
        assert_eq!([0, 1, MIN_PART_BYTES].map(write_requests), [1, 1, 1]);
        assert_eq!([MIN_PART_BYTES + 1, 10 * MIN_PART_BYTES].map(write_requests), [4, 12]);
        // Larger files have larger parts.
        assert_eq!(write_requests(1 << 40), PLANNED_PARTS + 2);
    }

    #[test]
    fn large_pieces_are_not_copied_and_small_ones_are_gathered() {
        let large = Bytes::from(vec![7; MIN_PIECE_BYTES]);
        let mut part = Part::default();
        for _ in 0..1_000 {
            part.push(Bytes::from_static(b"abc"));
        }
        part.push(large.clone());
        part.push(large.clone());
        part.push(Bytes::from_static(b"d"));
        part.push(large.slice(1..));
        assert_eq!(part.size_bytes, 3_000 + 3 * MIN_PIECE_BYTES);
        let pieces = part.into_pieces();
        let lens: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lens, [3_000, MIN_PIECE_BYTES, MIN_PIECE_BYTES, MIN_PIECE_BYTES]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2].as_ptr(), large.as_ptr());
        assert_eq!(pieces[3], [b"d", &large[1..]].concat());
        assert!(Part::default().into_pieces().is_empty());
    }
}
