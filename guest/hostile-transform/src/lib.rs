//! Transforms that misbehave. The option `do` says how; without it, rows pass unchanged, so that the tests
//! know that nothing but the misbehaviour is refused.
//!
//! Each behaviour has its expected outcome in `tests/e2e/transform_attacks.rs`.
// What it does wrong, it does on purpose.
#![allow(unsafe_code, clippy::indexing_slicing)]
mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({ path: "../../wit", world: "transform-guest" });
}

use bindings::exports::offloom::export::about;
use bindings::exports::offloom::export::transform::{
    Edits, Error, Field, Guest, GuestTransformer, Options, RowBatch, Schema, Shape, Transformer,
};
use bindings::offloom::export::types::{Column, DataType, Values, VariableWidth};

const MIB: usize = 1024 * 1024;

/// Memory that is kept for good.
static HOARD: std::sync::Mutex<Vec<Vec<u8>>> = std::sync::Mutex::new(Vec::new());

struct Hostile;

struct HostileTransformer {
    behaviour: String,
}

impl about::Guest for Hostile {
    fn describe_guest() -> about::Description {
        let option = about::KnownOption { key: "do".into(), summary: "How.".into(), secret: false };
        about::Description { summary: "Misbehaves.".into(), options: vec![option] }
    }
}

impl Guest for Hostile {
    type Transformer = HostileTransformer;
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.to_owned(), data_type, nullable }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn text(offsets: Vec<u32>, bytes: Vec<u8>) -> Vec<Column> {
    vec![Column { validity: None, values: Values::VariableWidth(VariableWidth { offsets, bytes }) }]
}

/// A text of so many bytes in each row.
fn texts(rows: usize, length: usize) -> Vec<Column> {
    let offsets = (0..=rows).map(|row| (row * length) as u32).collect();
    text(offsets, vec![b'x'; rows * length])
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

impl GuestTransformer for HostileTransformer {
    fn open(_: Schema, options: Options) -> Result<Transformer, Error> {
        let given = options.into_iter().find(|(key, _)| key == "do");
        let behaviour = given.map_or_else(String::new, |(_, value)| value);
        match behaviour.as_str() {
            "open-loop" => spin(),
            "open-panic" => panic!("at the door"),
            "refuse-with-ansi" => {
                return Err(Error::Unsupported("\u{1b}[2J\u{1b}[31mall is well\r\n".to_owned()));
            }
            _ => {}
        }
        Ok(Transformer::new(HostileTransformer { behaviour }))
    }

    fn shape(&self) -> Shape {
        let added = || vec![field("added", DataType::Utf8, false)];
        let none = Shape { reads: names(["id"]), writes: Vec::new(), drops: Vec::new() };
        match self.behaviour.as_str() {
            "shape-loop" => spin(),
            "shape-unknown" => Shape { reads: names(["secret"]), ..none },
            "shape-reads-twice" => Shape { reads: names(["id", "id"]), ..none },
            "shape-writes-id" => Shape { writes: vec![field("id", DataType::Uuid, false)], ..none },
            "shape-writes-tenant" => {
                Shape { writes: vec![field("tenant", DataType::Utf8, false)], ..none }
            }
            "shape-drops-id" => Shape { drops: names(["id"]), ..none },
            "shape-drops-unknown" => Shape { drops: names(["secret"]), ..none },
            "shape-writes-twice" => Shape { writes: [added(), added()].concat(), ..none },
            "shape-writes-and-drops" => Shape {
                writes: vec![field("vector", DataType::Vector(None), true)],
                drops: names(["vector"]),
                ..none
            },
            "shape-empty-name" => Shape { writes: vec![field("", DataType::Utf8, false)], ..none },
            "shape-long-name" => {
                Shape { writes: vec![field(&"n".repeat(MIB), DataType::Utf8, false)], ..none }
            }
            "shape-control-name" => {
                Shape { writes: vec![field("a\u{1b}[2J\n", DataType::Utf8, false)], ..none }
            }
            "shape-many-columns" => {
                let many = (0..2_000).map(|n| field(&format!("c{n}"), DataType::Utf8, false));
                Shape { writes: many.collect(), ..none }
            }
            "edit-null"
            | "edit-kind"
            | "edit-few-values"
            | "edit-offsets-descend"
            | "edit-offsets-start"
            | "edit-offsets-end"
            | "edit-utf-8"
            | "edit-split-character"
            | "edit-no-column"
            | "edit-two-columns"
            | "edit-flood"
            | "edit-huge-call"
            | "edit-validity" => Shape { writes: added(), ..none },
            "edit-vector" => {
                Shape { writes: vec![field("vector", DataType::Vector(None), true)], ..none }
            }
            _ => none,
        }
    }

    /// Long, because each behaviour is one arm of one `match`.
    fn apply(&self, batch: RowBatch) -> Result<Edits, Error> {
        let rows = batch.row_count as usize;
        let mut edits = Edits { keep: None, columns: vec![], refused: vec![], counters: vec![] };
        match self.behaviour.as_str() {
            "apply-loop" => spin(),
            "apply-panic" => panic!("I \u{1b}[31mpanic\u{1b}[0m"),
            "apply-exit" => std::process::exit(3),
            "apply-recursion" => {
                return Err(Error::Other(format!("survived {}", recurse(u64::MAX))));
            }
            "apply-memory" => loop {
                if let Ok(mut hoard) = HOARD.lock() {
                    hoard.push(vec![1; MIB]);
                }
            },
            "apply-memory-grow" => {
                let grown = core::arch::wasm32::memory_grow(0, 65_000);
                return Err(Error::Other(format!("memory.grow answered {grown}")));
            }
            "apply-error" => return Err(Error::InvalidData("\u{1b}[2J\nno".to_owned())),
            "log-flood" => {
                for line in 0..100_000 {
                    eprintln!("line {line} of a flood: {}", "x".repeat(200));
                }
            }
            "keep-short" => edits.keep = Some(vec![]),
            "keep-long" => edits.keep = Some(vec![0xff; rows]),
            "keep-nothing" => edits.keep = Some(vec![0; rows.div_ceil(8)]),
            "refuse-beyond" => edits.refused = vec![(batch.row_count, "?".to_owned())],
            "refuse-twice" => edits.refused = vec![(0, String::new()), (0, String::new())],
            "refuse-descending" => edits.refused = vec![(1, String::new()), (0, String::new())],
            "refuse-all" => {
                edits.refused = (0..batch.row_count).map(|row| (row, "no".to_owned())).collect();
            }
            "refuse-long-reason" => edits.refused = vec![(0, "\u{1b}[2J\n".repeat(MIB / 8))],
            "counters-many" => edits.counters = vec![("count".to_owned(), 1); 65],
            "counters-newline" => edits.counters.push(("a\nb".to_owned(), 1)),
            "edit-no-column" => {}
            "edit-two-columns" => edits.columns = [texts(rows, 1), texts(rows, 1)].concat(),
            "edit-unasked" => edits.columns = texts(rows, 1),
            "edit-kind" => {
                let values = Values::Int64(vec![1; rows]);
                edits.columns = vec![Column { validity: None, values }];
            }
            "edit-few-values" => edits.columns = texts(rows - 1, 1),
            "edit-offsets-descend" => {
                let mut offsets: Vec<u32> = (0..=rows as u32).collect();
                offsets[1..rows].reverse();
                edits.columns = text(offsets, vec![b'x'; rows]);
            }
            "edit-offsets-start" => {
                let offsets = (1..=rows as u32 + 1).collect();
                edits.columns = text(offsets, vec![b'x'; rows + 1]);
            }
            "edit-offsets-end" => {
                edits.columns = text((0..=rows as u32).collect(), vec![b'x'; rows / 2]);
            }
            "edit-utf-8" => {
                edits.columns = text((0..=rows as u32).collect(), vec![0xff; rows]);
            }
            "edit-split-character" => {
                let mut offsets = vec![2_u32; rows + 1];
                offsets[0] = 0;
                offsets[1] = 1;
                edits.columns = text(offsets, "é".into());
            }
            "edit-null" => {
                edits.columns = texts(rows, 1);
                edits.columns[0].validity = Some(vec![0; rows.div_ceil(8)]);
            }
            "edit-validity" => {
                edits.columns = texts(rows, 1);
                edits.columns[0].validity = Some(vec![0xff; rows.div_ceil(8) + 1]);
            }
            "edit-vector" => {
                let offsets = (0..=rows as u32).collect();
                let values =
                    Values::Vector(VariableWidth { offsets, bytes: vec![0; rows * 4 - 1] });
                edits.columns = vec![Column { validity: None, values }];
            }
            "edit-flood" => edits.columns = texts(rows, 30 * MIB / rows),
            "edit-huge-call" => edits.columns = texts(rows, 40 * MIB / rows),
            _ => {}
        }
        Ok(edits)
    }
}

bindings::export!(Hostile with_types_in bindings);
