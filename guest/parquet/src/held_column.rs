//! A column whose bytes stay in the host: its pages are written here, its values are spliced.
use std::io::Write;
use std::rc::Rc;

use parquet::basic::{Compression, Encoding, PageType};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::schema::types::ColumnDescPtr;

use crate::bindings::offloom::export::types::{Column, Error, Values};
use crate::error::{parquet_error, write_error};
use crate::held::{Held, Part};
use crate::page::{DataEncoding, DataPageHeader, write_lengths, write_levels};
use crate::sink::{BlockWriter, Sink};

/// Rows of a page that has few bytes, or none.
const PAGE_ROWS: usize = 20_000;

/// The column chunk that a block gets.
pub(crate) struct HeldColumn<H> {
    descr: ColumnDescPtr,
    compression: Compression,
    page_bytes: u64,
    page: OpenPage<H>,
    pieces: Vec<Piece<H>>,
    pages: i32,
    rows: i64,
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

enum Piece<H> {
    Own(Vec<u8>),
    Held(Part<H>),
}

impl<H: Held> HeldColumn<H> {
    pub(crate) fn new(descr: ColumnDescPtr, compression: Compression, page_bytes: u64) -> Self {
        HeldColumn {
            descr,
            compression,
            page_bytes,
            page: OpenPage::default(),
            pieces: Vec::new(),
            pages: 0,
            rows: 0,
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
        // Pages that are compressed end where they are full. Others end with the batch: the host then
        // splices a whole buffer.
        let cut = self.compression != Compression::UNCOMPRESSED;
        let (mut start, mut end) = (0_u64, 0_u64);
        for (row, (from, to)) in offsets.iter().zip(offsets.iter().skip(1)).enumerate() {
            let valid = bits
                .and_then(|bits| bits.get(row / 8))
                .is_none_or(|byte| byte >> (row % 8) & 1 == 1);
            let length = to.checked_sub(*from).and_then(|length| length.checked_mul(unit));
            let length =
                length.ok_or_else(|| broken("has offsets that fall, or a value of 4 GiB"))?;
            self.page.valid.push(valid);
            if valid {
                self.page.lengths.push(length);
            } else if length > 0 {
                return Err(broken("has bytes in a row that is null"));
            }
            end = end.saturating_add(u64::from(length));
            if cut && self.page.bytes.saturating_add(end.saturating_sub(start)) >= self.page_bytes {
                self.add_part(buffer.as_ref(), start, end);
                start = end;
                self.close_page()?;
            }
        }
        self.add_part(buffer.as_ref(), start, end);
        if self.page.bytes >= self.page_bytes || self.page.valid.len() >= PAGE_ROWS {
            self.close_page()?;
        }
        Ok(())
    }

    fn add_part(&mut self, buffer: Option<&Rc<H>>, start: u64, end: u64) {
        let length = end.saturating_sub(start);
        if let Some(buffer) = buffer
            && length > 0
        {
            self.page.parts.push(Part { buffer: Rc::clone(buffer), offset: start, length });
            self.page.bytes = self.page.bytes.saturating_add(length);
        }
    }

    fn close_page(&mut self) -> Result<(), Error> {
        let page = std::mem::take(&mut self.page);
        if page.valid.is_empty() {
            return Ok(());
        }
        let mut levels = Vec::new();
        if self.descr.max_def_level() > 0 {
            write_levels(&mut levels, &page.valid);
        }
        let mut lengths = Vec::new();
        write_lengths(&mut lengths, &page.lengths);

        let raw_bytes = page.bytes.saturating_add(lengths.len() as u64);
        let packed = match self.compression {
            Compression::ZSTD(level) => {
                Some(H::pack(level.compression_level(), &lengths, &page.parts)?)
            }
            _ => None,
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
            nulls: count(page.valid.len().saturating_sub(page.lengths.len()))?,
            encoding: DataEncoding::DeltaLengthByteArray,
            levels_bytes: count(levels.len())?,
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
        self.rows = self.rows.saturating_add(i64::from(header.rows));
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
        let encoding = Encoding::DELTA_LENGTH_BYTE_ARRAY;
        let pages =
            PageEncodingStats { page_type: PageType::DATA_PAGE_V2, encoding, count: self.pages };
        ColumnChunkMetaData::builder(self.descr)
            .set_compression(self.compression)
            .set_encodings(vec![Encoding::RLE, encoding])
            .set_page_encoding_stats(vec![pages])
            .set_num_values(self.rows)
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
