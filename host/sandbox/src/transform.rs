//! A loaded transform: it says what it touches, and edits batches.
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use offloom_rows::{RowBatch, Schema, is_set};
use wasmtime::component::ResourceAny;

use crate::about::About;
use crate::edits::check_column;
use crate::encoder::check_counters;
use crate::error::{Breach, GuestError, TransformBreach};
use crate::exporter::GuestOptions;
use crate::instance::{Instance, Shared, counted, settle, within};
use crate::limits::{MAX_REASON_BYTES, SandboxLimits};
use crate::log::escape;
use crate::quota::InstanceQuota;
use crate::shape::{Reach, Shape};
use crate::state::State;
use crate::v0_1::bindings::transform::exports::offloom::export::transform as wit;
use crate::v0_1::bindings::transform::{TransformGuest as Bindings, TransformGuestPre};
use crate::v0_1::convert;

/// A checked and compiled transform. Cheap to clone. It is called through
/// [`TransformGuest::for_export`].
#[derive(Clone)]
pub struct TransformGuest {
    pre: TransformGuestPre<State>,
    digest: Arc<str>,
    limits: Arc<SandboxLimits>,
    quota: Option<InstanceQuota>,
}

/// The transform of one export. Cheap to clone; every [`Transformer`] has an instance of its own. All
/// instances and clones share what an export may log and how much processor time it may use.
#[derive(Clone)]
pub struct TransformRun {
    guest: TransformGuest,
    shared: Shared,
}

impl TransformGuest {
    pub(crate) fn new(
        pre: TransformGuestPre<State>,
        digest: String,
        limits: Arc<SandboxLimits>,
    ) -> TransformGuest {
        TransformGuest { pre, digest: digest.into(), limits, quota: None }
    }

    /// The transform of one export, with a log and processor time of its own.
    pub fn for_export(&self) -> TransformRun {
        let shared = Shared::new(&self.limits);
        TransformRun { guest: self.clone(), shared }
    }

    /// The same transform with other limits, and a quota of instances that it shares with the other guests of
    /// its owner.
    #[must_use]
    pub fn with_quota(
        &self,
        change: impl FnOnce(SandboxLimits) -> SandboxLimits,
        quota: InstanceQuota,
    ) -> TransformGuest {
        let limits = Arc::new(change((*self.limits).clone()));
        TransformGuest { limits, quota: Some(quota), ..self.clone() }
    }

    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl TransformRun {
    /// The quota of its owner, if it has one.
    pub fn quota(&self) -> Option<&InstanceQuota> {
        self.guest.quota.as_ref()
    }

    /// Processor time of all of its instances so far.
    pub fn processor_time(&self) -> Duration {
        self.shared.spent.time()
    }

    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        self.guest.digest()
    }

    /// What the guest says of itself.
    pub async fn about(&self) -> Result<About, GuestError> {
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let call = bindings.offloom_export_about().call_describe_guest(&mut *store);
        let answer = within(limits, clock, call).await;
        Ok(settle(&store.data().log, limits, answer.map(Ok))?.into())
    }

    /// A transformer of rows with these columns.
    ///
    /// # Errors
    /// The guest refuses, breaks a limit, or has a shape that its input does not allow.
    pub async fn open(
        &self,
        input: &Schema,
        options: &GuestOptions,
        reach: Reach,
    ) -> Result<Transformer, GuestError> {
        let schema = convert::schema(input);
        let mut instance = self.instantiate().await?;
        let Instance { store, clock, bindings, limits, .. } = &mut instance;
        let transform = bindings.offloom_export_transform();
        let call = transform.transformer();
        let answer = within(limits, clock, call.call_open(&mut *store, &schema, options)).await;
        let transformer = settle(&store.data().log, limits, answer)?;
        clock.moved();
        let answer = within(limits, clock, call.call_shape(&mut *store, transformer)).await;
        let shape = settle(&store.data().log, limits, answer.map(Ok))?;
        let shape = Shape::new(input, shape, reach)?;
        let open = OpenTransformer { instance, transformer, row_bytes: 0, edit_bytes: 0 };
        Ok(Transformer { open: Some(open), shape })
    }

    /// A new instance, which uses this export's budgets.
    async fn instantiate(&self) -> Result<Instance<Bindings>, GuestError> {
        Instance::new(&self.guest.pre, &self.shared).await
    }
}

/// Edits batches of one class with one instance. After an error every call returns
/// [`GuestError::Ended`]. Dropping a call before it returns is safe and ends the transformer too.
pub struct Transformer {
    /// `None` while a call runs, and after an error.
    open: Option<OpenTransformer>,
    shape: Shape,
}

struct OpenTransformer {
    instance: Instance<Bindings>,
    transformer: ResourceAny,
    /// Totals so far: bytes of rows in, bytes of edits out.
    row_bytes: u64,
    edit_bytes: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// The rows that stay, in the columns of [`Transformer::output`].
    pub rows: RowBatch,
    /// Rows that the transform cannot handle. They do not stay.
    pub refused: Vec<RefusedRow>,
    /// Counts for the manifest, by name.
    pub counters: Vec<(String, u64)>,
}

/// A row that a transform cannot handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// The id of its object.
    pub id: [u8; 16],
    /// Why, escaped and cut to 1,024 bytes.
    pub reason: String,
}

impl Transformer {
    /// The columns of the rows that it makes.
    pub fn output(&self) -> &Schema {
        &self.shape.output
    }

    /// Names of the columns that it reads.
    pub fn reads<'a>(&'a self, input: &'a Schema) -> impl Iterator<Item = &'a str> {
        self.shape.reads.iter().filter_map(|index| Some(&*input.fields.get(*index)?.name))
    }

    /// Linear memory of its instance, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.instance.store.data().memory.memory_bytes())
    }

    /// Edits a batch of rows of one shard, in the columns that it was opened for.
    ///
    /// # Errors
    /// The guest fails, breaks a limit, or returns edits of another form than its shape says.
    pub async fn apply(&mut self, batch: RowBatch) -> Result<Transformed, GuestError> {
        let mut open = self.open.take().ok_or(GuestError::Ended)?;
        let transformed = open.apply(&self.shape, batch).await?;
        self.open = Some(open);
        Ok(transformed)
    }
}

impl OpenTransformer {
    async fn apply(
        &mut self,
        shape: &Shape,
        mut batch: RowBatch,
    ) -> Result<Transformed, GuestError> {
        let Instance { store, clock, bindings, limits, spent, .. } = &mut self.instance;
        self.row_bytes = self.row_bytes.saturating_add(batch.value_bytes());
        let (row_count, rows) = (batch.row_count, batch.row_count as usize);
        let read = shape.take_read(&mut batch).into_iter().map(convert::column_for_guest);
        let given = wit::RowBatch { row_count, columns: read.collect() };
        clock.moved();
        let transform = bindings.offloom_export_transform();
        let call = transform.transformer();
        // No wall-clock limit: it waits for nothing, so that of its processor time holds.
        let answer = counted(clock, call.call_apply(&mut *store, self.transformer, &given)).await;
        let wit::Edits { keep, columns, refused, counters } =
            settle(&store.data().log, limits, answer)?;
        shape.put_back(&mut batch, given.columns.into_iter().map(convert::column).collect());

        check_counters(&counters)?;
        let written: Vec<_> = columns.into_iter().map(convert::column).collect();
        if written.len() != shape.writes.len() {
            let (found, expected) = (written.len(), shape.writes.len());
            return Err(TransformBreach::ColumnCount { found, expected }.into());
        }
        for (column, field) in written.iter().zip(&shape.writes) {
            check_column(column, field, rows).map_err(|problem| TransformBreach::Column {
                column: escape(&field.name, MAX_REASON_BYTES),
                problem,
            })?;
        }
        let kept = kept_rows(rows, keep.as_deref(), &refused)?;
        let ids: Vec<[u8; 16]> =
            refused.iter().map(|(row, _)| batch.id(*row as usize).unwrap_or_default()).collect();
        let edits = RowBatch { row_count, columns: written };
        self.edit_bytes = self.edit_bytes.saturating_add(edits.value_bytes());
        spent.write(edits.value_bytes(), limits)?;
        let limit = limits.output_bytes_of(self.row_bytes);
        if self.edit_bytes > limit {
            return Err(Breach::Edits { limit }.into());
        }
        let rows = shape.rebuild(batch, edits.columns).keep(&kept);
        let limit = limits.object_limit.row_bytes();
        // The rows that come in keep within it, so only edits can lead beyond it.
        if !shape.writes.is_empty()
            && rows.value_bytes() > limit
            && let Some(bytes) = rows.row_bytes().into_iter().find(|bytes| *bytes > limit)
        {
            return Err(TransformBreach::RowBytes { bytes, limit }.into());
        }
        let refused = refused
            .into_iter()
            .zip(ids)
            .map(|((_, reason), id)| RefusedRow { id, reason: escape(&reason, MAX_REASON_BYTES) });
        Ok(Transformed { rows, refused: refused.collect(), counters })
    }
}

/// The rows that stay, as ranges.
fn kept_rows(
    rows: usize,
    keep: Option<&[u8]>,
    refused: &[(u32, String)],
) -> Result<Vec<Range<usize>>, TransformBreach> {
    let expected = rows.div_ceil(8);
    if let Some(found) = keep.map(<[u8]>::len).filter(|found| *found != expected) {
        return Err(TransformBreach::Keep { found, expected });
    }
    let mut before = None;
    for (row, _) in refused {
        if *row as usize >= rows || before.is_some_and(|before| before >= *row) {
            return Err(TransformBreach::RefusedRow(*row));
        }
        before = Some(*row);
    }
    let mut refused = refused.iter().map(|(row, _)| *row as usize).peekable();
    let mut kept: Vec<Range<usize>> = Vec::new();
    for row in 0..rows {
        let is_refused = refused.next_if_eq(&row).is_some();
        if is_refused || !keep.is_none_or(|bits| is_set(bits, row)) {
            continue;
        }
        match kept.last_mut() {
            Some(last) if last.end == row => last.end = row.saturating_add(1),
            _ => kept.push(row..row.saturating_add(1)),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_dropped_nor_refused_stays() {
        let refused =
            |rows: &[u32]| rows.iter().map(|row| (*row, String::new())).collect::<Vec<_>>();
        assert_eq!(kept_rows(9, None, &[]).unwrap().first(), Some(&(0..9)));
        assert_eq!(
            kept_rows(9, Some(&[0b1110_0111, 1]), &refused(&[0, 6])),
            Ok(vec![1..3, 5..6, 7..9])
        );
        assert_eq!(kept_rows(2, Some(&[0]), &[]), Ok(vec![]));
        assert_eq!(
            kept_rows(8, Some(&[0, 0]), &[]),
            Err(TransformBreach::Keep { found: 2, expected: 1 })
        );
        for rows in [&[2][..], &[1, 1], &[1, 0]] {
            assert!(matches!(
                kept_rows(2, None, &refused(rows)),
                Err(TransformBreach::RefusedRow(_))
            ));
        }
    }
}
