//! Everything that bounds a guest: the only place for these numbers. `docs/guests.md` and
//! `wit/worlds.wit` list them, and a test compares.
use std::ops::RangeInclusive;
use std::time::Duration;

use offloom_rows::ObjectLimit;

/// Time between two ticks of the epoch clock: the resolution of all processor time limits.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Bytes that a guest may write in one call of `sink.write` (`wit/sink.wit`).
pub(crate) const MAX_WRITE_BYTES: usize = 1024 * 1024;

/// Bytes of one write to standard output or standard error.
pub(crate) const MAX_LOG_WRITE_BYTES: usize = 64 * 1024;

/// Memory of a guest for each further byte of the largest object. The default guest needs up to five
/// times the bytes of properties, and more for vectors by name, which therefore count more.
const MEMORY_FACTOR: usize = 8;

/// Bytes in buffers of the host for each further byte of the largest object: rows, and what is made of
/// them.
const HELD_FACTOR: u64 = 4;

/// Bytes of a block for each further byte of the largest object: a number of 4 bytes has up to 15 as
/// text.
const ROW_OUTPUT_FACTOR: u64 = 4;

/// An algorithm of `wit/codec.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Zstd,
    Gzip,
    Lz4Raw,
    Snappy,
    Brotli,
}

impl Algorithm {
    /// All that are lent, in the order of the documents.
    pub(crate) const ALL: [Algorithm; 5] =
        [Algorithm::Zstd, Algorithm::Gzip, Algorithm::Brotli, Algorithm::Lz4Raw, Algorithm::Snappy];

    /// The levels that are lent. Higher ones take so long for the largest input that the host could not
    /// stop a guest in time.
    pub(crate) fn levels(self) -> RangeInclusive<i32> {
        match self {
            Algorithm::Zstd | Algorithm::Gzip => 1..=9,
            Algorithm::Brotli => 0..=9,
            Algorithm::Lz4Raw | Algorithm::Snappy => 0..=0,
        }
    }

    /// Its name in the contract.
    fn name(self) -> &'static str {
        match self {
            Algorithm::Zstd => "zstd",
            Algorithm::Gzip => "gzip",
            Algorithm::Lz4Raw => "lz4-raw",
            Algorithm::Snappy => "snappy",
            Algorithm::Brotli => "brotli",
        }
    }
}

/// The levels of all algorithms: `zstd 1 to 9, ..., snappy 0`.
pub(crate) fn lent_levels() -> String {
    let levels = Algorithm::ALL.map(|algorithm| {
        let levels = algorithm.levels();
        match (levels.start(), levels.end()) {
            (least, most) if least == most => format!("{} {least}", algorithm.name()),
            (least, most) => format!("{} {least} to {most}", algorithm.name()),
        }
    });
    levels.join(", ")
}

/// Blocks of one file. The class then continues in another file: readers of Parquet fail at 32,767
/// row groups, and notes and footers stay bounded.
pub const MAX_BLOCKS_PER_FILE: usize = 16_384;

/// Native code of a component, as it is kept.
pub(crate) const MAX_CODE_BYTES: u64 = 512 * 1024 * 1024;

/// Components within components, the outermost and core modules counted. Tools that compose
/// components add a level each.
pub(crate) const MAX_NESTING: usize = 16;

/// Core modules of a component, those of nested components included.
pub(crate) const MAX_MODULES: usize = 64;

/// Functions of all core modules of a component, without imported ones.
pub(crate) const MAX_FUNCTIONS: usize = 200_000;

/// Counters of one block and bytes of a counter's name (`wit/exporter.wit`).
pub(crate) const MAX_COUNTERS: usize = 64;
pub(crate) const MAX_COUNTER_NAME_BYTES: usize = 64;

/// Columns of a class that transforms may lead to.
pub(crate) const MAX_COLUMNS: usize = 1_000;

/// Bytes of the name of a column that a transform adds.
pub(crate) const MAX_COLUMN_NAME_BYTES: usize = 256;

/// Bytes of the reason for which a row is refused; the rest is cut.
pub(crate) const MAX_REASON_BYTES: usize = 1024;

/// Options that a guest says it knows, and bytes of each text that it says of itself (`wit/about.wit`).
pub(crate) const MAX_KNOWN_OPTIONS: usize = 256;
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// Bounds of the block size that a guest may ask for.
pub(crate) const BLOCK_BYTES: RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024;

/// What one instance of a guest may use. Every limit is in force before the guest's first
/// instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxLimits {
    /// The largest object. Default 32 MiB. [`SandboxLimits::with_objects`] makes room for others.
    pub object_limit: ObjectLimit,
    /// Size of a component file. Default 64 MiB.
    pub component_bytes: usize,
    /// Memory of the process that compiles a component. Default 1 GiB.
    pub compile_bytes: u64,
    /// Processor time of compiling a component, of all threads together. Default 60 s.
    pub compile_time: Duration,
    /// Wall-clock time of compiling a component: a busy machine takes its time. Default 600 s.
    pub compile_wall: Duration,
    /// Linear memory, summed over all memories of an instance. Default 256 MiB.
    pub memory_bytes: usize,
    /// Core instances in one component: Python has about forty. Default 64.
    pub instances: usize,
    /// Tables in one component. Default 32.
    pub tables: usize,
    /// Elements, summed over all tables. Default 100,000.
    pub table_elements: usize,
    /// Linear memories in one component. Default 4.
    pub memories: usize,
    /// Handles that exist at once. Default 1,024.
    pub handles: usize,
    /// Resources that the host holds for a guest at once. Default 1,024.
    pub resources: usize,
    /// Processor time, the host's work for the guest included, between two calls that move rows or
    /// bytes. Default 10 s.
    pub cpu_between_moves: Duration,
    /// Processor time of all instances of an export, the host's work for them included; `None` for any.
    /// Default 1 h.
    pub cpu_per_export: Option<Duration>,
    /// Wall-clock time of each call except `encode`. Default 30 s.
    pub wall_per_call: Duration,
    /// Bytes that may cross from the guest to the host in one call. Default 34 MiB.
    pub call_bytes: usize,
    /// Bytes that a guest may compress in one call (`wit/codec.wit`). Default 33 MiB.
    pub compress_bytes: usize,
    /// Bytes of the buffers that an instance has handles of (`wit/held.wit`). Default 128 MiB.
    pub held_bytes: u64,
    /// Bytes of the prologue. Default 1 MiB.
    pub prologue_bytes: usize,
    /// Bytes of the epilogue. Default 64 MiB.
    pub epilogue_bytes: u64,
    /// Bytes of all notes of one file. Default 32 MiB.
    pub notes_bytes: u64,
    /// A block may have this many bytes more than twice the block size. Default 32 MiB.
    pub row_output_bytes: u64,
    /// The blocks of an instance have at most this many times the bytes of their rows ... Default 4.
    pub output_factor: u64,
    /// ... plus this many bytes. Default 64 MiB.
    pub output_extra_bytes: u64,
    /// Bytes of all blocks, or all edits, of an export; `None` for any. Default none.
    pub output_per_export: Option<u64>,
    /// Bytes of one log line; the rest of the line is dropped. Default 1,024.
    pub log_line_bytes: usize,
    /// Bytes of log lines in one export, 64 added to each line; further lines are counted. Default
    /// 512,000.
    pub log_bytes: usize,
}

impl Default for SandboxLimits {
    fn default() -> SandboxLimits {
        const MIB: usize = 1024 * 1024;
        SandboxLimits {
            object_limit: ObjectLimit::DEFAULT,
            component_bytes: 64 * MIB,
            compile_bytes: 1024 * MIB as u64,
            compile_time: Duration::from_secs(60),
            compile_wall: Duration::from_secs(600),
            memory_bytes: 256 * MIB,
            instances: 64,
            tables: 32,
            table_elements: 100_000,
            memories: 4,
            handles: 1024,
            resources: 1024,
            cpu_between_moves: Duration::from_secs(10),
            cpu_per_export: Some(Duration::from_secs(3600)),
            wall_per_call: Duration::from_secs(30),
            call_bytes: 34 * MIB,
            compress_bytes: 33 * MIB,
            held_bytes: 128 * MIB as u64,
            prologue_bytes: MIB,
            epilogue_bytes: 64 * MIB as u64,
            notes_bytes: 32 * MIB as u64,
            row_output_bytes: 32 * MIB as u64,
            output_factor: 4,
            output_extra_bytes: 64 * MIB as u64,
            output_per_export: None,
            log_line_bytes: 1024,
            log_bytes: 512_000,
        }
    }
}

impl SandboxLimits {
    /// These limits with room for objects of up to `limit`: some grow with the bytes that it has more
    /// than the default one (`docs/guests.md`). With a smaller limit they stay as they are.
    #[must_use]
    pub fn with_objects(self, limit: ObjectLimit) -> SandboxLimits {
        let default = ObjectLimit::DEFAULT.row_bytes();
        let more = limit.row_bytes().saturating_sub(default);
        // At most 480 MiB, so the casts are exact.
        let (more_bytes, more_steps) = (more as usize, more.div_ceil(default) as u32);
        SandboxLimits {
            object_limit: limit,
            memory_bytes: self
                .memory_bytes
                .saturating_add(more_bytes.saturating_mul(MEMORY_FACTOR)),
            cpu_between_moves: self.cpu_between_moves.saturating_mul(more_steps.saturating_add(1)),
            call_bytes: self.call_bytes.saturating_add(more_bytes),
            compress_bytes: self.compress_bytes.saturating_add(more_bytes),
            held_bytes: self.held_bytes.saturating_add(more.saturating_mul(HELD_FACTOR)),
            row_output_bytes: self
                .row_output_bytes
                .saturating_add(more.saturating_mul(ROW_OUTPUT_FACTOR)),
            ..self
        }
    }

    /// Bytes that all blocks of an instance, or all edits, may have for so many bytes of rows.
    pub(crate) fn output_bytes_of(&self, row_bytes: u64) -> u64 {
        row_bytes.saturating_mul(self.output_factor).saturating_add(self.output_extra_bytes)
    }

    /// Bytes that one block may have: twice the clamped block size and a share for the largest row.
    pub(crate) fn block_output_bytes(&self, block_bytes: u64) -> u64 {
        block_bytes.saturating_mul(2).saturating_add(self.row_output_bytes)
    }
}

#[cfg(test)]
mod tests {
    use offloom_rows::{MAX_BATCH_BYTES, MAX_BATCH_ROWS, MAX_CLASS_DEFINITION_BYTES};

    use super::*;

    /// Whole mebibytes.
    fn mib(bytes: u64) -> String {
        assert_eq!(bytes % (1024 * 1024), 0, "{bytes}");
        format!("{} MiB", bytes / (1024 * 1024))
    }

    /// With a comma at each thousand.
    fn count(number: usize) -> String {
        let digits = number.to_string();
        let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(<[u8]>::to_vec).collect();
        String::from_utf8(groups.join(&b',')).unwrap()
    }

    fn range(from: impl ToString, to: impl ToString) -> String {
        format!("{} to {}", from.to_string(), to.to_string())
    }

    /// The second column of the table, from the code.
    fn values() -> Vec<String> {
        let limits = SandboxLimits::default();
        let seconds = |time: Duration| format!("{} s", count(time.as_secs() as usize));
        let of_block = limits.block_output_bytes(1 << 20) - limits.row_output_bytes;
        let (factor, extra) = (limits.output_factor, mib(limits.output_extra_bytes));
        let (min_block, max_block) = (BLOCK_BYTES.start() >> 20, mib(*BLOCK_BYTES.end()));
        vec![
            mib(limits.component_bytes as u64),
            count(MAX_NESTING),
            count(MAX_MODULES),
            count(MAX_FUNCTIONS),
            mib(limits.compile_bytes),
            seconds(limits.compile_time),
            seconds(limits.compile_wall),
            count(limits.instances),
            count(limits.memories),
            count(limits.tables),
            count(limits.table_elements),
            mib(limits.memory_bytes as u64),
            count(limits.handles),
            count(limits.resources),
            seconds(limits.cpu_between_moves),
            seconds(limits.cpu_per_export.unwrap()),
            seconds(limits.wall_per_call),
            mib(limits.call_bytes as u64),
            mib(limits.held_bytes),
            range(min_block, max_block),
            count(MAX_BLOCKS_PER_FILE),
            count(MAX_BATCH_ROWS as usize),
            mib(u64::from(MAX_BATCH_BYTES)),
            mib(limits.object_limit.row_bytes()),
            mib(MAX_CLASS_DEFINITION_BYTES as u64),
            mib(MAX_WRITE_BYTES as u64),
            format!("{} x `block-bytes` + {}", of_block >> 20, mib(limits.row_output_bytes)),
            format!("{factor} x the bytes of their rows + {extra}"),
            format!("{factor} x the bytes of their rows + {extra}"),
            count(MAX_COLUMNS),
            range(1, MAX_COLUMN_NAME_BYTES),
            count(MAX_REASON_BYTES),
            count(MAX_KNOWN_OPTIONS),
            count(MAX_TEXT_BYTES),
            mib(limits.prologue_bytes as u64),
            mib(limits.epilogue_bytes),
            mib(limits.notes_bytes),
            count(MAX_COUNTERS),
            range(1, MAX_COUNTER_NAME_BYTES),
            mib(limits.compress_bytes as u64),
            lent_levels(),
            format!("{} KiB", MAX_LOG_WRITE_BYTES >> 10),
            count(limits.log_line_bytes),
            count(limits.log_bytes),
        ]
    }

    fn read(path: &str) -> String {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::read_to_string(root.join(path)).unwrap()
    }

    /// The rows of the table with this heading in a document.
    fn table(path: &str, heading: &str) -> Vec<(String, String)> {
        let text = read(path);
        let lines = text.lines().map(|line| line.trim_start_matches("///").trim());
        let rows = lines.skip_while(|line| *line != heading).skip(2);
        rows.map_while(|line| {
            let (limit, value) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
            Some((limit.to_owned(), value.to_owned()))
        })
        .collect()
    }

    #[test]
    fn the_documents_list_the_limits_of_the_code() {
        let heading = "| limit | default |";
        let documented = table("wit/worlds.wit", heading);
        assert_eq!(documented, table("docs/guests.md", heading));
        let numbers: Vec<String> = documented.into_iter().map(|(_, value)| value).collect();
        assert_eq!(numbers, values());
    }

    #[test]
    fn the_documents_say_how_limits_grow_with_the_largest_object() {
        let heading = "| limit | with `--max-object-bytes` N above 32 MiB |";
        let documented = table("wit/worlds.wit", heading);
        assert_eq!(documented, table("docs/guests.md", heading));
        let formulas: Vec<String> = documented.into_iter().map(|(_, formula)| formula).collect();
        let limits = SandboxLimits::default();
        let memory = mib(limits.memory_bytes as u64);
        let (seconds, of_row) = (limits.cpu_between_moves.as_secs(), mib(limits.row_output_bytes));
        assert_eq!(
            formulas,
            [
                format!("{memory} + {MEMORY_FACTOR} x (N - 32 MiB)"),
                format!("{seconds} s for each 32 MiB of N or part of it"),
                "N + 2 MiB".to_owned(),
                format!("{} + {HELD_FACTOR} x (N - 32 MiB)", mib(limits.held_bytes)),
                "N".to_owned(),
                format!("2 x `block-bytes` + {of_row} + {ROW_OUTPUT_FACTOR} x (N - 32 MiB)"),
                "N + 1 MiB".to_owned(),
            ]
        );
        // What the formulas come to for 100 MiB.
        let limits = limits.with_objects(ObjectLimit::new(100 << 20).unwrap());
        assert_eq!(limits.memory_bytes >> 20, 256 + 8 * 68);
        assert_eq!(limits.cpu_between_moves, Duration::from_secs(40));
        assert_eq!(limits.call_bytes >> 20, 102);
        assert_eq!(limits.held_bytes >> 20, 128 + 4 * 68);
        assert_eq!(limits.object_limit.row_bytes() >> 20, 100);
        assert_eq!(limits.block_output_bytes(1 << 20) >> 20, 2 + 32 + 4 * 68);
        assert_eq!(limits.compress_bytes >> 20, 101);
    }

    /// The memory of a guest ends at what wasm32 can address, and a smaller limit takes none away.
    #[test]
    fn limits_reach_from_the_defaults_to_the_memory_of_wasm32() {
        let of = |limit| SandboxLimits::default().with_objects(limit);
        assert!(of(ObjectLimit::LARGEST).memory_bytes as u64 <= 4 << 30);
        let least = of(ObjectLimit::LEAST);
        let default =
            SandboxLimits { object_limit: ObjectLimit::LEAST, ..SandboxLimits::default() };
        assert_eq!(least, default);
        assert_eq!(of(ObjectLimit::DEFAULT), SandboxLimits::default());
    }

    /// The same numbers where an item of `wit/` repeats them.
    #[test]
    fn the_items_of_the_contract_repeat_the_limits_of_the_code() {
        let limits = SandboxLimits::default();
        let row = mib(limits.object_limit.row_bytes());
        let of_row = mib(limits.row_output_bytes);
        let compress = mib(limits.compress_bytes as u64);
        let (rows, bytes) = (count(MAX_BATCH_ROWS as usize), mib(u64::from(MAX_BATCH_BYTES)));
        let block = range(BLOCK_BYTES.start() >> 20, mib(*BLOCK_BYTES.end()));
        let names = range(1, MAX_COUNTER_NAME_BYTES);
        let epilogue = mib(limits.epilogue_bytes);
        for (path, repeated) in [
            ("wit/worlds.wit", format!("at most {} blocks", count(MAX_BLOCKS_PER_FILE))),
            (
                "wit/source.wit",
                format!("have up to {row}. Arguments above {rows} rows and {bytes}"),
            ),
            (
                "wit/types.wit",
                format!("has at most {}. An exporter", mib(MAX_CLASS_DEFINITION_BYTES as u64)),
            ),
            ("wit/sink.wit", format!("at most {} of them", mib(MAX_WRITE_BYTES as u64))),
            ("wit/sink.wit", format!("twice its `block-bytes` plus {of_row}")),
            ("wit/sink.wit", format!("rows plus {}", mib(limits.output_extra_bytes))),
            ("wit/sink.wit", format!("the end of a file has at most {epilogue}")),
            ("wit/codec.wit", format!("The input is at most {compress}")),
            ("wit/codec.wit", format!("today: {}.", lent_levels())),
            ("wit/exporter.wit", format!("clamped to {block}")),
            ("wit/exporter.wit", format!("At most {MAX_COUNTERS}, with names of {names}")),
            ("wit/exporter.wit", format!("have at most {} together", mib(limits.notes_bytes))),
            ("wit/exporter.wit", format!("At most {}; may", mib(limits.prologue_bytes as u64))),
        ] {
            let text = read(path).replace("///", " ");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&repeated), "{path} lacks `{repeated}`");
        }
    }

    /// The granted imports, which a guest author finds nowhere else.
    #[test]
    fn the_contract_names_every_granted_import() {
        let text = read("wit/worlds.wit");
        for interface in crate::wasi::GRANTED {
            assert!(text.contains(&format!("`{interface}`")), "{interface}");
        }
        assert_eq!(text.matches("`wasi:").count(), crate::wasi::GRANTED.len());
    }
}
