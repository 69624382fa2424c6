//! The pages of one column chunk, read with bounds: what a page says that it unpacks to and holds is
//! checked before memory is taken for it.
//!
//! The `parquet` crate (60.1) allocates what a page header says, and what a page of the delta
//! encodings says: 32 KiB can become gigabytes. Each header is therefore read here first, from the same
//! bytes and so strictly that both readers see the same, and the crate reads the page after that. What the
//! crate would unpack without a bound is unpacked before ([`unpacked`]).
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::compact::{Compact, CompactError, wire};
use crate::ranged::RangedObject;
use crate::unpacked;

/// What a page may unpack to: as much as the longest range that is read.
const MAX_PAGE_BYTES: u64 = 128 * 1024 * 1024;

/// What the ids or tenants of one row may take of a page; both are short text.
const MAX_VALUE_BYTES: u64 = 256;

/// What a page may have besides its values.
const PAGE_OVERHEAD_BYTES: u64 = 64 * 1024;

/// What all pages that are open at once may take. With many shards without tenants, one of each is.
const MAX_OPEN_BYTES: u64 = 256 * 1024 * 1024;

/// Values that are decoded at a time.
pub(crate) const BATCH_ROWS: usize = 1_024;

/// What a decoded value takes besides the bytes of its page.
const DECODED_VALUE_BYTES: u64 = 64;

/// A page header is tens of bytes, with statistics perhaps thousands.
const HEADER_STEPS_BYTES: [u64; 2] = [4 * 1024, 256 * 1024];

/// A page that is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("the page header at {offset}: {reason}")]
    Header { offset: u64, reason: CompactError },
    #[error("the page header at {offset} is none of a data page or a dictionary")]
    Kind { offset: u64 },
    #[error(
        "the page at {offset} says that it unpacks to {bytes} bytes, more than the {max_bytes} that \
         the values of its row group may have"
    )]
    TooLarge { offset: u64, bytes: i64, max_bytes: u64 },
    #[error("the page at {offset} unpacks to more than the {bytes} bytes that it says")]
    Unpacked { offset: u64, bytes: i64 },
    #[error("the page at {offset} has {stored_bytes} bytes and levels of {levels_bytes:?} bytes")]
    Levels { offset: u64, stored_bytes: i64, levels_bytes: [i64; 2] },
    #[error("a page says that it has {values} values, and its row group has {rows} rows")]
    Values { values: u64, rows: u64 },
    #[error("a page of the encoding {encoding} is damaged")]
    Damaged { encoding: Encoding },
    #[error(
        "pages of the encoding {encoding} are not read, because their size is not known before"
    )]
    Encoding { encoding: Encoding },
    #[error("more pages would have to be open at once than {MAX_OPEN_BYTES} bytes hold")]
    OpenPages,
}

impl PageError {
    /// Whether the page may be right, and only this proof does not read it.
    pub(crate) fn is_unproved(&self) -> bool {
        matches!(self, PageError::Encoding { .. } | PageError::OpenPages)
    }
}

impl From<PageError> for ParquetError {
    fn from(error: PageError) -> ParquetError {
        ParquetError::External(Box::new(error))
    }
}

/// What all open pages of a proof take. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenPages(Arc<AtomicU64>);

/// The share of one column; it ends with this.
#[derive(Debug)]
struct OpenShare {
    all: OpenPages,
    bytes: u64,
}

impl OpenShare {
    /// Makes the share `bytes` large.
    fn set(&mut self, bytes: u64) -> std::result::Result<(), PageError> {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        let before = self.all.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_OPEN_BYTES {
            return Err(PageError::OpenPages);
        }
        Ok(())
    }
}

impl Drop for OpenShare {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The pages of a column of text that is not nested.
pub(crate) struct BoundedPages {
    object: Arc<RangedObject>,
    pages: SerializedPageReader<RangedObject>,
    compression: Compression,
    /// Where the next page header begins, and the chunk ends.
    next: u64,
    end: u64,
    rows: u64,
    max_page_bytes: u64,
    /// What an open page takes besides its bytes: what was read ahead, and values that were decoded.
    overhead_bytes: u64,
    nullable: bool,
    /// Whether a dictionary came; the library panics at pages that need one without.
    has_dictionary: bool,
    share: OpenShare,
}

impl BoundedPages {
    /// The pages of `chunk`, whose row group has `rows`.
    pub(crate) fn new(
        object: RangedObject,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        open: &OpenPages,
    ) -> Result<BoundedPages> {
        let object = Arc::new(object);
        let pages = SerializedPageReader::new(object.clone(), chunk, rows, None)?;
        let (start, length) = chunk.byte_range();
        let rows = rows as u64;
        let values_bytes = rows.saturating_mul(MAX_VALUE_BYTES);
        let decoded_bytes = rows.min(BATCH_ROWS as u64).saturating_mul(DECODED_VALUE_BYTES);
        let overhead_bytes = object.read_ahead_bytes().saturating_add(decoded_bytes);
        Ok(BoundedPages {
            object,
            pages,
            compression: chunk.compression(),
            next: start,
            end: start.saturating_add(length),
            rows,
            overhead_bytes,
            max_page_bytes: values_bytes.saturating_add(PAGE_OVERHEAD_BYTES).min(MAX_PAGE_BYTES),
            nullable: chunk.column_descr().max_def_level() > 0,
            has_dictionary: false,
            share: OpenShare { all: open.clone(), bytes: 0 },
        })
    }

    /// Reads the next header and checks it; `None` at the end.
    fn header(&self) -> Result<Option<PageHeader>> {
        let offset = self.next;
        let left = self.end.saturating_sub(offset);
        if left == 0 {
            return Ok(None);
        }
        let mut parsed = Err(CompactError::End);
        for step in HEADER_STEPS_BYTES {
            let length = usize::try_from(left.min(step))?;
            parsed = PageHeader::parse(&self.object.range(offset, length)?);
            if parsed != Err(CompactError::End) {
                break;
            }
        }
        let header = parsed.map_err(|reason| PageError::Header { offset, reason })?;
        if !header.is_known {
            return Err(PageError::Kind { offset }.into());
        }
        let max_bytes = self.max_page_bytes;
        // Compressed bytes can be a little more than the bytes themselves.
        let bytes = match header.unpacked_bytes {
            negative @ ..0 => negative,
            bytes => bytes.max(header.stored_bytes.saturating_sub(1024)),
        };
        if !(0..=max_bytes.cast_signed()).contains(&bytes) {
            return Err(PageError::TooLarge { offset, bytes, max_bytes }.into());
        }
        // The library adds them and looks for values after them.
        let PageHeader { unpacked_bytes, stored_bytes, levels_bytes, .. } = header;
        let [definition, repetition] = levels_bytes;
        let together = definition.saturating_add(repetition);
        if definition < 0 || repetition < 0 || together > unpacked_bytes.min(stored_bytes) {
            return Err(PageError::Levels { offset, stored_bytes, levels_bytes }.into());
        }
        Ok(Some(header))
    }

    /// Checks that the library unpacks the page of `header` to what it says, or less.
    fn check_unpacked(&self, header: &PageHeader) -> Result<()> {
        let bounded = !matches!(self.compression, Compression::GZIP(_) | Compression::BROTLI(_));
        if bounded || !header.is_compressed {
            return Ok(());
        }
        let [definition, repetition] = header.levels_bytes;
        let levels = definition.saturating_add(repetition);
        let [unpacked, stored] = [header.unpacked_bytes, header.stored_bytes]
            .map(|bytes| u64::try_from(bytes.saturating_sub(levels)).unwrap_or(0));
        let start = self.next.saturating_add(header.header_bytes);
        let start = start.saturating_add(u64::try_from(levels).unwrap_or(0));
        let bytes = self.object.range(start, usize::try_from(stored)?)?;
        if unpacked::exceeds(self.compression, &bytes, unpacked) {
            let bytes = header.unpacked_bytes;
            return Err(PageError::Unpacked { offset: self.next, bytes }.into());
        }
        Ok(())
    }

    /// Moves to what follows the page of `header`.
    fn pass(&mut self, header: &PageHeader) {
        self.has_dictionary |= header.is_dictionary;
        let stored_bytes = u64::try_from(header.stored_bytes).unwrap_or(0);
        self.next = self.next.saturating_add(header.header_bytes).saturating_add(stored_bytes);
    }

    fn check(&self, page: &Page) -> std::result::Result<(), PageError> {
        let values = u64::from(page.num_values());
        if values > self.rows {
            return Err(PageError::Values { values, rows: self.rows });
        }
        let encoding = page.encoding();
        match encoding {
            Encoding::PLAIN => Ok(()),
            #[allow(deprecated)]
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                let is_read = self.has_dictionary || !page.is_data_page();
                if is_read { Ok(()) } else { Err(PageError::Damaged { encoding }) }
            }
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                let data = values_of(page, self.nullable);
                let count = data.as_deref().and_then(delta_count);
                let count = count.ok_or(PageError::Damaged { encoding })?;
                if count > values {
                    return Err(PageError::Values { values: count, rows: self.rows });
                }
                Ok(())
            }
            encoding => Err(PageError::Encoding { encoding }),
        }
    }
}

/// The bytes of a page after its levels.
fn values_of(page: &Page, nullable: bool) -> Option<Bytes> {
    let buffer = page.buffer();
    let levels = match page {
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            u64::from(*def_levels_byte_len).saturating_add(u64::from(*rep_levels_byte_len))
        }
        // A length of four bytes, then the levels (RLE, the one encoding of levels that is written).
        Page::DataPage { def_level_encoding: Encoding::RLE, .. } if nullable => {
            u64::from(u32::from_le_bytes(*buffer.first_chunk()?)).saturating_add(4)
        }
        Page::DataPage { .. } if nullable => return None,
        Page::DataPage { .. } | Page::DictionaryPage { .. } => 0,
    };
    let levels = usize::try_from(levels).ok()?;
    (levels <= buffer.len()).then(|| buffer.slice(levels..))
}

/// The number of integers that a stream of DELTA_BINARY_PACKED says that it has: after the length of a
/// block and the number of its parts.
fn delta_count(stream: &[u8]) -> Option<u64> {
    let mut numbers = Compact::new(stream);
    numbers.varint().ok()?;
    numbers.varint().ok()?;
    numbers.varint().ok()
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let bytes = header.unpacked_bytes.saturating_add(header.stored_bytes);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(self.overhead_bytes);
        self.share.set(bytes)?;
        self.check_unpacked(&header)?;
        let page = self.pages.get_next_page()?;
        self.pass(&header);
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.header()?.is_none() {
            return Ok(None);
        }
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let Some(header) = self.header()? else { return Ok(()) };
        if header.is_dictionary {
            // The library keeps it, and unpacks it later.
            self.check_unpacked(&header)?;
        }
        self.pages.skip_next_page()?;
        self.pass(&header);
        Ok(())
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    /// Its header and what it unpacks to were checked when it was skipped.
    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }
}

impl Iterator for BoundedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

/// `PageHeader` of parquet.thrift, as far as it says how long a page is.
#[derive(Debug, Default, PartialEq, Eq)]
struct PageHeader {
    /// Length of the header itself.
    header_bytes: u64,
    /// Whether it is that of a data page or a dictionary.
    is_known: bool,
    /// Whether it is that of a dictionary.
    is_dictionary: bool,
    /// Whether the values are compressed, in a column that is: `7: is_compressed` of `DataPageHeaderV2`,
    /// true where nothing says so.
    is_compressed: bool,
    /// `2: uncompressed_page_size`.
    unpacked_bytes: i64,
    /// `3: compressed_page_size`.
    stored_bytes: i64,
    /// `5: definition_levels_byte_length` and `6: repetition_levels_byte_length` of `DataPageHeaderV2`,
    /// which are part of both sizes.
    levels_bytes: [i64; 2],
}

/// In a table of fields: a boolean, whose value is its wire type.
const BOOL: u8 = wire::TRUE;

/// Wire types of the fields of `DataPageHeader`, from 1; the last is `Statistics`.
const DATA_PAGE: &[u8] = &[wire::I32, wire::I32, wire::I32, wire::I32, wire::STRUCT];
/// Of `DictionaryPageHeader`.
const DICTIONARY_PAGE: &[u8] = &[wire::I32, wire::I32, BOOL];
/// Of `DataPageHeaderV2`; the last is `Statistics`.
const DATA_PAGE_V2: &[u8] =
    &[wire::I32, wire::I32, wire::I32, wire::I32, wire::I32, wire::I32, BOOL, wire::STRUCT];

impl PageHeader {
    /// Only the fields that the format has, each once, in order and of its type.
    fn parse(bytes: &[u8]) -> std::result::Result<PageHeader, CompactError> {
        let mut thrift = Compact::new(bytes);
        let mut header =
            PageHeader { is_known: true, is_compressed: true, ..PageHeader::default() };
        let mut last_id = 0;
        let mut sizes = 0;
        while let Some((field, found)) = thrift.field(last_id)? {
            let wrong = CompactError::WireType { field, found };
            match (field, found) {
                _ if field <= last_id => return Err(wrong),
                (1 | 4, wire::I32) => drop(thrift.zigzag()?),
                (2, wire::I32) => header.unpacked_bytes = thrift.zigzag()?,
                (3, wire::I32) => header.stored_bytes = thrift.zigzag()?,
                (5, wire::STRUCT) => drop(fields(&mut thrift, DATA_PAGE)?),
                (6, wire::STRUCT) => header.is_known = false,
                (7, wire::STRUCT) => {
                    fields(&mut thrift, DICTIONARY_PAGE)?;
                    header.is_dictionary = true;
                }
                (8, wire::STRUCT) => {
                    let [_, _, _, _, definition, repetition, compressed, _] =
                        fields(&mut thrift, DATA_PAGE_V2)?;
                    header.is_compressed = compressed != i64::from(wire::FALSE);
                    header.levels_bytes = [definition, repetition];
                }
                _ => return Err(wrong),
            }
            if !header.is_known {
                return Ok(header);
            }
            sizes += usize::from(field == 2 || field == 3);
            last_id = field;
        }
        if sizes != 2 || header.stored_bytes < 0 {
            return Err(CompactError::End);
        }
        header.header_bytes = bytes.len().saturating_sub(thrift.remaining()) as u64;
        Ok(header)
    }
}

/// The numbers in a struct that has only fields of these types, from field 1; 0 for what is none. A
/// boolean is its wire type.
fn fields(thrift: &mut Compact<'_>, types: &[u8]) -> std::result::Result<[i64; 8], CompactError> {
    let mut numbers = [0; 8];
    let mut last_id = 0;
    while let Some((field, found)) = thrift.field(last_id)? {
        let wrong = CompactError::WireType { field, found };
        let at = usize::try_from(field.saturating_sub(1)).unwrap_or(usize::MAX);
        let expected = types.get(at);
        let fits = match expected {
            Some(&BOOL) => found == wire::TRUE || found == wire::FALSE,
            expected => expected == Some(&found),
        };
        if field <= last_id || !fits {
            return Err(wrong);
        }
        let number = match found {
            wire::I32 => thrift.zigzag()?,
            wire::STRUCT => {
                statistics(thrift)?;
                0
            }
            _ => {
                thrift.skip(found)?;
                i64::from(found)
            }
        };
        if let Some(place) = numbers.get_mut(at) {
            *place = number;
        }
        last_id = field;
    }
    Ok(numbers)
}

/// Skips `Statistics`, whose values are single ones.
fn statistics(thrift: &mut Compact<'_>) -> std::result::Result<(), CompactError> {
    while let Some((field, found)) = thrift.field(0)? {
        match found {
            wire::TRUE | wire::FALSE | wire::I32 | wire::I64 | wire::BINARY => {
                thrift.skip(found)?
            }
            _ => return Err(CompactError::WireType { field, found }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_open_pages_changes_with_its_page_and_ends_with_its_column() {
        let all = OpenPages::default();
        let share = || OpenShare { all: all.clone(), bytes: 0 };
        let mut first = share();
        first.set(MAX_OPEN_BYTES).unwrap();
        first.set(MAX_OPEN_BYTES - 10).unwrap();
        let mut second = share();
        second.set(10).unwrap();
        assert!(matches!(second.set(11), Err(PageError::OpenPages)));
        drop(first);
        second.set(MAX_OPEN_BYTES).unwrap();
        drop(second);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
