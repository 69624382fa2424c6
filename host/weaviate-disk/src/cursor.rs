//! Reads the rows of one unit: shard after shard, merged, decoded, in flat columns.
use offloom_rows::{Batch, BatchLimits, Cursor, CursorError, MAX_ROW_BYTES, Schema};
use uuid::Uuid;

use crate::{
    columns::{Capacity, Origin, RowBuilder},
    error::{DiskError, ObjectFault},
    merge::{Merge, StoredRow},
    object::{self, FaultAt, VectorEntries},
    units::Unit,
};

/// The rows of one unit, read forward once.
#[derive(Debug)]
pub struct UnitCursor {
    unit: Unit,
    multi_tenant: bool,
    /// Index of the range that is being read.
    range: usize,
    merge: Option<Merge>,
    /// The merge stands on a row that did not fit into the batch before.
    pending: bool,
    entries: VectorEntries,
    capacity: Capacity,
    trailing_bytes_rows: u64,
}

impl UnitCursor {
    /// Opens the files of the first shard.
    pub(crate) fn open(unit: Unit) -> Result<UnitCursor, DiskError> {
        let merge = unit.ranges().first().map(Merge::open).transpose()?;
        Ok(UnitCursor {
            multi_tenant: unit.schema().is_multi_tenant(),
            unit,
            range: 0,
            merge,
            pending: false,
            entries: VectorEntries::default(),
            capacity: Capacity::default(),
            trailing_bytes_rows: 0,
        })
    }

    /// Rows so far whose stored object has bytes behind its last field; they are left out, as
    /// Weaviate itself does (`object-binary.md` 1).
    pub fn trailing_bytes_rows(&self) -> u64 {
        self.trailing_bytes_rows
    }

    /// The next rows within `limits`, or `None` at the end; [`Cursor::next_batch`] with this
    /// crate's error.
    pub fn read_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, DiskError> {
        let mut builder = RowBuilder::new(self.multi_tenant, self.capacity);
        while builder.row_count() < limits.max_rows.max(1) {
            if !self.pending && !self.advance()? {
                break;
            }
            self.pending = !self.push_row(&mut builder, limits.max_bytes)?;
            if self.pending {
                break;
            }
        }
        if builder.row_count() == 0 {
            return Ok(None);
        }
        let (batch, capacity) = builder.finish();
        self.capacity = capacity.at_most(limits.max_bytes);
        Ok(Some(batch))
    }

    /// Moves to the next live object of the unit. Files are opened shard by shard: a unit may
    /// span thousands of tenants.
    fn advance(&mut self) -> Result<bool, DiskError> {
        loop {
            if self.merge.is_none() {
                let Some(range) = self.unit.ranges().get(self.range) else { return Ok(false) };
                self.merge = Some(Merge::open(range)?);
            }
            if let Some(merge) = &mut self.merge
                && merge.advance()?
            {
                return Ok(true);
            }
            self.merge = None;
            self.range = self.range.saturating_add(1);
        }
    }

    /// Appends the row that the merge stands on; whether it fitted.
    fn push_row(&mut self, builder: &mut RowBuilder, max_bytes: u32) -> Result<bool, DiskError> {
        let ranges = self.unit.ranges();
        let (Some(row), Some(range)) =
            (self.merge.as_ref().and_then(Merge::row), ranges.get(self.range))
        else {
            return Ok(true);
        };
        let failed = |offset: u64, fault| object_error(&row, offset, fault);
        let Some(value) = row.value else {
            let (row_bytes, limit_bytes) = (row.value_bytes, MAX_ROW_BYTES);
            return Err(failed(0, ObjectFault::TooLarge { row_bytes, limit_bytes }));
        };
        let object = object::decode(value, row.key, &mut self.entries)
            .map_err(|FaultAt { offset, fault }| failed(offset, fault))?;
        let snapshot = &range.snapshot;
        let origin = Origin { shard: &snapshot.bucket.shard, shard_index: snapshot.shard_index };
        let row_bytes =
            builder.row_bytes(&object, &self.entries, origin).map_err(|fault| failed(0, fault))?;
        if !builder.fits(row_bytes, max_bytes, &object, &self.entries) {
            return Ok(false);
        }
        builder.push(&object, &self.entries, origin, row_bytes);
        if object.trailing_bytes > 0 {
            self.trailing_bytes_rows = self.trailing_bytes_rows.saturating_add(1);
        }
        Ok(true)
    }
}

fn object_error(row: &StoredRow<'_>, offset_in_value: u64, fault: ObjectFault) -> DiskError {
    DiskError::Object {
        place: row.place.clone(),
        offset: row.offset.saturating_add(offset_in_value),
        id: Uuid::from_u128(row.key),
        fault,
    }
}

impl Cursor for UnitCursor {
    fn schema(&self) -> &Schema {
        self.unit.schema()
    }

    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        Ok(self.read_batch(limits)?)
    }
}
