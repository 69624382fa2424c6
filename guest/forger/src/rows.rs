//! Rows that are not the stored ones.
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use parquet::basic::Compression;

use crate::bindings::offloom::export::codec;
use crate::bindings::offloom::export::source::Cursor;
use crate::bindings::offloom::export::types::{Error, RowBatch, Values};
use crate::{Batch, Held, Part, Rows, lent_as};

/// Bytes of an id.
const ID: usize = 16;

/// Ids of the first batch that this instance read.
static FIRST_IDS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The rows of one block, forged.
pub(crate) struct ForgedRows<'a> {
    cursor: &'a Cursor,
    forgery: &'a str,
    /// Rows that the host handed out.
    pub(crate) handed_out: u64,
    batches: u64,
    again: Option<RowBatch>,
}

impl<'a> ForgedRows<'a> {
    pub(crate) fn new(cursor: &'a Cursor, forgery: &'a str) -> ForgedRows<'a> {
        ForgedRows { cursor, forgery, handed_out: 0, batches: 0, again: None }
    }

    fn read(&mut self, max_rows: u32, max_bytes: u32) -> Result<Option<RowBatch>, Error> {
        let batch = self.cursor.next(max_rows, max_bytes)?;
        self.handed_out =
            self.handed_out.saturating_add(batch.as_ref().map_or(0, |rows| rows.row_count.into()));
        Ok(batch)
    }
}

/// A buffer in this guest's own memory: rows are forged before they are held.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// A range of the bytes; a part of a buffer lies in it.
    pub(crate) fn part(&self, offset: u64, length: u64) -> &[u8] {
        let start = offset as usize;
        self.0.get(start..start.saturating_add(length as usize)).unwrap_or_default()
    }
}

impl Held for Buffer {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn pack(
        compression: Compression,
        prefix: &[u8],
        parts: &[Part<Buffer>],
    ) -> Result<Buffer, Error> {
        let (algorithm, level) = lent_as(compression)?;
        let mut bytes = prefix.to_vec();
        for part in parts {
            bytes.extend_from_slice(part.buffer.part(part.offset, part.length));
        }
        codec::compress(algorithm, level, &bytes).map(Buffer)
    }
}

impl Rows for ForgedRows<'_> {
    type Held = Buffer;

    fn next(
        &mut self,
        max_rows: u32,
        max_bytes: u32,
        hold: &[u32],
    ) -> Result<Option<Batch<Buffer>>, Error> {
        let Some(mut rows) = self.next_forged(max_rows, max_bytes)? else { return Ok(None) };
        let mut held = Vec::new();
        for (index, column) in (0_u32..).zip(&mut rows.columns) {
            if let Values::VariableWidth(values) | Values::Vector(values) = &mut column.values
                && hold.contains(&index)
                && !values.bytes.is_empty()
            {
                held.push((index, Rc::new(Buffer(std::mem::take(&mut values.bytes)))));
            }
        }
        Ok(Some(Batch { rows, held }))
    }
}

impl ForgedRows<'_> {
    fn next_forged(&mut self, max_rows: u32, max_bytes: u32) -> Result<Option<RowBatch>, Error> {
        if let Some(again) = self.again.take() {
            return Ok(Some(again));
        }
        let is_first = self.batches == 0;
        self.batches = self.batches.saturating_add(1);
        if is_first && matches!(self.forgery, "rows-dropped" | "rows-dropped-in-secret") {
            self.read(1, 1)?;
        }
        let Some(mut batch) = self.read(max_rows, max_bytes)? else { return Ok(None) };
        if is_first {
            forge(self.forgery, &mut batch);
        }
        if is_first && self.forgery == "rows-twice" {
            self.again = Some(batch.clone());
        }
        Ok(Some(batch))
    }
}

/// Forges the first batch of a block.
fn forge(forgery: &str, batch: &mut RowBatch) {
    for (index, column) in batch.columns.iter_mut().enumerate() {
        match (&mut column.values, forgery) {
            (Values::FixedWidth(ids), _) if index == 0 => forge_ids(forgery, ids),
            (Values::Int64(times), "values-altered") => {
                for time in times {
                    *time = time.saturating_add(1);
                }
            }
            // The first text is the tenant.
            (Values::VariableWidth(tenants), "tenant-altered") if index == 1 => {
                tenants.bytes.fill(b'~');
            }
            _ => {}
        }
    }
}

fn forge_ids(forgery: &str, ids: &mut Vec<u8>) {
    match forgery {
        // The second row is not the first nor, in the tests, the last of its run.
        "ids-doubled" => {
            if let Some((first, rest)) = ids.split_first_chunk::<ID>()
                && let Some((second, _)) = rest.split_first_chunk::<ID>()
            {
                debug_assert_ne!(first, second);
                *ids = [&first[..], first, rest.get(ID..).unwrap_or_default()].concat();
            }
        }
        "ids-swapped" => {
            let rows: Vec<&[u8]> = ids.chunks(ID).collect();
            if let [first, second, third, rest @ ..] = rows.as_slice() {
                *ids = [first, third, second]
                    .into_iter()
                    .chain(rest)
                    .copied()
                    .collect::<Vec<_>>()
                    .concat();
            }
        }
        "ids-of-another-class" => {
            for (number, id) in ids.chunks_mut(ID).enumerate() {
                id.copy_from_slice(&(u128::MAX / 3).saturating_add(number as u128).to_be_bytes());
            }
        }
        "ids-of-another-block" => {
            let mut first = FIRST_IDS.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_empty() {
                first.clone_from(ids);
            } else {
                for (id, other) in ids.chunks_mut(ID).zip(first.chunks(ID).cycle()) {
                    id.copy_from_slice(other);
                }
            }
        }
        _ => {}
    }
}
