//! The files of one class: blocks appended in ticket order, their offsets, the end and the digest.
use std::collections::BTreeMap;

use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{Attachment, Block, ClassFile, FileFormat};
use offloom_protocol::names::{NameError, ObjectKey};
use offloom_protocol::store::ExportFolder;
use offloom_protocol::upload::{Upload, Uploaded};
use offloom_rows::ShardRun;
use offloom_sandbox::{
    EncodedBlock, FileEncoder, Format, GuestError, MAX_BLOCKS_PER_FILE, PlacedBlock,
};
use offloom_verify::{FooterError, check_parquet_footer};
use offloom_weaviate_disk::{DifferenceCounts, Faults, ReadReport};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::quarantine::{Quarantine, QuarantineError};
use crate::refused::TransformReport;

/// All that a Parquet file holds before its first block.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The store refused.
    #[error("write to backend failed: {0}")]
    Store(#[from] StoreError),
    /// The guest failed to begin or end the file.
    #[error("{key}: {source}")]
    Guest {
        /// Object key of the file.
        key: String,
        /// The guest's failure.
        source: GuestError,
    },
    /// A Parquet file has another prologue than `PAR1`.
    #[error("{key}: the guest began a Parquet file with something other than PAR1")]
    Prologue {
        /// Object key of the file.
        key: String,
    },
    /// The footer does not describe the blocks before it.
    #[error("{key}: the guest ended the file with a footer that does not fit its blocks: {source}")]
    Footer {
        /// Object key of the file.
        key: String,
        /// What does not fit.
        source: FooterError,
    },
    /// Bad objects could not be quarantined.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The class name or the guest's extension cannot be part of an object key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The export ended before the turn of the block.
    #[error("the export ended before this block's turn")]
    ExportEnded,
}

/// The files of one class. Blocks may arrive in any order; they are written in ticket order.
pub(crate) struct ClassFiles {
    class: String,
    format: FileFormat,
    folder: ExportFolder,
    estimated_bytes: u64,
    turn: watch::Sender<Turn>,
    written: Mutex<Written>,
    /// Cancelled when nobody wants the files any more.
    stopped: CancellationToken,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    /// The ticket of the next block.
    ticket: u64,
    /// Blocks that the open file takes before it is full; none without one.
    room: u64,
}

#[derive(Default)]
struct Written {
    open: Option<OpenFile>,
    /// The file whose upload is being completed. The task continues when its worker is stopped, so that
    /// a file never becomes visible without being listed.
    finishing: Option<JoinHandle<Result<Option<ClassFile>, StoreError>>>,
    quarantine: Quarantine,
    class: WrittenClass,
    /// What comes after the end is refused.
    ended: bool,
}

struct OpenFile {
    key: ObjectKey,
    upload: Upload,
    offset: u64,
    rows: u64,
    blocks: Vec<PlacedBlock>,
    counters: BTreeMap<String, u64>,
}

/// What was found in the rows of a block, and what became of them.
#[derive(Default)]
pub(crate) struct BlockReport {
    pub read: ReadReport,
    pub transforms: TransformReport,
}

/// What was written of a class.
#[derive(Default)]
pub(crate) struct WrittenClass {
    /// Its complete files, in order.
    pub files: Vec<ClassFile>,
    /// Rows, first and last id of every shard that had rows, by shard index.
    pub shards: BTreeMap<u32, ShardRun>,
    /// How often the copies of a shard disagreed, by shard index.
    pub differences: BTreeMap<u32, DifferenceCounts>,
    /// What was wrong in its units; the listed objects are in `quarantine` too.
    pub faults: Faults,
    /// What transforms did; the listed rows are in `quarantine` too.
    pub transforms: TransformReport,
    /// The list of objects that broke their format, if there are any, and files with their bytes.
    pub quarantine: Vec<Attachment>,
}

impl ClassFiles {
    /// No file is begun before the turn of the first block.
    pub fn new(
        class: String,
        format: Format,
        folder: ExportFolder,
        estimated_bytes: u64,
    ) -> ClassFiles {
        let Format { name, extension, media_type, .. } = format;
        ClassFiles {
            class,
            format: FileFormat { name, extension, media_type },
            folder,
            estimated_bytes,
            turn: watch::Sender::default(),
            written: Mutex::default(),
            stopped: CancellationToken::new(),
        }
    }

    /// Whether the block of this ticket can be appended without an encoder: the file that is open has
    /// room for it and for those that come before it.
    pub fn takes_behind(&self, ticket: u64) -> bool {
        let turn = self.turn.borrow();
        ticket.saturating_sub(turn.ticket) < turn.room
    }

    /// Waits for the turn of the ticket, appends the block, and adds the faults of its unit. A block
    /// without rows adds no bytes. `appended` is called before the next ticket has its turn.
    ///
    /// `encoder` begins and ends files. It may be any encoder of the class, since blocks do not
    /// depend on their place.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn append(
        &self,
        ticket: u64,
        encoder: &mut FileEncoder,
        encoded: EncodedBlock,
        report: BlockReport,
        appended: impl FnOnce(),
    ) -> Result<(), FileError> {
        let mut written = self.turn(ticket).await?;
        if encoded.length > 0 && written.room() == 0 {
            self.close(&mut written, encoder).await?;
            written.open = Some(self.begin(written.class.files.len(), encoder).await?);
        }
        self.append_in_turn(written, ticket, encoded, report, appended).await
    }

    /// As [`ClassFiles::append`], of a ticket that [`ClassFiles::takes_behind`].
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn append_behind(
        &self,
        ticket: u64,
        encoded: EncodedBlock,
        report: BlockReport,
        appended: impl FnOnce(),
    ) -> Result<(), FileError> {
        let written = self.turn(ticket).await?;
        self.append_in_turn(written, ticket, encoded, report, appended).await
    }

    async fn append_in_turn(
        &self,
        mut written: MutexGuard<'_, Written>,
        ticket: u64,
        encoded: EncodedBlock,
        report: BlockReport,
        appended: impl FnOnce(),
    ) -> Result<(), FileError> {
        let BlockReport { read, transforms } = report;
        self.add_faults(&mut written, read.faults, transforms).await?;
        for (shard, counts) in read.differences {
            written.class.differences.entry(shard).or_default().add(counts);
        }
        if encoded.length > 0 {
            for run in &encoded.runs {
                join_run(&mut written.class.shards, run);
            }
            let Some(file) = &mut written.open else { return Err(FileError::ExportEnded) };
            file.append(encoded).await?;
        }
        appended();
        self.turn.send_replace(Turn { ticket: ticket.saturating_add(1), room: written.room() });
        Ok(())
    }

    /// Waits until all tickets before `ticket` were appended, and ends the last file. A class
    /// without rows gets one file without blocks. Returns the total size of its files in bytes.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn finish(&self, ticket: u64, encoder: &mut FileEncoder) -> Result<u64, FileError> {
        let mut written = self.turn(ticket).await?;
        if written.open.is_none() && written.class.files.is_empty() {
            written.open = Some(self.begin(0, encoder).await?);
        }
        self.close(&mut written, encoder).await?;
        written.class.quarantine = written.quarantine.finish(&self.class, &self.folder).await?;
        let sizes = written.class.files.iter().map(|file| file.size_bytes);
        Ok(sizes.fold(0, u64::saturating_add))
    }

    /// Adds the faults of the next unit, and quarantines those of its objects that are listed.
    async fn add_faults(
        &self,
        written: &mut Written,
        faults: Faults,
        transforms: TransformReport,
    ) -> Result<(), FileError> {
        let Written { class, quarantine, .. } = written;
        let before = class.transforms.listed.len();
        class.transforms.add(transforms);
        for object in class.transforms.listed.iter().skip(before) {
            quarantine.list(object)?;
        }
        let before = class.faults.listed.len();
        class.faults.add(faults);
        for object in class.faults.listed.iter_mut().skip(before) {
            quarantine.add(&self.class, &self.folder, object).await?;
        }
        Ok(())
    }

    /// Takes what is complete. A file that was begun and not ended is dropped, and so is the quarantine
    /// of a class that did not become complete.
    pub async fn end(&self) -> WrittenClass {
        let mut written = self.written.lock().await;
        written.ended = true;
        // A worker may have been stopped while it waited for the store.
        if let Err(error) = written.finished().await {
            tracing::warn!(class = %self.class, %error, "a file could not be finished");
        }
        if let Some(file) = written.open.take() {
            // The outcome is decided already, and the store may be its cause: only log this error.
            if let Err(error) = file.upload.abort().await {
                tracing::warn!(key = %file.key, %error, "an unfinished file could not be dropped");
            }
        }
        let kept = written.quarantine.discard(&self.folder).await;
        let class = &mut written.class;
        class.quarantine.extend(kept);
        let listed = class.files.iter().map(|file| file.rows).fold(0, u64::saturating_add);
        let counted = class.shards.values().map(|run| run.rows).fold(0, u64::saturating_add);
        if counted != listed {
            // These counts include a dropped file's rows: discard them.
            class.shards.clear();
        }
        std::mem::take(class)
    }

    /// Drops what is still being sent to the store. The end then waits for the store no longer than it needs
    /// to complete a file, or to forget one.
    pub fn stop(&self) {
        self.stopped.cancel();
    }

    async fn turn(&self, ticket: u64) -> Result<MutexGuard<'_, Written>, FileError> {
        let mut turn = self.turn.subscribe();
        let mine = turn.wait_for(|turn| turn.ticket == ticket).await;
        drop(mine.map_err(|_closed| FileError::ExportEnded)?);
        let written = self.written.lock().await;
        // A task that was aborted may still have run up to here.
        if written.ended { Err(FileError::ExportEnded) } else { Ok(written) }
    }

    async fn begin(&self, closed: usize, encoder: &mut FileEncoder) -> Result<OpenFile, FileError> {
        let number = u32::try_from(closed).unwrap_or(u32::MAX).saturating_add(1);
        let key = ObjectKey::class_file(
            &self.class,
            number,
            &self.format.extension,
            self.folder.names(),
        )?;
        let prologue = encoder.prologue().await.map_err(|source| guest_failed(&key, source))?;
        if self.format.claims_parquet() && prologue.as_ref() != PARQUET_MAGIC {
            return Err(FileError::Prologue { key: key.to_string() });
        }
        let mut upload = Upload::start(&self.folder, key.clone(), self.estimated_bytes);
        let offset = prologue.len() as u64;
        upload.append(prologue).await?;
        Ok(OpenFile { key, upload, offset, rows: 0, blocks: Vec::new(), counters: BTreeMap::new() })
    }

    async fn close(
        &self,
        written: &mut Written,
        encoder: &mut FileEncoder,
    ) -> Result<(), FileError> {
        let Some(file) = &mut written.open else { return Ok(()) };
        let placed = std::mem::take(&mut file.blocks);
        let blocks: Vec<Block> = placed
            .iter()
            .map(|placed| Block {
                offset: placed.offset,
                length: placed.length,
                rows: placed.block.row_count,
            })
            .collect();
        let epilogue =
            encoder.assemble(placed).await.map_err(|source| guest_failed(&file.key, source))?;
        if self.format.claims_parquet() {
            check_parquet_footer(file.offset, &epilogue, &blocks)
                .map_err(|source| FileError::Footer { key: file.key.to_string(), source })?;
        }
        for chunk in epilogue {
            file.upload.append(chunk).await?;
        }
        let Some(file) = written.open.take() else { return Ok(()) };
        let OpenFile { key, mut upload, rows, counters, .. } = file;
        let (class, format) = (self.class.clone(), self.format.clone());
        let stopped = self.stopped.clone();
        let finishing = async move {
            // What is still being sent is dropped; once the store completes a file, that is waited for.
            let settled = tokio::select! {
                biased;
                () = stopped.cancelled() => None,
                settled = upload.settle() => Some(settled?),
            };
            if settled.is_none() {
                upload.abort().await?;
                return Ok(None);
            }
            let Uploaded { size_bytes, digest } = upload.finish().await?;
            let key = key.to_string();
            let file = ClassFile { class, key, format, size_bytes, digest, rows, counters, blocks };
            Ok(Some(file))
        };
        written.finishing = Some(tokio::spawn(finishing.in_current_span()));
        written.finished().await
    }
}

fn guest_failed(key: &ObjectKey, source: GuestError) -> FileError {
    FileError::Guest { key: key.to_string(), source }
}

impl Written {
    /// Blocks that the open file takes before it is full; none without one.
    fn room(&self) -> u64 {
        let blocks = self.open.as_ref().map_or(MAX_BLOCKS_PER_FILE, |file| file.blocks.len());
        MAX_BLOCKS_PER_FILE.saturating_sub(blocks) as u64
    }

    /// Waits for the file whose upload is being completed, if there is one, and lists it.
    async fn finished(&mut self) -> Result<(), FileError> {
        let Some(finishing) = &mut self.finishing else { return Ok(()) };
        // Keep the task in `self` while it is awaited: this call may be dropped and made again.
        let finished = finishing.await;
        self.finishing = None;
        let file = finished.map_err(|_stopped| FileError::ExportEnded)??;
        self.class.files.extend(file);
        Ok(())
    }
}

impl OpenFile {
    async fn append(&mut self, encoded: EncodedBlock) -> Result<(), FileError> {
        for chunk in encoded.chunks {
            self.upload.append(chunk).await?;
        }
        for (name, count) in &encoded.block.counters {
            let counter = self.counters.entry(name.clone()).or_default();
            *counter = counter.saturating_add(*count);
        }
        self.rows = self.rows.saturating_add(encoded.block.row_count);
        self.blocks.push(PlacedBlock {
            offset: self.offset,
            length: encoded.length,
            block: encoded.block,
        });
        self.offset = self.offset.saturating_add(encoded.length);
        Ok(())
    }
}

/// The rows of a shard continue from block to block, so its runs join into one.
fn join_run(shards: &mut BTreeMap<u32, ShardRun>, run: &ShardRun) {
    shards.entry(run.shard).and_modify(|whole| whole.join(run)).or_insert_with(|| run.clone());
}

#[cfg(test)]
mod tests;
