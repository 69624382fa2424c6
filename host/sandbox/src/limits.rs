//! Everything that bounds a guest: the only place for these numbers. `docs/guests.md` and
//! `wit/worlds.wit` list them, and a test compares.
use std::time::Duration;

/// Time between two ticks of the epoch clock: the resolution of all processor time limits.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Bytes that a guest may write in one call of `sink.write` (`wit/sink.wit`).
pub(crate) const MAX_WRITE_BYTES: usize = 1024 * 1024;

/// Bytes that a guest may compress in one call: the row limit and 1 MiB (`wit/codec.wit`).
pub(crate) const MAX_COMPRESS_BYTES: usize = 33 * 1024 * 1024;

/// The highest level of compression that is lent.
pub(crate) const MAX_COMPRESS_LEVEL: i32 = 9;

/// Counters of one block and bytes of a counter's name (`wit/exporter.wit`).
pub(crate) const MAX_COUNTERS: usize = 64;
pub(crate) const MAX_COUNTER_NAME_BYTES: usize = 64;

/// Bounds of the block size that a guest may ask for.
pub(crate) const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024;

/// What one instance of a guest may use. Every limit is in force before the guest's first
/// instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxLimits {
    /// Size of a component file. Default 64 MiB.
    pub component_bytes: usize,
    /// Linear memory, summed over all memories of an instance. Default 256 MiB.
    pub memory_bytes: usize,
    /// Core instances in one component. Default 16.
    pub instances: usize,
    /// Tables in one component. Default 32.
    pub tables: usize,
    /// Elements, summed over all tables. Default 100,000.
    pub table_elements: usize,
    /// Linear memories in one component. Default 4.
    pub memories: usize,
    /// Handles that exist at once. Default 1,024.
    pub handles: usize,
    /// Resources that the host holds for a guest at once. Default 256.
    pub resources: usize,
    /// Processor time, compression included, between two calls that move rows or bytes. Default 10 s.
    pub cpu_between_moves: Duration,
    /// Processor time of one instance, compression included. Default 1 h.
    pub cpu_per_instance: Duration,
    /// Wall-clock time of each call except `encode`. Default 30 s.
    pub wall_per_call: Duration,
    /// Bytes that may cross from the guest to the host in one call. Default 34 MiB.
    pub call_bytes: usize,
    /// Bytes of the prologue. Default 1 MiB.
    pub prologue_bytes: usize,
    /// Bytes of the epilogue. Default 64 MiB.
    pub epilogue_bytes: u64,
    /// Bytes of all notes of one file. Default 32 MiB.
    pub notes_bytes: u64,
    /// The blocks of an instance have at most this many times the bytes of their rows ... Default 4.
    pub output_factor: u64,
    /// ... plus this many bytes. Default 64 MiB.
    pub output_extra_bytes: u64,
    /// Bytes of one log line; the rest of the line is dropped. Default 1,024.
    pub log_line_bytes: usize,
    /// Bytes of log lines in one export; further lines are counted. Default 512,000.
    pub log_bytes: usize,
}

impl Default for SandboxLimits {
    fn default() -> SandboxLimits {
        const MIB: usize = 1024 * 1024;
        SandboxLimits {
            component_bytes: 64 * MIB,
            memory_bytes: 256 * MIB,
            instances: 16,
            tables: 32,
            table_elements: 100_000,
            memories: 4,
            handles: 1024,
            resources: 256,
            cpu_between_moves: Duration::from_secs(10),
            cpu_per_instance: Duration::from_secs(3600),
            wall_per_call: Duration::from_secs(30),
            call_bytes: 34 * MIB,
            prologue_bytes: MIB,
            epilogue_bytes: 64 * MIB as u64,
            notes_bytes: 32 * MIB as u64,
            output_factor: 4,
            output_extra_bytes: 64 * MIB as u64,
            log_line_bytes: 1024,
            log_bytes: 512_000,
        }
    }
}

impl SandboxLimits {
    /// Bytes that one block may have: twice the clamped block size plus the largest row.
    pub(crate) fn block_output_bytes(block_bytes: u64) -> u64 {
        block_bytes.saturating_mul(2).saturating_add(offloom_rows::MAX_ROW_BYTES)
    }
}
