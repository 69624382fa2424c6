//! Reads the rows of a unit: shard after shard, merged, decoded, filtered, in flat columns.
use std::collections::BTreeMap;

use offloom_rows::{Batch, BatchLimits, Cursor, CursorError, Schema};
use offloom_weaviate_lsm::{
    ObjectFault,
    merge::{Merge, StoredRow},
    object::{self, FaultAt, Object, VectorEntries},
    ruling::DifferenceCounts,
};
use uuid::Uuid;

use super::{
    columns::{Capacity, Origin, RowBuilder},
    faults::{BadObject, Faults, OnBadObject, ReadOptions, StoredValue},
};
use crate::{error::DiskError, unit::Unit};

/// What reading a unit found besides its rows. It belongs to the block that the rows become.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Data that could not be read.
    pub faults: Faults,
    /// How often the copies of a shard disagreed, by index of the shard, only shards where they did.
    /// A key range counts when it was read to its end.
    pub differences: BTreeMap<u32, DifferenceCounts>,
}

/// The rows of a unit, read forward once.
#[derive(Debug)]
pub struct UnitCursor {
    unit: Unit,
    options: ReadOptions,
    multi_tenant: bool,
    /// Index of the range that is being read.
    range: usize,
    merge: Option<Merge>,
    /// Whether the merge's current row did not fit into the batch before.
    pending: bool,
    entries: VectorEntries,
    /// The filtered properties of the current row.
    kept: Vec<u8>,
    capacity: Capacity,
    report: ReadReport,
}

impl UnitCursor {
    /// A cursor on the rows of `unit`. May be called again for another attempt: the files stay open
    /// until the unit is dropped.
    pub fn open(unit: &Unit, options: &ReadOptions) -> UnitCursor {
        UnitCursor {
            multi_tenant: unit.schema().is_multi_tenant(),
            unit: unit.clone(),
            options: options.clone(),
            range: 0,
            merge: None,
            pending: false,
            entries: VectorEntries::default(),
            kept: Vec::new(),
            capacity: Capacity::default(),
            report: ReadReport::default(),
        }
    }

    /// What was found so far besides the rows. After an error other than [`DiskError::Object`] it
    /// names the shard that failed: [`Unit::without`] reads the others.
    pub fn into_report(self) -> ReadReport {
        self.report
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

    /// Moves to the next live object of the unit, and records a shard that fails.
    fn advance(&mut self) -> Result<bool, DiskError> {
        let advanced = self.advance_merge();
        if let Err(error) = &advanced
            && let Some(range) = self.unit.ranges().get(self.range)
        {
            let shard = range.snapshot.shard_index;
            self.report.faults.shard_failed(shard, error.to_string());
        }
        advanced
    }

    /// Shards are merged one after the other: a unit may span thousands of tenants.
    fn advance_merge(&mut self) -> Result<bool, DiskError> {
        loop {
            if self.merge.is_none() {
                let Some(range) = self.unit.ranges().get(self.range) else { return Ok(false) };
                self.merge = Some(Merge::open(range, self.options.object_limit)?);
            }
            if let Some(merge) = &mut self.merge
                && merge.advance()?
            {
                return Ok(true);
            }
            self.end_range();
            self.range = self.range.saturating_add(1);
        }
    }

    /// Closes the files of the current range, and adds its differences to the report.
    fn end_range(&mut self) {
        let (Some(merge), Some(range)) = (self.merge.take(), self.unit.ranges().get(self.range))
        else {
            return;
        };
        let differences = merge.differences();
        if differences != DifferenceCounts::default() {
            let shard = range.snapshot.shard_index;
            self.report.differences.entry(shard).or_default().add(differences);
        }
    }

    /// Appends the merge's current row, unless it is left out. Returns whether it fitted.
    fn push_row(&mut self, builder: &mut RowBuilder, max_bytes: u32) -> Result<bool, DiskError> {
        let ranges = self.unit.ranges();
        let (Some(row), Some(range)) =
            (self.merge.as_ref().and_then(Merge::row), ranges.get(self.range))
        else {
            return Ok(true);
        };
        let shard = range.snapshot.shard_index;
        let origin = Origin { shard: &range.snapshot.bucket.shard, shard_index: shard };
        let of_class = |named: &[u8]| self.unit.has_object(shard, named);
        let read = read_row(&row, &self.options, of_class, &mut self.entries, &mut self.kept);
        let read = match read {
            Ok(Some(object)) => Ok(object),
            Ok(None) => return Ok(true),
            Err(fault) => Err(fault),
        };
        let sized = read.and_then(|object| {
            let limit = self.options.object_limit;
            let bytes = builder.row_bytes(&object, &self.entries, origin, limit);
            bytes.map(|bytes| (object, bytes)).map_err(|fault| FaultAt { offset: 0, fault })
        });
        let (object, row_bytes) = match sized {
            Ok(sized) => sized,
            Err(fault) => {
                leave_out(&row, fault, shard, &self.unit, &self.options, &mut self.report.faults)?;
                return Ok(true);
            }
        };
        if !builder.fits(row_bytes, max_bytes, &object, &self.entries) {
            return Ok(false);
        }
        builder.push(&object, &self.entries, origin, row_bytes);
        if object.trailing_bytes > 0 {
            self.report.faults.trailing_bytes(shard);
        }
        Ok(true)
    }
}

/// Decodes and filters a stored object; `None` if it is not the class's, which `of_class` says by the
/// class that it names.
fn read_row<'a>(
    row: &StoredRow<'a>,
    options: &ReadOptions,
    of_class: impl Fn(&[u8]) -> Result<bool, ObjectFault>,
    entries: &mut VectorEntries,
    kept: &'a mut Vec<u8>,
) -> Result<Option<Object<'a>>, FaultAt> {
    let Some(value) = row.value else {
        let (row_bytes, limit) = (row.value_bytes, options.object_limit);
        return Err(FaultAt { offset: 0, fault: ObjectFault::TooLarge { row_bytes, limit } });
    };
    let mut object = object::decode(value, row.key, options.object_limit, entries)?;
    let at_start = |fault| FaultAt { offset: 0, fault };
    if !of_class(object.class_name).map_err(at_start)? {
        return Ok(None);
    }
    options.filter.apply(&mut object, entries, kept).map_err(at_start)?;
    Ok(Some(object))
}

/// Treats a bad object as `options` require.
fn leave_out(
    row: &StoredRow<'_>,
    FaultAt { offset, fault }: FaultAt,
    shard: u32,
    unit: &Unit,
    options: &ReadOptions,
    faults: &mut Faults,
) -> Result<(), DiskError> {
    let (place, id) = (row.file.place.clone(), Uuid::from_u128(row.key));
    let offset = row.offset.saturating_add(offset);
    let too_large = matches!(fault, ObjectFault::TooLarge { .. });
    match options.on_bad_object {
        OnBadObject::Fail => return Err(DiskError::Object { place, offset, id, fault }),
        OnBadObject::Skip => {}
        OnBadObject::Quarantine => {
            let (reason, value_bytes) = (fault.to_string(), row.value_bytes);
            let stored = options.keep_raw.then(|| StoredValue::new(unit, row));
            faults.list(BadObject { id, place, offset, reason, value_bytes, stored });
        }
    }
    faults.object_left_out(shard, too_large);
    Ok(())
}

impl Cursor for UnitCursor {
    fn schema(&self) -> &Schema {
        self.unit.schema()
    }

    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        Ok(self.read_batch(limits)?)
    }
}
