//! A column whose bytes stay in the host: its pages are written here, its values are spliced.
use std::io::Write;
use std::rc::Rc;

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::schema::types::ColumnDescPtr;

use crate::bindings::offloom::export::types::{Column, Error, Values};
use crate::error::{parquet_error, write_error};
use crate::held::{Held, Part};
use crate::page::{DataEncoding, DataPageHeader, write_lengths, write_levels, write_list_levels};
use crate::sink::{BlockWriter, Sink};

/// Rows of a page that has few bytes, or none.
const PAGE_ROWS: usize = 20_000;

/// What one page that is packed may have: what the host packs at once, with room for the lengths.
const MAX_PACKED_BYTES: u64 = 32 * 1024 * 1024 + 512 * 1024;

/// How values lie in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The bytes of each row are one value, which may be null.
    Bytes,
    /// The bytes of each row are a list of `f32`. The list may be null, its elements may not.
    Floats,
}

/// The column chunk that a block gets.
pub(crate) struct HeldColumn<H> {
    descr: ColumnDescPtr,
    compression: Compression,
    shape: Shape,
    page_bytes: u64,
    page: OpenPage<H>,
    pieces: Vec<Piece<H>>,
    pages: i32,
    values: i64,
    compressed_bytes: i64,
    uncompressed_bytes: i64,
}

/// A page that is being filled.
struct OpenPage<H> {
    /// Whether each row has a value.
    valid: Vec<bool>,
    /// Bytes of each value.
    lengths: Vec<u32>,
    parts: Vec<Part<H>>,
    /// Bytes of `parts`.
    bytes: u64,
}

impl<H> Default for OpenPage<H> {
    fn default() -> OpenPage<H> {
        OpenPage { valid: Vec::new(), lengths: Vec::new(), parts: Vec::new(), bytes: 0 }
    }
}

impl<H> OpenPage<H> {
    /// Adds bytes: to the last part, where they follow it.
    fn add(&mut self, buffer: &Rc<H>, offset: u64, length: u64) {
        self.bytes = self.bytes.saturating_add(length);
        if let Some(last) = self.parts.last_mut()
            && Rc::ptr_eq(&last.buffer, buffer)
            && last.offset.saturating_add(last.length) == offset
        {
            last.length = last.length.saturating_add(length);
            return;
        }
        self.parts.push(Part { buffer: Rc::clone(buffer), offset, length });
    }

    /// The levels and the lengths of its values in this shape.
    fn encode(&self, shape: Shape, nullable: bool) -> EncodedPage {
        let mut page = EncodedPage::default();
        match shape {
            Shape::Bytes => {
                if nullable {
                    write_levels(&mut page.levels, &self.valid);
                }
                write_lengths(&mut page.lengths, &self.lengths);
                page.values = self.valid.len();
                page.nulls = self.valid.len().saturating_sub(self.lengths.len());
            }
            Shape::Floats => {
                let mut lengths = self.lengths.iter();
                let floats = self.valid.iter().map(|valid| match valid {
                    // A value is whole numbers of four bytes.
                    true => lengths.next().map(|length| *length as usize / 4),
                    false => None,
                });
                let levels = write_list_levels(&mut page.levels, floats);
                page.repetition_bytes = levels.repetition_bytes;
                page.values = levels.values;
                page.nulls = levels.nulls;
            }
        }
        page
    }
}

/// What a page has besides the bytes of its values.
#[derive(Default)]
struct EncodedPage {
    levels: Vec<u8>,
    /// How many of the levels' bytes are repetition levels.
    repetition_bytes: usize,
    lengths: Vec<u8>,
    /// Nulls included.
    values: usize,
    nulls: usize,
}

enum Piece<H> {
    Own(Vec<u8>),
    Held(Part<H>),
}

impl<H: Held> HeldColumn<H> {
    pub(crate) fn new(
        descr: ColumnDescPtr,
        compression: Compression,
        shape: Shape,
        page_bytes: u64,
    ) -> Self {
        HeldColumn {
            descr,
            compression,
            shape,
            page_bytes,
            page: OpenPage::default(),
            pieces: Vec::new(),
            pages: 0,
            values: 0,
            compressed_bytes: 0,
            uncompressed_bytes: 0,
        }
    }

    /// Adds the rows of a batch, whose values lie in `buffer` end to end.
    pub(crate) fn push(
        &mut self,
        column: &Column,
        rows: usize,
        buffer: Option<Rc<H>>,
    ) -> Result<(), Error> {
        let (offsets, unit) = match &column.values {
            Values::VariableWidth(values) => (&values.offsets, 1),
            Values::Vector(values) => (&values.offsets, 4),
            _ => return Err(broken("has values that cannot be held")),
        };
        let buffer_bytes = buffer.as_ref().map_or(0, |buffer| buffer.length());
        let last = offsets.last().copied().unwrap_or(0);
        let scaled = u64::from(last).saturating_mul(u64::from(unit));
        if offsets.len() != rows.saturating_add(1) || scaled != buffer_bytes {
            return Err(broken("has other offsets than its rows and bytes need"));
        }
        let bits = column.validity.as_deref();
        if bits.is_some_and(|bits| bits.len() < rows.div_ceil(8)) {
            return Err(broken("has too short a validity"));
        }
        let mut start = 0_u64;
        for (row, (from, to)) in offsets.iter().zip(offsets.iter().skip(1)).enumerate() {
            let valid = bits
                .and_then(|bits| bits.get(row / 8))
                .is_none_or(|byte| byte >> (row % 8) & 1 == 1);
            let length = to.checked_sub(*from).and_then(|length| length.checked_mul(unit));
            let length =
                length.ok_or_else(|| broken("has offsets that fall, or a value of 4 GiB"))?;
            if !valid && length > 0 {
                return Err(broken("has bytes in a row that is null"));
            }
            self.push_row(valid, length, buffer.as_ref(), start)?;
            start = start.saturating_add(u64::from(length));
        }
        if self.page.bytes >= self.page_bytes || self.page.valid.len() >= PAGE_ROWS {
            self.close_page()?;
        }
        Ok(())
    }

    /// Adds a row, whose value has `length` bytes at `offset` of `buffer`.
    fn push_row(
        &mut self,
        valid: bool,
        length: u32,
        buffer: Option<&Rc<H>>,
        offset: u64,
    ) -> Result<(), Error> {
        // Pages that are compressed end where they are full. Others end with the batch: the host then
        // splices a whole buffer.
        let cut = self.compression != Compression::UNCOMPRESSED;
        let bytes = u64::from(length);
        if cut && self.page.bytes > 0 && self.page.bytes.saturating_add(bytes) > MAX_PACKED_BYTES {
            self.close_page()?;
        }
        self.page.valid.push(valid);
        if valid {
            self.page.lengths.push(length);
        }
        if let Some(buffer) = buffer
            && length > 0
        {
            self.page.add(buffer, offset, bytes);
        }
        if cut && self.page.bytes >= self.page_bytes { self.close_page() } else { Ok(()) }
    }

    fn close_page(&mut self) -> Result<(), Error> {
        let page = std::mem::take(&mut self.page);
        if page.valid.is_empty() {
            return Ok(());
        }
        let encoded = page.encode(self.shape, self.descr.max_def_level() > 0);
        let EncodedPage { mut levels, mut lengths, .. } = encoded;

        let raw_bytes = page.bytes.saturating_add(lengths.len() as u64);
        let packed = match self.compression {
            Compression::UNCOMPRESSED => None,
            compression => Some(H::pack(compression, &lengths, &page.parts)?),
        };
        let packed = packed.map(Part::whole).filter(|packed| packed.length < raw_bytes);
        let value_bytes = packed.as_ref().map_or(raw_bytes, |packed| packed.length);
        let size = |bytes: u64| {
            let bytes = bytes.saturating_add(levels.len() as u64);
            i32::try_from(bytes).map_err(|_| broken("has a page of 2 GiB"))
        };
        let count = |count: usize| i32::try_from(count).map_err(|_| broken("has too many rows"));
        let header = DataPageHeader {
            uncompressed_bytes: size(raw_bytes)?,
            compressed_bytes: size(value_bytes)?,
            rows: count(page.valid.len())?,
            values: count(encoded.values)?,
            nulls: count(encoded.nulls)?,
            encoding: match self.shape {
                Shape::Bytes => DataEncoding::DeltaLengthByteArray,
                Shape::Floats => DataEncoding::Plain,
            },
            definition_bytes: count(levels.len().saturating_sub(encoded.repetition_bytes))?,
            repetition_bytes: count(encoded.repetition_bytes)?,
            is_compressed: packed.is_some(),
        };
        let mut own = Vec::with_capacity(64_usize.saturating_add(levels.len()));
        header.write(&mut own);
        let header_bytes = own.len() as i64;
        own.append(&mut levels);
        match packed {
            Some(packed) => self.pieces.extend([Piece::Own(own), Piece::Held(packed)]),
            None => {
                own.append(&mut lengths);
                self.pieces.push(Piece::Own(own));
                self.pieces.extend(page.parts.into_iter().map(Piece::Held));
            }
        }
        self.pages = self.pages.saturating_add(1);
        self.values = self.values.saturating_add(i64::from(header.values));
        let with_header = |bytes: i32| i64::from(bytes).saturating_add(header_bytes);
        self.compressed_bytes =
            self.compressed_bytes.saturating_add(with_header(header.compressed_bytes));
        self.uncompressed_bytes =
            self.uncompressed_bytes.saturating_add(with_header(header.uncompressed_bytes));
        Ok(())
    }

    /// Writes the column chunk to `out`, and describes it; `offset` is where it begins.
    pub(crate) fn finish<S: Sink<Held = H>>(
        mut self,
        out: &mut BlockWriter<'_, S>,
        offset: i64,
    ) -> Result<ColumnChunkMetaData, Error> {
        self.close_page()?;
        for piece in self.pieces {
            match piece {
                Piece::Own(bytes) => out.write_all(&bytes).map_err(write_error)?,
                Piece::Held(part) => out.splice(&part).map_err(write_error)?,
            }
        }
        let encoding = match self.shape {
            Shape::Bytes => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Shape::Floats => Encoding::PLAIN,
        };
        let pages =
            PageEncodingStats { page_type: PageType::DATA_PAGE_V2, encoding, count: self.pages };
        ColumnChunkMetaData::builder(self.descr)
            .set_compression(self.compression)
            .set_encodings(vec![Encoding::RLE, encoding])
            .set_page_encoding_stats(vec![pages])
            .set_num_values(self.values)
            .set_total_compressed_size(self.compressed_bytes)
            .set_total_uncompressed_size(self.uncompressed_bytes)
            .set_data_page_offset(offset)
            .build()
            .map_err(parquet_error)
    }
}

fn broken(what: &str) -> Error {
    Error::InvalidData(format!("a held column {what}"))
}
