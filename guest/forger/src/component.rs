//! What the host calls: the default exporter's files, forged on their way out.
use crate::bindings::exports::offloom::export::about::{self, Description};
use crate::bindings::exports::offloom::export::exporter::{
    Block, Class, Error, File, Format, Guest, GuestFile, Options, PlacedBlock, Schema, Selection,
};
use crate::bindings::offloom::export::sink::Output;
use crate::bindings::offloom::export::source::Cursor;
use crate::rows::{Buffer, ForgedRows};
use crate::{ParquetFile, Part, Sink, end};

/// The largest write that the host takes.
const WRITE_BYTES: usize = 1024 * 1024;

/// Bytes that a block loses when it is cut.
const CUT_BYTES: usize = 10;

struct Forger;

struct ForgedFile {
    parquet: ParquetFile,
    forgery: String,
}

/// What the default exporter wrote, before it is forged.
#[derive(Default)]
struct Written(Vec<u8>);

impl Sink for Written {
    type Held = Buffer;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn splice(&mut self, part: &Part<Buffer>) -> Result<(), Error> {
        self.0.extend_from_slice(part.buffer.part(part.offset, part.length));
        Ok(())
    }
}

fn forgery(options: &Options) -> String {
    options.iter().find(|(key, _)| key == "do").map_or_else(String::new, |(_, value)| value.clone())
}

impl about::Guest for Forger {
    fn describe_guest() -> Description {
        Description { summary: "Forges.".to_owned(), options: Vec::new() }
    }
}

impl Guest for Forger {
    type File = ForgedFile;

    fn describe(_options: Options) -> Result<Format, Error> {
        Ok(Format {
            name: "parquet".to_owned(),
            extension: "parquet".to_owned(),
            media_type: "application/vnd.apache.parquet".to_owned(),
            block_bytes: 1,
        })
    }

    fn plan(
        classes: Vec<Class>,
        _selection: Selection,
        _options: Options,
    ) -> Result<Vec<String>, Error> {
        Ok(classes.into_iter().map(|class| class.name).collect())
    }
}

impl GuestFile for ForgedFile {
    fn open(schema: Schema, options: Options) -> Result<File, Error> {
        let parquet = ParquetFile::open(&schema, &[])?;
        Ok(File::new(ForgedFile { parquet, forgery: forgery(&options) }))
    }

    fn prologue(&self) -> Vec<u8> {
        match self.forgery.as_str() {
            "csv" => b"id,name\n".to_vec(),
            _ => self.parquet.prologue().to_vec(),
        }
    }

    fn encode(&self, rows: &Cursor, block: &Output) -> Result<Block, Error> {
        let mut rows = ForgedRows::new(rows, &self.forgery);
        let mut written = Written::default();
        let mut encoded = self.parquet.encode(&mut rows, &mut written)?;
        let note = Note { rows: encoded.row_count, bytes: written.0.len() as u64 };
        let mut bytes = written.0;
        match self.forgery.as_str() {
            "block-cut" => bytes.truncate(bytes.len().saturating_sub(CUT_BYTES)),
            "block-longer" => bytes.extend([0; CUT_BYTES]),
            "json" => bytes = format!("[{}]", "{},".repeat(100)).into_bytes(),
            _ => {}
        }
        write(block, &bytes)?;
        // The host asks for as many as it handed out.
        encoded.row_count = rows.handed_out;
        encoded.note = note.before(&encoded.note);
        Ok(encoded)
    }

    fn assemble(&self, blocks: Vec<PlacedBlock>, epilogue: &Output) -> Result<(), Error> {
        let honest: Option<Vec<PlacedBlock>> = blocks.into_iter().map(Note::restore).collect();
        let honest = honest.ok_or_else(|| Error::InvalidData("a note was changed".to_owned()))?;
        let mut written = Written::default();
        self.parquet.assemble(&honest, &mut written)?;
        write(epilogue, &end::forge(&self.forgery, written.0)?)
    }
}

fn write(output: &Output, bytes: &[u8]) -> Result<(), Error> {
    bytes.chunks(WRITE_BYTES).try_for_each(|piece| output.write(piece))
}

/// What a block was before it was forged; stands before the default exporter's own note.
struct Note {
    rows: u64,
    bytes: u64,
}

impl Note {
    fn before(&self, note: &[u8]) -> Vec<u8> {
        [&self.rows.to_le_bytes()[..], &self.bytes.to_le_bytes(), note].concat()
    }

    /// The block as the default exporter knows it.
    fn restore(mut placed: PlacedBlock) -> Option<PlacedBlock> {
        let (rows, rest) = placed.block.note.split_first_chunk()?;
        let (bytes, note) = rest.split_first_chunk()?;
        placed.block.row_count = u64::from_le_bytes(*rows);
        placed.length = u64::from_le_bytes(*bytes);
        placed.block.note = note.to_vec();
        Some(placed)
    }
}

/// What wit-bindgen generates: functions by the names that the host calls.
#[allow(unsafe_code)]
mod exported {
    use super::Forger;

    crate::bindings::export!(Forger with_types_in crate::bindings);
}
