//! `source.cursor`: hands the rows of one block to a guest and counts them.
use offloom_rows::{
    BatchLimits, Cursor, CursorError, MAX_BATCH_BYTES, MAX_BATCH_ROWS, RowBatch, ShardRun,
};
use wasmtime::StoreContextMut;
use wasmtime::component::Resource;

use crate::state::State;
use crate::v0_1::bindings::offloom::export::source::{HeldBatch, HeldColumn};
use crate::v0_1::bindings::offloom::export::types::{self, Error};
use crate::v0_1::{convert, held};

/// A cursor lent to a guest for one call.
pub struct GuestCursor {
    source: Box<dyn Cursor>,
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
        GuestCursor { source, at_end: false, account: RowAccount::default(), error: None }
    }

    /// The source; and the rows that were read and whether the guest reached the end, or the error of
    /// the source.
    pub(crate) fn finish(self) -> (Box<dyn Cursor>, Result<(RowAccount, bool), CursorError>) {
        let read = match self.error {
            Some(error) => Err(error),
            None => Ok((self.account, self.at_end)),
        };
        (self.source, read)
    }
}

impl RowAccount {
    fn add(&mut self, rows: &RowBatch, runs: Vec<ShardRun>) {
        self.rows = self.rows.saturating_add(u64::from(rows.row_count));
        self.bytes = self.bytes.saturating_add(rows.value_bytes());
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
    Ok((convert::schema(cursor.source.schema()),))
}

/// `cursor.next`.
pub(crate) fn next(
    mut store: StoreContextMut<'_, State>,
    (cursor, max_rows, max_bytes): (Resource<GuestCursor>, u32, u32),
) -> wasmtime::Result<(Result<Option<types::RowBatch>, Error>,)> {
    let batch = read(store.data_mut(), &cursor, max_rows, max_bytes)?;
    Ok((batch.map(|batch| batch.map(convert::row_batch)),))
}

/// `cursor.next-held`.
pub(crate) fn next_held(
    mut store: StoreContextMut<'_, State>,
    (cursor, max_rows, max_bytes, hold): (Resource<GuestCursor>, u32, u32, Vec<u32>),
) -> wasmtime::Result<(Result<Option<HeldBatch>, Error>,)> {
    let state = store.data_mut();
    let mut batch = match read(state, &cursor, max_rows, max_bytes)? {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok((Ok(None),)),
        Err(error) => return Ok((Err(error),)),
    };
    let mut held = Vec::new();
    for (column, values) in (0_u32..).zip(&mut batch.columns) {
        if hold.contains(&column)
            && let Some(bytes) = held::take_bytes(&mut values.values)
        {
            held.push(HeldColumn { column, bytes: held::hold(state, bytes)? });
        }
    }
    Ok((Ok(Some(HeldBatch { rows: convert::row_batch(batch), held })),))
}

/// The next rows. The source blocks, and so does the call: guests run on threads of their own. Reading
/// is not the guest's time.
fn read(
    state: &mut State,
    cursor: &Resource<GuestCursor>,
    max_rows: u32,
    max_bytes: u32,
) -> wasmtime::Result<Result<Option<RowBatch>, Error>> {
    let own = state.table.get_mut(cursor)?;
    if let Some(error) = &own.error {
        return Ok(Err(guest_view(error)));
    }
    if own.at_end {
        return Ok(Ok(None));
    }
    let limits = BatchLimits {
        max_rows: max_rows.clamp(1, MAX_BATCH_ROWS),
        max_bytes: max_bytes.min(MAX_BATCH_BYTES),
    };
    let source = &mut own.source;
    let answer = match state.clock.uncounted(|| source.next_batch(limits)) {
        Ok(Some(batch)) => {
            own.account.add(&batch.rows, batch.runs);
            Ok(Some(batch.rows))
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
    state.clock.moved();
    Ok(answer)
}

/// The error as the guest sees it, without paths or data. The full error is kept for the operator.
fn guest_view(error: &CursorError) -> Error {
    match error {
        CursorError::Unavailable(_) => Error::Unavailable("the rows could not be read".to_owned()),
        CursorError::InvalidData(_) => Error::InvalidData("stored data is broken".to_owned()),
    }
}
