//! `source.cursor`: hands the rows of one block to a guest and counts them.
use offloom_rows::{
    BatchLimits, Cursor, CursorError, MAX_BATCH_BYTES, MAX_BATCH_ROWS, RowBatch, ShardRun,
};
use wasmtime::StoreContextMut;
use wasmtime::component::Resource;

use crate::state::State;
use crate::v0_1::bindings::offloom::export::types::{self, Error};
use crate::v0_1::convert;

/// A cursor lent to a guest for one call.
pub struct GuestCursor {
    /// `None` while a batch is being read.
    source: Option<Box<dyn Cursor>>,
    at_end: bool,
    account: RowAccount,
    error: Option<CursorError>,
}

/// The rows that a guest has read.
#[derive(Default)]
pub(crate) struct RowAccount {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Consecutive rows of one shard are one run.
    pub(crate) runs: Vec<ShardRun>,
}

impl GuestCursor {
    pub(crate) fn new(source: Box<dyn Cursor>) -> GuestCursor {
        GuestCursor {
            source: Some(source),
            at_end: false,
            account: RowAccount::default(),
            error: None,
        }
    }

    /// The source, unless a batch is being read from it.
    pub(crate) fn take_source(&mut self) -> Option<Box<dyn Cursor>> {
        self.source.take()
    }

    /// The rows that were read and whether the guest reached the end, or the error of the source.
    pub(crate) fn finish(self) -> Result<(RowAccount, bool), CursorError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok((self.account, self.at_end)),
        }
    }
}

impl RowAccount {
    fn add(&mut self, rows: &RowBatch, runs: Vec<ShardRun>) {
        self.rows = self.rows.saturating_add(u64::from(rows.row_count));
        self.bytes = self.bytes.saturating_add(convert::batch_bytes(rows));
        for run in runs {
            ShardRun::append(&mut self.runs, run);
        }
    }
}

/// `cursor.schema`.
pub(crate) fn schema(
    mut store: StoreContextMut<'_, State>,
    (cursor,): (Resource<GuestCursor>,),
) -> wasmtime::Result<(types::Schema,)> {
    let cursor = store.data_mut().table.get_mut(&cursor)?;
    let source = cursor.source.as_ref().ok_or_else(cursor_away)?;
    Ok((convert::schema(source.schema()),))
}

/// `cursor.next`. The source blocks, so it runs on a thread that may block.
pub(crate) async fn next(
    mut store: StoreContextMut<'_, State>,
    (cursor, max_rows, max_bytes): (Resource<GuestCursor>, u32, u32),
) -> wasmtime::Result<(Result<Option<types::RowBatch>, Error>,)> {
    let own = store.data_mut().table.get_mut(&cursor)?;
    if let Some(error) = &own.error {
        return Ok((Err(guest_view(error)),));
    }
    if own.at_end {
        return Ok((Ok(None),));
    }
    let limits = BatchLimits {
        max_rows: max_rows.clamp(1, MAX_BATCH_ROWS),
        max_bytes: max_bytes.min(MAX_BATCH_BYTES),
    };
    let mut source = own.source.take().ok_or_else(cursor_away)?;
    let (source, result) = tokio::task::spawn_blocking(move || {
        let result = source.next_batch(limits);
        (source, result)
    })
    .await
    .map_err(|error| wasmtime::format_err!("reading rows: {error}"))?;

    let own = store.data_mut().table.get_mut(&cursor)?;
    own.source = Some(source);
    let answer = match result {
        Ok(Some(batch)) => {
            own.account.add(&batch.rows, batch.runs);
            Ok(Some(convert::row_batch(batch.rows)))
        }
        Ok(None) => {
            own.at_end = true;
            Ok(None)
        }
        Err(error) => {
            let view = guest_view(&error);
            own.error = Some(error);
            Err(view)
        }
    };
    store.data_mut().clock.moved();
    Ok((answer,))
}

/// The error as the guest sees it, without paths or data. The full error is kept for the operator.
fn guest_view(error: &CursorError) -> Error {
    match error {
        CursorError::Unavailable(_) => Error::Unavailable("the rows could not be read".to_owned()),
        CursorError::InvalidData(_) => Error::InvalidData("stored data is broken".to_owned()),
    }
}

fn cursor_away() -> wasmtime::Error {
    wasmtime::format_err!("the cursor is in use")
}
