//! Exporters that misbehave. The option `do` says how; without it, the rows' ids are written as they
//! are, so that the tests know that nothing but the misbehaviour is refused.
//!
//! Each behaviour has its expected outcome in `host/sandbox/tests/guests/hostile.rs`, and seen from
//! outside in `tests/e2e/attacks.rs`.
// What it does wrong, it does on purpose.
#![allow(unsafe_code)]
mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "exporter-guest",
    });
}

mod dump;
mod held;

use bindings::exports::offloom::export::about;
use bindings::exports::offloom::export::exporter::{
    Block, Class, Error, File, Format, Guest, GuestFile, Options, PlacedBlock, Schema, Selection,
};
use bindings::offloom::export::codec::{Algorithm, compress};
use bindings::offloom::export::sink::Output;
use bindings::offloom::export::source::Cursor;
use bindings::offloom::export::types::Values;

const MIB: usize = 1024 * 1024;

/// Memory that an option may ask to be kept for good.
static HOARD: std::sync::Mutex<Vec<Vec<u8>>> = std::sync::Mutex::new(Vec::new());

/// Where [`scribble`] is, and how many bytes it still changes.
static SCRIBBLER: std::sync::Mutex<(u64, u32)> = std::sync::Mutex::new((0, 0));

struct Hostile;

struct HostileFile {
    behaviour: String,
    /// What `open` was given, for the one that writes it down.
    given: String,
}

fn behaviour(options: &Options) -> String {
    options.iter().find(|(key, _)| key == "do").map_or_else(String::new, |(_, value)| value.clone())
}

impl about::Guest for Hostile {
    fn describe_guest() -> about::Description {
        about::Description {
            summary: "Misbehaves.".to_owned(),
            options: vec![about::KnownOption {
                key: "do".to_owned(),
                summary: "How.".to_owned(),
                secret: false,
            }],
        }
    }
}

impl Guest for Hostile {
    type File = HostileFile;

    fn describe(options: Options) -> Result<Format, Error> {
        scribble_as_asked(&options);
        let mut format = Format {
            name: "ids".to_owned(),
            extension: "ids".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            block_bytes: 1,
        };
        match behaviour(&options).as_str() {
            "describe-loop" => spin(),
            "parquet-by-name" => format.name = "parquet".to_owned(),
            "parquet-by-extension" => format.extension = "parquet".to_owned(),
            "parquet-by-media-type" => {
                format.media_type = "application/vnd.apache.parquet".to_owned();
            }
            "extension-path" => format.extension = "../../etc/passwd".to_owned(),
            "extension-empty" => format.extension.clear(),
            "refuse-with-ansi" => {
                return Err(Error::Unsupported("\u{1b}[2J\u{1b}[31mall is well\r\n".to_owned()));
            }
            _ => {}
        }
        Ok(format)
    }

    fn plan(
        classes: Vec<Class>,
        selection: Selection,
        options: Options,
    ) -> Result<Vec<String>, Error> {
        scribble_as_asked(&options);
        if behaviour(&options) == "dump-plan" {
            return Err(Error::Other(dump::plan(&classes, &selection, &options)));
        }
        let mut names: Vec<String> = classes.into_iter().map(|class| class.name).collect();
        match behaviour(&options).as_str() {
            "plan-loop" => spin(),
            "plan-outside" => names.push("Secret".to_owned()),
            "plan-twice" => names.extend(names.clone()),
            // SAFETY: none, as above: the host must check that the text is UTF-8.
            "plan-no-utf8" => names = vec![unsafe { String::from_utf8_unchecked(vec![0xff; 8]) }],
            "plan-huge" => names = vec!["x".repeat(MIB); 64],
            _ => {}
        }
        Ok(names)
    }
}

impl GuestFile for HostileFile {
    fn open(schema: Schema, options: Options) -> Result<File, Error> {
        scribble_as_asked(&options);
        let behaviour = behaviour(&options);
        let given = match behaviour.as_str() {
            "dump" | "dump-held" => dump::schema(&schema, &options),
            _ => String::new(),
        };
        if behaviour == "open-resource-flood" {
            let files: Vec<File> = (0..1_000_000)
                .map(|_| File::new(HostileFile { behaviour: String::new(), given: String::new() }))
                .collect();
            return Err(Error::Other(format!("made {} files", files.len())));
        }
        Ok(File::new(HostileFile { behaviour, given }))
    }

    fn prologue(&self) -> Vec<u8> {
        match self.behaviour.as_str() {
            "prologue-huge" => vec![0; 2 * MIB],
            "prologue-loop" => spin(),
            _ => b"ids:".to_vec(),
        }
    }

    /// Long, because each behaviour is one arm of one `match`.
    fn encode(&self, rows: &Cursor, block: &Output) -> Result<Block, Error> {
        match self.behaviour.as_str() {
            "loop" => spin(),
            "call-flood" => loop {
                rows.schema();
            },
            "fill-flood" => {
                let mut memory = vec![0; 64 * MIB];
                for byte in (0..=u8::MAX).cycle() {
                    memory.fill(byte);
                    std::hint::black_box(&memory);
                }
            }
            // SAFETY of the next three: there is none. A handle that is forged, dropped before or of
            // another kind is what the host must not fall for.
            "forged-handle" => unsafe { Output::from_handle(4711) }.write(b"ids")?,
            "dropped-handle" => {
                drop(unsafe { Output::from_handle(block.handle()) });
                block.write(b"ids")?;
            }
            "foreign-handle" => unsafe { Output::from_handle(rows.handle()) }.write(b"ids")?,
            "compress-flood" => {
                let input = vec![0; MIB];
                loop {
                    compress(Algorithm::Zstd, 9, &input)?;
                }
            }
            "compress-huge" => {
                compress(Algorithm::Zstd, 1, &vec![0; 33 * MIB + 1])?;
            }
            "compress-level" => {
                compress(Algorithm::Zstd, 22, b"ids")?;
            }
            "memory" => hoard(usize::MAX),
            "memory-grow" => {
                let grown = core::arch::wasm32::memory_grow(0, 65_000);
                return Err(Error::Other(format!("memory.grow answered {grown}")));
            }
            "panic" => panic!("I \u{1b}[31mpanic\u{1b}[0m"),
            "exit" => std::process::exit(3),
            "recursion" => {
                return Err(Error::Other(format!("survived {}", recurse(u64::MAX))));
            }
            "output-flood" => loop {
                block.write(&[0; 64 * 1024])?;
            },
            "write-huge" => block.write(&vec![0; MIB + 1])?,
            "write-single-bytes" => {
                for _ in 0..3_000_000 {
                    block.write(b"x")?;
                }
            }
            "log-flood" => {
                for line in 0..100_000 {
                    eprintln!("line {line} of a flood: {}", "x".repeat(200));
                }
            }
            "log-second-flood" => {
                for line in 0..10_000 {
                    eprintln!("line {line:05} of a second flood: {}", "x".repeat(200));
                }
            }
            "log-injection" => {
                println!("\u{1b}[2J\u{202e}fake\rlevel=INFO all is well {}", "y".repeat(5000));
            }
            "read-nothing" => return Ok(of_rows(0)),
            "read-once" => {
                let batch = rows.next(1, 1)?;
                return Ok(of_rows(batch.map_or(0, |batch| u64::from(batch.row_count))));
            }
            "swallow-errors" => {
                let mut read = 0;
                while let Ok(Some(batch)) = rows.next(100, 1000) {
                    read += u64::from(batch.row_count);
                }
                return Ok(of_rows(read));
            }
            "next-again" => {
                let mut read = 0;
                while let Some(batch) = rows.next(u32::MAX, u32::MAX)? {
                    read += u64::from(batch.row_count);
                }
                for _ in 0..1000 {
                    if rows.next(0, 0)?.is_some() {
                        return Err(Error::Other("rows after the end".to_owned()));
                    }
                }
                block.write(b"x")?;
                return Ok(of_rows(read));
            }
            "dump" => {
                block.write(self.given.as_bytes())?;
                let mut read = 0;
                while let Some(batch) = rows.next(u32::MAX, 1 << 16)? {
                    read += u64::from(batch.row_count);
                    block.write(format!("{:?}\n", rows.schema()).as_bytes())?;
                    block.write(&dump::rows(&batch))?;
                }
                // As often as it likes, and once more than it may.
                if rows.next(u32::MAX, u32::MAX)?.is_some() {
                    return Err(Error::Other("rows after the end".to_owned()));
                }
                return Ok(of_rows(read));
            }
            "dump-held" => {
                block.write(self.given.as_bytes())?;
                return Ok(of_rows(held::dump_held(rows, block)?));
            }
            "write-nothing" => {
                let mut read = 0;
                while let Some(batch) = rows.next(u32::MAX, u32::MAX)? {
                    read += u64::from(batch.row_count);
                }
                return Ok(of_rows(read));
            }
            of_buffers => held::misbehave(of_buffers, rows, block)?,
        }

        let mut written = 0;
        while let Some(batch) = rows.next(u32::MAX, u32::MAX)? {
            scribble();
            written += u64::from(batch.row_count);
            if let Some(Values::FixedWidth(ids)) = batch.columns.first().map(|first| &first.values)
            {
                block.write(ids)?;
            }
        }
        scribble();
        let mut answer = of_rows(written);
        match self.behaviour.as_str() {
            "say-more" => answer.row_count += 1,
            "say-fewer" => answer.row_count -= 1,
            "bytes-without-rows" => block.write(b"ghost")?,
            "note-huge" => answer.note = vec![0; 33 * MIB],
            "counters-many" => answer.counters = vec![("count".to_owned(), 1); 65],
            "counters-newline" => answer.counters.push(("a\nb".to_owned(), 1)),
            _ => {}
        }
        Ok(answer)
    }

    fn assemble(&self, blocks: Vec<PlacedBlock>, epilogue: &Output) -> Result<(), Error> {
        match self.behaviour.as_str() {
            "assemble-loop" => spin(),
            "assemble-flood" => loop {
                epilogue.write(&[0; 64 * 1024])?;
            },
            _ => epilogue.write(format!(";{} blocks", blocks.len()).as_bytes()),
        }
    }
}

/// With the option `scribble`, a seed, memory is damaged at random, now and while rows are encoded.
fn scribble_as_asked(options: &Options) {
    let seed = options.iter().find(|(key, _)| key == "scribble");
    if let (Some(seed), Ok(mut scribbler)) =
        (seed.and_then(|(_, seed)| seed.parse::<u64>().ok()), SCRIBBLER.lock())
    {
        *scribbler = (seed | 1, 1 << (seed % 12));
    }
    scribble();
}

fn scribble() {
    let Ok(mut scribbler) = SCRIBBLER.lock() else { return };
    let (mut state, bytes) = *scribbler;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = core::arch::wasm32::memory_size(0) as u64 * 65_536;
    for _ in 0..bytes {
        // Everywhere, or around the end of the stack, where the statics begin.
        let address = match random() % 2 {
            0 => random() % size,
            _ => (1 << 20) - (1 << 12) + random() % (1 << 15),
        };
        let byte = random() as u8;
        // SAFETY: none. The host must bear whatever the guest then does, and hands it.
        unsafe {
            std::ptr::with_exposed_provenance_mut::<u8>(address as usize).write_volatile(byte)
        };
    }
    scribbler.0 = state;
}

fn of_rows(row_count: u64) -> Block {
    Block { row_count, note: Vec::new(), counters: Vec::new() }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn hoard(bytes: usize) {
    let mut kept = 0;
    while kept < bytes {
        kept += MIB;
        if let Ok(mut hoard) = HOARD.lock() {
            hoard.push(vec![1; MIB]);
        }
    }
}

/// Deep, and with a frame that no optimiser takes away.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 4]);
    if depth == 0 {
        return 0;
    }
    recurse(depth - 1).wrapping_add(frame.iter().fold(0, |sum, value| sum ^ value))
}

bindings::export!(Hostile with_types_in bindings);
