//! How loading and running a guest can fail, each with its evidence.
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use offloom_rows::CursorError;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use crate::component::GuestKind;
use crate::limits::SandboxLimits;
use crate::log::{GuestLog, escape};

/// Why a component was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Bytes that are no WebAssembly component; says what they look like.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// Larger than the limit.
    #[error("the component has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It has more parts of a kind than allowed.
    #[error("the component has more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// It was built for another version of the contract.
    #[error(
        "the component names `{name}`, but this host has version {supported} of the contract: build it with the `wit/` of this release"
    )]
    OtherContract {
        /// The import or export as the component names it.
        name: String,
        /// The version of this host.
        supported: &'static str,
    },
    /// It asks for something that is not granted.
    #[error("the component imports `{name}`, which guests are not granted")]
    ForbiddenImport {
        /// The import as the component names it.
        name: String,
    },
    /// It implements neither world of this version.
    #[error(
        "the component fits neither of the worlds exporter-guest and transform-guest of offloom:export@0.1.0: {0}"
    )]
    WrongWorld(String),
    /// It is a guest of the other kind.
    #[error("the component is a guest of the kind `{found}`, and `{expected}` is needed here")]
    WrongKind {
        /// What is asked for.
        expected: GuestKind,
        /// What it is.
        found: GuestKind,
    },
    /// It needs more instances, tables or memories than allowed, or features that are off.
    #[error("the component was refused: {0}")]
    Refused(String),
    /// Compiling it took more than allowed.
    #[error(
        "compiling the component took more than {0}: build a smaller one, with fewer dependencies and optimised for size"
    )]
    CompilerLimit(CompilerLimit),
    /// The process that compiles ended without an answer; says how.
    #[error("the component was not compiled: {0}")]
    CompilerFailed(String),
    /// The directory of compiled guests is not safe to use.
    #[error("the cache directory {} {problem}", path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The sandbox itself could not be set up.
    #[error("the sandbox could not be set up: {0}")]
    Setup(String),
}

/// A limit of [`crate::SandboxLimits`] on compiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompilerLimit {
    /// Memory, in bytes.
    #[error("{} MiB of memory", .0 >> 20)]
    Memory(u64),
    /// Processor time.
    #[error("{0:?} of processor time")]
    Time(Duration),
    /// Wall-clock time.
    #[error("{0:?}")]
    Wall(Duration),
}

/// Why a call of a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The guest answered with an error.
    #[error("the guest refused: {0}")]
    Refused(Refusal),
    /// The guest stopped because the export was cancelled.
    #[error("the guest stopped: the export was cancelled")]
    Canceled,
    /// The guest trapped. `log` is the end of what it wrote to its log, escaped; may be empty.
    #[error("the guest trapped: {kind}{}", evidence(log))]
    Trap {
        /// What kind of trap.
        kind: TrapKind,
        /// The last lines of its log.
        log: String,
    },
    /// The guest used more than it may.
    #[error("the guest broke a limit: {0}")]
    Limit(#[from] Breach),
    /// The guest did not do what `wit/exporter.wit` asks.
    #[error("the guest broke the contract: {0}")]
    Contract(#[from] ContractBreach),
    /// The rows could not be read: the source's own error, whatever the guest made of it.
    #[error(transparent)]
    Rows(#[from] CursorError),
    /// The instance was dropped after an earlier error; open another.
    #[error("this instance of the guest ended with an earlier error")]
    Ended,
    /// The sandbox failed, not the guest.
    #[error("the sandbox failed: {0}")]
    Host(String),
}

fn evidence(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" (last log lines: {log})") }
}

/// An error that a guest answered with; texts are escaped and cut to 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The rows could not be read.
    #[error("rows are unavailable: {0}")]
    Unavailable(String),
    /// Data breaks its own rules.
    #[error("invalid data: {0}")]
    InvalidData(String),
    /// A type or option that the guest does not handle.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What stopped a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrapKind {
    /// An `unreachable` instruction: what a panic ends in.
    Unreachable,
    /// Too deep a recursion.
    StackOverflow,
    /// A read or write outside its memory.
    MemoryOutOfBounds,
    /// It called `exit` with this status.
    Exit(i32),
    /// It handed the host a handle that it does not have.
    BadHandle(String),
    /// Anything else, in wasmtime's words.
    Other(String),
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrapKind::Unreachable => f.write_str("unreachable code or a panic"),
            TrapKind::StackOverflow => f.write_str("the call stack is exhausted"),
            TrapKind::MemoryOutOfBounds => f.write_str("access outside of its memory"),
            TrapKind::Exit(status) => write!(f, "it exited with status {status}"),
            TrapKind::BadHandle(text) => write!(f, "a handle that it does not have: {text}"),
            TrapKind::Other(text) => f.write_str(text),
        }
    }
}

/// A limit of [`crate::SandboxLimits`] that a guest overstepped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Too long without reading a row or writing a byte.
    #[error("more than {0:?} of processor time without reading or writing")]
    CpuBetweenMoves(Duration),
    /// Too much processor time of all instances of the export.
    #[error(
        "more than {0:?} of processor time in one export; raise --guest-cpu-seconds (guest_cpu_seconds)"
    )]
    CpuPerExport(Duration),
    /// A call took too long.
    #[error("a call took more than {0:?}")]
    Wall(Duration),
    /// Linear memory.
    #[error(
        "more than {limit} bytes of memory ({wanted} wanted); the limit grows with --max-object-bytes"
    )]
    Memory {
        /// What it asked for, in bytes.
        wanted: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// Table elements.
    #[error("more than {limit} table elements ({wanted} wanted)")]
    TableElements {
        /// What it asked for.
        wanted: usize,
        /// What is allowed.
        limit: usize,
    },
    /// One write to an output.
    #[error("a write of {bytes} bytes, more than {limit}")]
    Write {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// One write to standard output or standard error.
    #[error("a write of {bytes} bytes to its log, more than {limit}")]
    LogWrite {
        /// Its size.
        bytes: usize,
        /// What is allowed, and what `check-write` answers.
        limit: usize,
    },
    /// All writes to one output.
    #[error(
        "more than {limit} bytes of output; the limit of a block grows with --max-object-bytes"
    )]
    Output {
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// All blocks, or all edits, of one export.
    #[error("more than {limit} bytes of output in one export")]
    OutputPerExport {
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// The bytes before the first block.
    #[error("a prologue of {bytes} bytes, more than {limit}")]
    Prologue {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// All edits of one instance.
    #[error("more than {limit} bytes of edits")]
    Edits {
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// Notes of the blocks of one file.
    #[error("more than {limit} bytes of notes")]
    Notes {
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// Buffers that the host holds for the guest.
    #[error(
        "more than {limit} bytes in buffers of the host; drop each when it is written (the limit grows with --max-object-bytes)"
    )]
    Held {
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// Input of the lent compression.
    #[error("{bytes} bytes to compress in one call, more than {limit}")]
    Compress {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Bytes that crossed to the host in one call.
    #[error("more than {limit} bytes handed to the host in one call")]
    CallBytes {
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// Handles or resources.
    #[error("too many resources at once")]
    Resources,
}

/// A rule of `wit/exporter.wit` that a guest broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractBreach {
    /// `describe` named an extension that is no `^[a-z0-9.]{1,16}$`.
    #[error("the file name extension `{0}` is not 1 to 16 of a-z, 0-9 and `.`")]
    Extension(String),
    /// `plan` named a class that was not offered.
    #[error("it planned class `{0}`, which was not offered")]
    NotOffered(String),
    /// `plan` named a class twice.
    #[error("it planned class `{0}` twice")]
    PlannedTwice(String),
    /// `encode` returned before the cursor was at its end.
    #[error("it did not read its rows to the end ({0} were read)")]
    RowsLeft(u64),
    /// `encode` says another number of rows than it was handed.
    #[error("it was handed {handed_out} rows and says {said}")]
    RowCount {
        /// Rows that the cursor handed out.
        handed_out: u64,
        /// Rows that the guest says it encoded.
        said: u64,
    },
    /// A block without rows has bytes.
    #[error("it wrote {0} bytes for no rows")]
    BytesWithoutRows(u64),
    /// A block with rows has no bytes: they would be missing from the file.
    #[error("it took {0} rows and wrote nothing")]
    RowsWithoutBytes(u64),
    /// The shape of a transform, or its edits, break a rule; says which.
    #[error("{0}")]
    Transform(#[from] TransformBreach),
    /// Too many counters, or a name that is too long or has characters other than printable ASCII.
    #[error("its counters are not 64 at most, with names of 1 to 64 printable ASCII characters")]
    Counters,
}

/// A rule of `wit/transform.wit` that a transform broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransformBreach {
    /// A column that its input does not have.
    #[error("its shape names the column `{0}`, which its input does not have")]
    UnknownColumn(String),
    /// A column twice in one list, or written and dropped.
    #[error("its shape names the column `{0}` twice")]
    ColumnTwice(String),
    /// It would change who a row belongs to.
    #[error("its shape changes the column `{0}`, which no transform may change")]
    FixedColumn(&'static str),
    /// A name that no column can have.
    #[error(
        "its shape has the column name `{0}`, which is not 1 to 256 bytes without control characters"
    )]
    ColumnName(String),
    /// More columns than a class may have.
    #[error("its shape leads to more than {0} columns")]
    TooManyColumns(usize),
    /// For single tenants, the columns must stay as they are.
    #[error(
        "its shape {change} the column `{column}`, which a transform of single tenants may not do"
    )]
    TenantColumn {
        /// What it does to it.
        change: &'static str,
        /// The column.
        column: String,
    },
    /// `shape` had another answer before.
    #[error("its shape is another than before")]
    ShapeChanged,
    /// Another number of columns than `shape` writes.
    #[error("its edits have {found} columns, and its shape writes {expected}")]
    ColumnCount {
        /// Those of the edits.
        found: usize,
        /// Those of the shape.
        expected: usize,
    },
    /// A column that does not hold a value of its type for each row.
    #[error("its edits of the column `{column}` have {problem}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `keep` has another length than the rows need.
    #[error("its edits keep {found} bytes of bits, and the rows need {expected}")]
    Keep {
        /// Bytes of `keep`.
        found: usize,
        /// Bytes that the rows need.
        expected: usize,
    },
    /// A refused row that is not in the batch, or out of order.
    #[error("its edits refuse row {0}, which is not in the batch or not in order")]
    RefusedRow(u32),
    /// A row that is larger than an object may be.
    #[error("its edits make a row of {bytes} bytes, more than {limit}")]
    RowBytes {
        /// Bytes of the row.
        bytes: u64,
        /// Those of the largest object.
        limit: u64,
    },
}

impl From<TransformBreach> for GuestError {
    fn from(breach: TransformBreach) -> GuestError {
        GuestError::Contract(breach.into())
    }
}

/// What an error of wasmtime says about the guest.
pub(crate) fn explain(
    error: wasmtime::Error,
    log: &GuestLog,
    limits: &SandboxLimits,
) -> GuestError {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return GuestError::Limit(breach.clone());
    }
    if let Some(full @ ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        tracing::debug!(%full, "a guest holds too many resources");
        return Breach::Resources.into();
    }
    let kind = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        TrapKind::Exit(exit.0)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        match trap {
            Trap::UnreachableCodeReached => TrapKind::Unreachable,
            Trap::StackOverflow => TrapKind::StackOverflow,
            Trap::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
            other => TrapKind::Other(other.to_string()),
        }
    } else {
        // wasmtime has no types for these; tests with real guests pin the words.
        let text = error.root_cause().to_string();
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Breach::CallBytes { limit: limits.call_bytes }.into();
        }
        if text.contains("handle limit exceeded") {
            return Breach::Resources.into();
        }
        let text = escape(&text, 1024);
        if text.contains("handle") { TrapKind::BadHandle(text) } else { TrapKind::Other(text) }
    };
    GuestError::Trap { kind, log: log.last_lines() }
}
