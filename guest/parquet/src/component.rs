//! What the host calls, mapped to the rooms of this crate.
use std::rc::Rc;

use parquet::basic::Compression;

use crate::bindings::exports::offloom::export::about::{self, Description};
use crate::bindings::exports::offloom::export::exporter::{
    Block, Class, Error, File, Format, Guest, GuestFile, Options, PlacedBlock, Schema, Selection,
};
use crate::bindings::offloom::export::codec;
use crate::bindings::offloom::export::held::{Buffer, Range};
use crate::bindings::offloom::export::sink::Output;
use crate::bindings::offloom::export::source::Cursor;
use crate::{Batch, Held, ParquetFile, Part, Rows, Settings, Sink, lent_as, select_classes};

struct Exporter;

impl about::Guest for Exporter {
    fn describe_guest() -> Description {
        crate::about::description()
    }
}

impl Guest for Exporter {
    type File = ParquetFile;

    fn describe(options: Options) -> Result<Format, Error> {
        let settings = Settings::parse(&options)?;
        Ok(Format {
            name: "parquet".to_owned(),
            extension: "parquet".to_owned(),
            media_type: "application/vnd.apache.parquet".to_owned(),
            block_bytes: settings.row_group_bytes,
        })
    }

    fn plan(
        classes: Vec<Class>,
        selection: Selection,
        options: Options,
    ) -> Result<Vec<String>, Error> {
        Settings::parse(&options)?;
        Ok(select_classes(&classes, &selection))
    }
}

impl GuestFile for ParquetFile {
    fn open(schema: Schema, options: Options) -> Result<File, Error> {
        Ok(File::new(ParquetFile::open(&schema, &options)?))
    }

    fn prologue(&self) -> Vec<u8> {
        ParquetFile::prologue(self).to_vec()
    }

    fn encode(&self, rows: &Cursor, block: &Output) -> Result<Block, Error> {
        let mut rows = rows;
        let mut block = block;
        ParquetFile::encode(self, &mut rows, &mut block)
    }

    fn assemble(&self, blocks: Vec<PlacedBlock>, epilogue: &Output) -> Result<(), Error> {
        let mut epilogue = epilogue;
        ParquetFile::assemble(self, &blocks, &mut epilogue)
    }
}

impl Held for Buffer {
    fn length(&self) -> u64 {
        Buffer::length(self)
    }

    fn pack(
        compression: Compression,
        prefix: &[u8],
        parts: &[Part<Buffer>],
    ) -> Result<Buffer, Error> {
        let (algorithm, level) = lent_as(compression)?;
        let ranges: Vec<Range<'_>> = parts.iter().map(range).collect();
        codec::pack(algorithm, level, prefix, &ranges)
    }
}

fn range(part: &Part<Buffer>) -> Range<'_> {
    Range { buffer: &part.buffer, offset: part.offset, length: part.length }
}

impl Rows for &Cursor {
    type Held = Buffer;

    fn next(
        &mut self,
        max_rows: u32,
        max_bytes: u32,
        hold: &[u32],
    ) -> Result<Option<Batch<Buffer>>, Error> {
        let batch = self.next_held(max_rows, max_bytes, hold)?;
        Ok(batch.map(|batch| Batch {
            rows: batch.rows,
            held: batch.held.into_iter().map(|held| (held.column, Rc::new(held.bytes))).collect(),
        }))
    }
}

impl Sink for &Output {
    type Held = Buffer;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Output::write(self, bytes)
    }

    fn splice(&mut self, part: &Part<Buffer>) -> Result<(), Error> {
        Output::splice(self, &range(part))
    }
}

/// What wit-bindgen generates: functions by the names that the host calls.
#[allow(unsafe_code)]
mod exported {
    use super::Exporter;

    crate::bindings::export!(Exporter with_types_in crate::bindings);
}
