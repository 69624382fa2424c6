//! The rows of a unit after the transforms of their class: one batch of one shard at a time.
use std::collections::VecDeque;
use std::sync::Arc;

use offloom_rows::{Batch, BatchLimits, Cursor, CursorError, RowBatch, Schema, ShardRun};
use offloom_sandbox::{GuestError, RefusedRow, Transformed, Transformer};
use offloom_weaviate_disk::{Class, OnBadObject};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::refused::{RefusedObject, TransformReport};
use crate::transforms::{ClassChain, ClassStep};

/// Why rows could not be transformed.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// A transform failed.
    #[error("class {class}: the transform {transform}: {source}")]
    Guest {
        /// The class.
        class: String,
        /// The name of the transform.
        transform: String,
        /// Its failure.
        source: GuestError,
    },
    /// A transform refused a row, and the export must not lack any.
    #[error(
        "class {class}, shard {shard}: the transform {transform} refused the object {id}: {reason} \
         (on_bad_object `skip` or `quarantine` leaves such objects out)"
    )]
    Refused {
        /// The class.
        class: String,
        /// The shard.
        shard: String,
        /// The object.
        id: Uuid,
        /// The name of the transform.
        transform: String,
        /// Why, in its words.
        reason: String,
    },
    /// Its shape is another than when the export was planned.
    #[error("class {class}: the transform {transform} leaves other columns than before")]
    OtherColumns {
        /// The class.
        class: String,
        /// The name of the transform.
        transform: String,
    },
    /// Rows were lost or made between the transforms: a fault of the host.
    #[error("class {class}: {read} rows were read, and {accounted} are accounted for")]
    Sums {
        /// The class.
        class: String,
        /// Rows of the unit.
        read: u64,
        /// Rows that were handed out, dropped and refused.
        accounted: u64,
    },
    /// The export was stopped.
    #[error("the export was stopped")]
    Stopped,
}

impl From<TransformError> for CursorError {
    fn from(error: TransformError) -> CursorError {
        match error {
            TransformError::Stopped => CursorError::Unavailable(error.into()),
            error => CursorError::InvalidData(error.into()),
        }
    }
}

/// The transforms of a class with their instances, which are kept from unit to unit.
pub(crate) struct OpenChain {
    class: Class,
    chain: ClassChain,
    on_bad_object: OnBadObject,
    /// The instance of each step, with the shard that it is for if it is for one.
    open: Vec<Option<(Option<u32>, Transformer)>>,
    stopped: CancellationToken,
}

impl OpenChain {
    /// No instance is made before its first row.
    pub fn new(
        class: Class,
        chain: ClassChain,
        on_bad_object: OnBadObject,
        stopped: CancellationToken,
    ) -> OpenChain {
        let open = chain.steps.iter().map(|_| None).collect();
        OpenChain { class, chain, on_bad_object, open, stopped }
    }

    /// Linear memory of the instance of the last step, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.open.last().and_then(Option::as_ref).map_or(0, |(_, open)| open.memory_bytes())
    }

    /// Passes the rows of one shard through a step.
    fn apply(
        &mut self,
        steps: &[ClassStep],
        place: usize,
        shard: u32,
        rows: RowBatch,
    ) -> Result<Transformed, TransformError> {
        let (Some(step), Some(slot)) = (steps.get(place), self.open.get_mut(place)) else {
            let (refused, counters) = (Vec::new(), Vec::new());
            return Ok(Transformed { rows, refused, counters });
        };
        let class = &*self.class.name;
        let failed = |source| TransformError::Guest {
            class: class.to_owned(),
            transform: step.name.clone(),
            source,
        };
        // A tenant's transform gets an instance that never held the rows of another tenant.
        let of_shard = step.shards.as_ref().map(|_| shard);
        let mut open = match slot.take().filter(|(of, _)| *of == of_shard) {
            Some((_, transformer)) => transformer,
            None => {
                let opening = step.run.open(&step.input, &step.options, step.reach());
                wait(&self.stopped, opening)?.map_err(failed)?
            }
        };
        if *open.output() != step.output {
            let (class, transform) = (class.to_owned(), step.name.clone());
            return Err(TransformError::OtherColumns { class, transform });
        }
        let transformed = wait(&self.stopped, open.apply(rows))?.map_err(failed)?;
        *slot = Some((of_shard, open));
        Ok(transformed)
    }

    /// Treats rows that a step refused as the export requires.
    fn refuse(
        &self,
        step: &ClassStep,
        shard: u32,
        refused: Vec<RefusedRow>,
        report: &mut TransformReport,
    ) -> Result<(), TransformError> {
        if refused.is_empty() {
            return Ok(());
        }
        let name = self.class.shards.get(shard as usize).map(|shard| shard.name.to_string());
        let name = name.unwrap_or_default();
        report.count_refused(shard, refused.len() as u64);
        for RefusedRow { id, reason } in refused {
            let (class, shard) = (self.class.name.to_string(), name.clone());
            let (id, transform) = (Uuid::from_bytes(id), step.name.clone());
            match self.on_bad_object {
                OnBadObject::Fail => {
                    return Err(TransformError::Refused { class, shard, id, transform, reason });
                }
                OnBadObject::Skip => {}
                OnBadObject::Quarantine => {
                    report.list(RefusedObject { id, class, shard, transform, reason });
                }
            }
        }
        Ok(())
    }
}

/// Waits for a guest on a thread that may block, unless the export is stopped.
fn wait<T>(
    stopped: &CancellationToken,
    call: impl Future<Output = T>,
) -> Result<T, TransformError> {
    // The exporter calls this through its cursor, which blocks its thread as reading a disk does.
    futures::executor::block_on(stopped.run_until_cancelled(call)).ok_or(TransformError::Stopped)
}

/// The rows of a source, such as a unit, transformed. Read forward once.
pub(crate) struct TransformedRows<S> {
    source: S,
    chain: OpenChain,
    /// Rows of one shard each that were read and not transformed.
    waiting: VecDeque<Batch>,
    /// Rows that were transformed and not handed out.
    ready: Option<Batch>,
    rows: RowSums,
    report: TransformReport,
}

#[derive(Default)]
struct RowSums {
    read: u64,
    handed_out: u64,
    /// Dropped and refused.
    taken_out: u64,
}

impl<S> TransformedRows<S> {
    /// The rows of `source` after the transforms of `chain`.
    pub fn new(source: S, chain: OpenChain) -> TransformedRows<S> {
        TransformedRows {
            source,
            chain,
            waiting: VecDeque::new(),
            ready: None,
            rows: RowSums::default(),
            report: TransformReport::default(),
        }
    }

    /// The source, what became of its rows, and the transforms for the next one.
    pub fn into_parts(self) -> (S, TransformReport, OpenChain) {
        (self.source, self.report, self.chain)
    }

    /// Passes the rows of one shard through all steps that cover it.
    fn transform(&mut self, batch: Batch) -> Result<Option<Batch>, TransformError> {
        let Batch { mut rows, runs } = batch;
        let Some(shard) = runs.first().map(|run| run.shard) else { return Ok(None) };
        let steps = Arc::clone(&self.chain.chain.steps);
        for (place, step) in steps.iter().enumerate() {
            if !step.covers(shard) {
                continue;
            }
            let rows_in = u64::from(rows.row_count);
            let transformed = self.chain.apply(&steps, place, shard, rows)?;
            rows = transformed.rows;
            let rows_kept = u64::from(rows.row_count);
            let sums = self.report.sums.entry(step.index).or_default();
            sums.rows_in = sums.rows_in.saturating_add(rows_in);
            sums.rows_kept = sums.rows_kept.saturating_add(rows_kept);
            let rows_refused = transformed.refused.len() as u64;
            sums.rows_refused = sums.rows_refused.saturating_add(rows_refused);
            sums.count(transformed.counters.iter().map(|(name, count)| (name, count)));
            let taken_out = rows_in.saturating_sub(rows_kept);
            self.rows.taken_out = self.rows.taken_out.saturating_add(taken_out);
            self.chain.refuse(step, shard, transformed.refused, &mut self.report)?;
            if rows.row_count == 0 {
                return Ok(None);
            }
        }
        Ok(Some(of_one_shard(shard, rows)))
    }

    /// Hands out as much of transformed rows as the limits allow: edits may have made them larger.
    fn hand_out(&mut self, batch: Batch, limits: BatchLimits) -> Batch {
        let Batch { rows, runs } = batch;
        let all = rows.row_count as usize;
        let fitting = rows_within(&rows, limits);
        if fitting >= all {
            self.rows.handed_out = self.rows.handed_out.saturating_add(all as u64);
            return Batch { rows, runs };
        }
        let shard = runs.first().map_or(0, |run| run.shard);
        let (first, rest) = (0..fitting, fitting..all);
        self.ready = Some(of_one_shard(shard, rows.select(&[rest])));
        self.rows.handed_out = self.rows.handed_out.saturating_add(fitting as u64);
        of_one_shard(shard, rows.select(&[first]))
    }

    fn check_sums(&self) -> Result<(), TransformError> {
        let RowSums { read, handed_out, taken_out } = self.rows;
        let accounted = handed_out.saturating_add(taken_out);
        if read == accounted {
            return Ok(());
        }
        Err(TransformError::Sums { class: self.chain.class.name.to_string(), read, accounted })
    }
}

impl<S: Cursor> Cursor for TransformedRows<S> {
    fn schema(&self) -> &Schema {
        &self.chain.chain.schema
    }

    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        if self.chain.chain.steps.is_empty() {
            return self.source.next_batch(limits);
        }
        loop {
            if let Some(ready) = self.ready.take() {
                return Ok(Some(self.hand_out(ready, limits)));
            }
            if let Some(batch) = self.waiting.pop_front() {
                self.ready = self.transform(batch)?;
                continue;
            }
            let Some(batch) = self.source.next_batch(limits)? else {
                self.check_sums()?;
                return Ok(None);
            };
            self.rows.read = self.rows.read.saturating_add(u64::from(batch.rows.row_count));
            self.waiting = by_shard(batch);
        }
    }
}

/// The rows of each shard as a batch of their own.
fn by_shard(batch: Batch) -> VecDeque<Batch> {
    if batch.runs.len() <= 1 {
        return [batch].into();
    }
    let mut start = 0_usize;
    let split = batch.runs.iter().map(|run| {
        let end = start.saturating_add(usize::try_from(run.rows).unwrap_or(usize::MAX));
        let rows = batch.rows.select(std::slice::from_ref(&(start..end)));
        start = end;
        Batch { rows, runs: vec![run.clone()] }
    });
    split.collect()
}

/// A batch of rows of one shard.
fn of_one_shard(shard: u32, rows: RowBatch) -> Batch {
    let count = rows.row_count;
    let last = (count as usize).saturating_sub(1);
    let run = ShardRun {
        shard,
        rows: count.into(),
        first_id: rows.id(0).unwrap_or_default(),
        last_id: rows.id(last).unwrap_or_default(),
    };
    Batch { rows, runs: vec![run] }
}

/// The first rows that are within the limits, at least one.
fn rows_within(rows: &RowBatch, limits: BatchLimits) -> usize {
    let max_rows = limits.max_rows.max(1) as usize;
    let all = rows.row_count as usize;
    let max_bytes = u64::from(limits.max_bytes);
    if rows.value_bytes() <= max_bytes {
        return all.min(max_rows);
    }
    let mut bytes = 0_u64;
    let fitting = rows.row_bytes().into_iter().take_while(|row| {
        bytes = bytes.saturating_add(*row);
        bytes <= max_bytes
    });
    fitting.count().clamp(1, max_rows)
}
