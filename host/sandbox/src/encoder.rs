//! Encodes blocks of one file with one instance, and checks the rows that the guest accounts for.
use std::any::Any;

use bytes::Bytes;
use offloom_rows::{Cursor, ShardRun};
use wasmtime::component::{Resource, ResourceAny};

use crate::error::{Breach, ContractBreach, GuestError};
use crate::instance::{Instance, counted, settle, within};
use crate::limits::{MAX_COUNTER_NAME_BYTES, MAX_COUNTERS};
use crate::v0_1::bindings::ExporterGuest as Bindings;
use crate::v0_1::bindings::exports::offloom::export::exporter as wit;
use crate::v0_1::cursor::{GuestCursor, RowAccount};
use crate::v0_1::sink::Output;

/// Encodes blocks of one file, or closes it. Keeps one instance of the guest from block to
/// block. After an error every call returns [`GuestError::Ended`]. Dropping a call before it returns
/// is safe and ends the encoder too.
pub struct FileEncoder {
    /// `None` while a call runs, and after an error.
    open: Option<OpenFile>,
}

/// What a guest reports about a block. Kept until the file is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Rows of the block.
    pub row_count: u64,
    /// The guest's note, passed back to it in [`FileEncoder::assemble`].
    pub note: Vec<u8>,
    /// Counts for the manifest, by name.
    pub counters: Vec<(String, u64)>,
}

/// An encoded block, checked against the rows that were handed out.
#[derive(Debug, Clone)]
pub struct EncodedBlock {
    /// Its bytes, in pieces: a column that the host held is one of any size, the others have at most
    /// 1 MiB.
    pub chunks: Vec<Bytes>,
    /// Number of its bytes.
    pub length: u64,
    /// What the guest reports about it.
    pub block: Block,
    /// The shards of its rows, in order, one run for consecutive rows of one shard.
    pub runs: Vec<ShardRun>,
}

/// A block and its place in the file.
#[derive(Debug, Clone)]
pub struct PlacedBlock {
    /// Where its bytes begin, from the beginning of the file.
    pub offset: u64,
    /// Number of its bytes.
    pub length: u64,
    /// As [`FileEncoder::encode`] returned it.
    pub block: Block,
}

struct OpenFile {
    instance: Instance<Bindings>,
    file: ResourceAny,
    output_limit: u64,
    /// Totals so far: bytes of rows in, bytes of blocks and notes out.
    row_bytes: u64,
    output_bytes: u64,
    notes_bytes: u64,
}

impl FileEncoder {
    /// Linear memory of its instance, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.instance.store.data().memory.memory_bytes())
    }

    pub(crate) fn new(
        instance: Instance<Bindings>,
        file: ResourceAny,
        output_limit: u64,
    ) -> FileEncoder {
        let open = OpenFile {
            instance,
            file,
            output_limit,
            row_bytes: 0,
            output_bytes: 0,
            notes_bytes: 0,
        };
        FileEncoder { open: Some(open) }
    }

    /// The bytes before the first block.
    pub async fn prologue(&mut self) -> Result<Bytes, GuestError> {
        let mut open = self.open.take().ok_or(GuestError::Ended)?;
        let prologue = open.prologue().await?;
        self.open = Some(open);
        Ok(prologue)
    }

    /// Encodes all rows of the cursor as one block. The cursor is read on the thread that polls this, which
    /// must be one that may block.
    ///
    /// Errors of the cursor are returned as they are, whatever error the guest returned. The guest
    /// must read every row and report the number of rows that it read.
    pub async fn encode(&mut self, cursor: Box<dyn Cursor>) -> Result<EncodedBlock, GuestError> {
        self.encode_lent(cursor, &mut None).await
    }

    /// As [`FileEncoder::encode`], and returns the cursor, so that its owner can ask it what it found
    /// besides the rows. With an error of the sandbox itself, the cursor is absent.
    pub async fn encode_and_return<C: Cursor>(
        &mut self,
        cursor: C,
    ) -> Result<(EncodedBlock, C), (GuestError, Option<C>)> {
        let mut returned = None;
        let result = self.encode_lent(Box::new(cursor), &mut returned).await;
        let cursor = returned.and_then(|cursor| (cursor as Box<dyn Any>).downcast().ok());
        match (result, cursor) {
            (Ok(block), Some(cursor)) => Ok((block, *cursor)),
            (Ok(_), None) => {
                Err((GuestError::Host("the encoder has lost the cursor".to_owned()), None))
            }
            (Err(error), cursor) => Err((error, cursor.map(|cursor| *cursor))),
        }
    }

    async fn encode_lent(
        &mut self,
        cursor: Box<dyn Cursor>,
        returned: &mut Option<Box<dyn Cursor>>,
    ) -> Result<EncodedBlock, GuestError> {
        let mut open = self.open.take().ok_or(GuestError::Ended)?;
        let block = open.encode(cursor, returned).await?;
        self.open = Some(open);
        Ok(block)
    }

    /// The bytes after the last block. The blocks are in the order of the file; none means a class
    /// without objects.
    pub async fn assemble(&mut self, blocks: Vec<PlacedBlock>) -> Result<Vec<Bytes>, GuestError> {
        let mut open = self.open.take().ok_or(GuestError::Ended)?;
        let epilogue = open.assemble(blocks).await?;
        self.open = Some(open);
        Ok(epilogue)
    }
}

impl OpenFile {
    async fn prologue(&mut self) -> Result<Bytes, GuestError> {
        let Instance { store, clock, bindings, limits, .. } = &mut self.instance;
        clock.moved();
        let exporter = bindings.offloom_export_exporter();
        let file = exporter.file();
        let answer = within(limits, clock, file.call_prologue(&mut *store, self.file)).await;
        let prologue = settle(&store.data().log, limits, answer.map(Ok))?;
        if prologue.len() > limits.prologue_bytes {
            let bytes = prologue.len();
            return Err(Breach::Prologue { bytes, limit: limits.prologue_bytes }.into());
        }
        Ok(prologue.into())
    }

    /// `returned` gets the cursor back, whatever the guest did.
    async fn encode(
        &mut self,
        cursor: Box<dyn Cursor>,
        returned: &mut Option<Box<dyn Cursor>>,
    ) -> Result<EncodedBlock, GuestError> {
        let Instance { store, clock, bindings, limits, spent, .. } = &mut self.instance;
        clock.moved();
        let state = store.data_mut();
        let cursor = state.table.push(GuestCursor::new(cursor)).map_err(host_error)?;
        let output = state.table.push(Output::new(self.output_limit)).map_err(host_error)?;
        let exporter = bindings.offloom_export_exporter();
        let file = exporter.file();
        // No wall-clock limit: a slow disk is not the guest's fault.
        let call = file.call_encode(
            &mut *store,
            self.file,
            Resource::new_borrow(cursor.rep()),
            Resource::new_borrow(output.rep()),
        );
        let answer = counted(clock, call).await;

        let state = store.data_mut();
        let cursor = state.table.delete(cursor).map_err(host_error)?;
        let output = state.table.delete(output).map_err(host_error)?;
        let (source, read) = cursor.finish();
        *returned = Some(source);
        let (account, at_end) = read?;
        let block = settle(&state.log, limits, answer)?;
        let (chunks, length) = output.finish();
        check_account(&account, at_end, &block, length)?;

        self.row_bytes = self.row_bytes.saturating_add(account.bytes);
        self.output_bytes = self.output_bytes.saturating_add(length);
        self.notes_bytes = self.notes_bytes.saturating_add(block.note.len() as u64);
        let output_limit = limits.output_bytes_of(self.row_bytes);
        if self.output_bytes > output_limit {
            return Err(Breach::Output { limit: output_limit }.into());
        }
        spent.write(length, limits)?;
        if self.notes_bytes > limits.notes_bytes {
            return Err(Breach::Notes { limit: limits.notes_bytes }.into());
        }
        let block =
            Block { row_count: block.row_count, note: block.note, counters: block.counters };
        Ok(EncodedBlock { chunks, length, block, runs: account.runs })
    }

    async fn assemble(&mut self, blocks: Vec<PlacedBlock>) -> Result<Vec<Bytes>, GuestError> {
        let Instance { store, clock, bindings, limits, .. } = &mut self.instance;
        let notes = blocks.iter().map(|placed| placed.block.note.len() as u64);
        if notes.fold(0, u64::saturating_add) > limits.notes_bytes {
            return Err(Breach::Notes { limit: limits.notes_bytes }.into());
        }
        let blocks: Vec<wit::PlacedBlock> = blocks
            .into_iter()
            .map(|placed| wit::PlacedBlock {
                offset: placed.offset,
                length: placed.length,
                block: wit::Block {
                    row_count: placed.block.row_count,
                    note: placed.block.note,
                    counters: placed.block.counters,
                },
            })
            .collect();
        clock.moved();
        let state = store.data_mut();
        let output = state.table.push(Output::new(limits.epilogue_bytes)).map_err(host_error)?;
        let exporter = bindings.offloom_export_exporter();
        let file = exporter.file();
        let call =
            file.call_assemble(&mut *store, self.file, &blocks, Resource::new_borrow(output.rep()));
        let answer = within(limits, clock, call).await;
        let state = store.data_mut();
        let output = state.table.delete(output).map_err(host_error)?;
        settle(&state.log, limits, answer)?;
        Ok(output.finish().0)
    }
}

fn check_account(
    account: &RowAccount,
    at_end: bool,
    block: &wit::Block,
    length: u64,
) -> Result<(), ContractBreach> {
    if !at_end {
        return Err(ContractBreach::RowsLeft(account.rows));
    }
    if block.row_count != account.rows {
        return Err(ContractBreach::RowCount { handed_out: account.rows, said: block.row_count });
    }
    if account.rows == 0 && length > 0 {
        return Err(ContractBreach::BytesWithoutRows(length));
    }
    if account.rows > 0 && length == 0 {
        return Err(ContractBreach::RowsWithoutBytes(account.rows));
    }
    check_counters(&block.counters)
}

/// Checks the counts of a block or of edits.
pub(crate) fn check_counters(counters: &[(String, u64)]) -> Result<(), ContractBreach> {
    let named = |name: &str| {
        (1..=MAX_COUNTER_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if counters.len() > MAX_COUNTERS || !counters.iter().all(|(name, _)| named(name)) {
        return Err(ContractBreach::Counters);
    }
    Ok(())
}

fn host_error(error: wasmtime::component::ResourceTableError) -> GuestError {
    GuestError::Host(error.to_string())
}
