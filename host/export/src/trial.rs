//! Tries guests on the first rows of a class. Nothing is written.
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use offloom_rows::{Batch, BatchLimits, Cursor, CursorError, MAX_BATCH_BYTES, Schema};
use offloom_sandbox::{GuestError, GuestOptions, GuestRun, PlacedBlock, TransformRun};
use offloom_weaviate_disk::{
    Class, DataDirectory, OnBadObject, ReadOptions, UnitCursor, UnitOptions, Units,
};
use serde_json::Value;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::authorize::Authorized;
use crate::refused::{RefusedObject, StepSums, TransformReport};
use crate::request::NamedExporter;
use crate::row_json::rows_as_json;
use crate::scope::{Scope, ScopeError};
use crate::transfer::transformed_rows::{OpenChain, TransformedRows};
use crate::transforms::{ClassChain, TransformStep, TransformsError, class_chain, export_steps};
use crate::workers::Workers;

/// Most rows of a trial.
pub const MAX_TRIAL_ROWS: u32 = 1_000;

/// Bytes of a file that a trial returns.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What is tried.
pub struct Trial {
    /// The class.
    pub class: String,
    /// It alone, and of its tenants those that are read. It is the one that was authorized.
    pub scope: Scope,
    /// How many rows are read, at most [`MAX_TRIAL_ROWS`].
    pub rows: u32,
    /// What the rows pass: the operator's transforms, then those that are tried.
    pub transforms: Vec<TransformStep>,
    /// The exporter that is tried, with its options.
    pub exporter: Option<(NamedExporter, GuestOptions)>,
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The class does not exist.
    #[error("class {0} does not exist")]
    UnknownClass(String),
    /// The scope is invalid.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// A transform refuses the class.
    #[error(transparent)]
    Transforms(#[from] TransformsError),
    /// The exporter failed.
    #[error("the exporter: {0}")]
    Exporter(#[from] GuestError),
    /// The rows cannot be read, or a transform failed.
    #[error("{0}")]
    Rows(CursorError),
    /// The trial panicked or its runtime stopped.
    #[error("the trial was stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// What a trial showed.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Rows that were read.
    pub rows_in: u64,
    /// Rows that stayed.
    pub rows_kept: u64,
    /// Rows that the last transform refused.
    pub rows_refused: u64,
    /// Their ids and reasons.
    pub refused: Vec<(String, String)>,
    /// The rows that stayed, as JSON; long vectors are shortened.
    pub rows: Vec<Value>,
    /// What the guest counted.
    pub counters: BTreeMap<String, u64>,
    /// The file, of an exporter.
    pub file: Option<TriedFile>,
    /// From the first row to the last.
    pub wall: Duration,
    /// Processor time of the guest.
    pub processor: Duration,
    /// Memory of its instance, in bytes.
    pub memory_bytes: usize,
}

/// The file of a trial.
#[derive(Debug, Clone)]
pub struct TriedFile {
    /// The name of its format.
    pub format: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its first bytes, at most 64 KiB.
    pub head: Bytes,
}

impl Trial {
    /// Reads the first rows and passes them on.
    ///
    /// # Errors
    /// [`TrialError`].
    pub async fn run(self, authorized: Authorized, workers: &Workers) -> Result<Tried, TrialError> {
        let Trial { class: name, mut scope, rows, transforms, exporter } = self;
        // Every refused row is shown, and none is stored.
        scope.on_bad_object = OnBadObject::Quarantine;
        scope.quarantine_raw = false;
        let class = authorized.readable().iter().find(|class| *class.name == *name).cloned();
        let class = class.ok_or(TrialError::UnknownClass(name))?;
        let (class, reading) = scope.apply(class, offloom_rows::ObjectLimit::DEFAULT)?;
        let steps = export_steps(transforms, workers).await?;
        let chain = class_chain(&class, &steps, workers).await?;
        let tried = match exporter {
            Some((exporter, options)) => Tries::Exporter(exporter.guest.for_export(), options),
            None => Tries::Transforms(steps.last().map(|step| step.run.clone())),
        };
        let directory = authorized.directory().clone();
        let rows = rows.clamp(1, MAX_TRIAL_ROWS);
        let reading = FirstRows::new(&directory, &class, reading, rows);
        let run = move || {
            let open = OpenChain::new(
                class,
                chain.clone(),
                OnBadObject::Quarantine,
                CancellationToken::new(),
            );
            tried.run(TransformedRows::new(reading, open), &chain)
        };
        workers.call_blocking(run).await?
    }
}

/// The guest that is tried.
enum Tries {
    Exporter(GuestRun, GuestOptions),
    Transforms(Option<TransformRun>),
}

impl Tries {
    fn run(
        self,
        mut rows: TransformedRows<FirstRows>,
        chain: &ClassChain,
    ) -> Result<Tried, TrialError> {
        let started = Instant::now();
        let mut shown = Vec::new();
        let (mut counters, mut file, mut memory_bytes) = (None, None, None);
        let processor;
        match self {
            Tries::Transforms(run) => {
                let limits = BatchLimits { max_rows: MAX_TRIAL_ROWS, max_bytes: MAX_BATCH_BYTES };
                while let Some(batch) = rows.next_batch(limits).map_err(TrialError::Rows)? {
                    shown.extend(rows_as_json(&batch.rows, &chain.schema));
                }
                processor = run.map(|run| run.processor_time()).unwrap_or_default();
            }
            Tries::Exporter(run, options) => {
                let encoding = encode(&run, &options, &chain.schema, rows);
                let encoded = futures::executor::block_on(encoding)?;
                rows = encoded.rows;
                counters = Some(encoded.counters.into_iter().collect());
                (file, memory_bytes) = (Some(encoded.file), Some(encoded.memory_bytes));
                processor = run.processor_time();
            }
        }
        let (source, report, open) = rows.into_parts();
        let TransformReport { sums, listed, .. } = report;
        let last = sums.last_key_value().map(|(_, sums)| sums.clone());
        let rows_in = source.read;
        let StepSums { rows_kept, rows_refused, counters: counted, .. } =
            last.unwrap_or(StepSums { rows_in, rows_kept: rows_in, ..StepSums::default() });
        let refused = listed.into_iter();
        let refused = refused.map(|RefusedObject { id, reason, .. }| (id.to_string(), reason));
        Ok(Tried {
            rows_in,
            rows_kept,
            rows_refused,
            refused: refused.collect(),
            rows: shown,
            counters: counters.unwrap_or(counted),
            file,
            wall: started.elapsed(),
            processor,
            memory_bytes: memory_bytes.unwrap_or_else(|| open.memory_bytes()),
        })
    }
}

struct Encoded {
    rows: TransformedRows<FirstRows>,
    counters: Vec<(String, u64)>,
    file: TriedFile,
    memory_bytes: usize,
}

/// One file with one block.
async fn encode(
    run: &GuestRun,
    options: &GuestOptions,
    schema: &Schema,
    rows: TransformedRows<FirstRows>,
) -> Result<Encoded, TrialError> {
    let format = run.describe(options).await?;
    let mut encoder = run.open(schema, options, format.block_bytes).await?;
    let prologue = encoder.prologue().await?;
    let encoded = encoder.encode_and_return(rows).await;
    let (block, rows) = encoded.map_err(|(error, _)| TrialError::from(error))?;
    let memory_bytes = encoder.memory_bytes();
    let counters = block.block.counters.clone();
    let offset = prologue.len() as u64;
    let placed = PlacedBlock { offset, length: block.length, block: block.block };
    let placed = if block.length > 0 { vec![placed] } else { Vec::new() };
    let epilogue = encoder.assemble(placed).await?;
    let pieces: Vec<Bytes> =
        std::iter::once(prologue).chain(block.chunks).chain(epilogue).collect();
    let sizes = pieces.iter().map(|piece| piece.len() as u64);
    let size_bytes = sizes.fold(0, u64::saturating_add);
    let head: Vec<u8> = pieces.iter().flatten().copied().take(MAX_HEAD_BYTES).collect();
    let file = TriedFile { format: format.name, size_bytes, head: head.into() };
    Ok(Encoded { rows, counters, file, memory_bytes })
}

/// The first rows of a class.
struct FirstRows {
    schema: Schema,
    units: Units,
    reading: ReadOptions,
    current: Option<UnitCursor>,
    left: u32,
    /// Rows so far.
    read: u64,
}

impl FirstRows {
    fn new(directory: &DataDirectory, class: &Class, reading: ReadOptions, rows: u32) -> FirstRows {
        FirstRows {
            schema: class.row_schema(),
            units: directory.units(class, UnitOptions::new(MAX_BATCH_BYTES.into())),
            reading,
            current: None,
            left: rows,
            read: 0,
        }
    }
}

impl Cursor for FirstRows {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        while self.left > 0 {
            if self.current.is_none() {
                let Some(unit) = self.units.next() else { return Ok(None) };
                self.current = Some(UnitCursor::open(&unit, &self.reading));
            }
            let limits = BatchLimits { max_rows: limits.max_rows.min(self.left), ..limits };
            let Some(current) = &mut self.current else { return Ok(None) };
            match current.next_batch(limits)? {
                Some(batch) => {
                    self.left = self.left.saturating_sub(batch.rows.row_count);
                    self.read = self.read.saturating_add(batch.rows.row_count.into());
                    return Ok(Some(batch));
                }
                None => self.current = None,
            }
        }
        Ok(None)
    }
}
