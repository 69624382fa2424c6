//! The parts of pages besides their values, for data pages of version 2, and the lengths of byte arrays.
//!
//! The `parquet` crate makes them only together with the values, which this guest does not have.

/// What the header of a data page says (`parquet.thrift`, `PageHeader` and `DataPageHeaderV2`).
pub(crate) struct DataPageHeader {
    /// Of the levels and the values, before compression.
    pub(crate) uncompressed_bytes: i32,
    /// Of the levels, which are never compressed, and the values as they are written.
    pub(crate) compressed_bytes: i32,
    pub(crate) rows: i32,
    /// Nulls included; a list has any number of them.
    pub(crate) values: i32,
    pub(crate) nulls: i32,
    pub(crate) encoding: DataEncoding,
    pub(crate) definition_bytes: i32,
    pub(crate) repetition_bytes: i32,
    pub(crate) is_compressed: bool,
}

/// `PageType.DATA_PAGE_V2`.
const DATA_PAGE_V2: i32 = 3;
/// `PageType.DICTIONARY_PAGE`.
const DICTIONARY_PAGE: i32 = 2;
/// `Encoding.PLAIN`.
const PLAIN: i32 = DataEncoding::Plain as i32;

/// The encoding of the values of a data page, by its number in `parquet.thrift`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DataEncoding {
    /// `Encoding.PLAIN`.
    Plain = 0,
    /// `Encoding.DELTA_LENGTH_BYTE_ARRAY`.
    DeltaLengthByteArray = 6,
    /// `Encoding.RLE_DICTIONARY`.
    RleDictionary = 8,
}

impl DataPageHeader {
    /// In Thrift's compact protocol.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut page = Struct::new(out);
        page.i32(1, DATA_PAGE_V2);
        page.i32(2, self.uncompressed_bytes);
        page.i32(3, self.compressed_bytes);
        page.field(8, STRUCT);
        let mut data = Struct::new(page.out);
        data.i32(1, self.values);
        data.i32(2, self.nulls);
        data.i32(3, self.rows);
        data.i32(4, self.encoding as i32);
        data.i32(5, self.definition_bytes);
        data.i32(6, self.repetition_bytes);
        data.field(7, if self.is_compressed { TRUE } else { FALSE });
        data.end();
        page.end();
    }
}

/// The header of a dictionary page of one value, which has `bytes` bytes and is not compressed.
pub(crate) fn write_dictionary_header(out: &mut Vec<u8>, bytes: i32) {
    let mut page = Struct::new(out);
    page.i32(1, DICTIONARY_PAGE);
    page.i32(2, bytes);
    page.i32(3, bytes);
    page.field(7, STRUCT);
    let mut dictionary = Struct::new(page.out);
    dictionary.i32(1, 1);
    dictionary.i32(2, PLAIN);
    dictionary.end();
    page.end();
}

/// The index 0 of a dictionary, `rows` times: the width of an index in bits, and one run.
pub(crate) fn write_single_run(out: &mut Vec<u8>, rows: i32) {
    out.push(1);
    write_varint(out, u64::from(rows.unsigned_abs()) << 1);
    out.push(0);
}

/// Types of fields in Thrift's compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const STRUCT: u8 = 12;

/// A struct that is being written, field by field in ascending order.
struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: u8,
}

impl<'a> Struct<'a> {
    fn new(out: &'a mut Vec<u8>) -> Struct<'a> {
        Struct { out, last: 0 }
    }

    /// The ids here lie less than 16 apart, which fits the short form.
    fn field(&mut self, id: u8, kind: u8) {
        self.out.push(id.saturating_sub(self.last) << 4 | kind);
        self.last = id;
    }

    fn i32(&mut self, id: u8, value: i32) {
        self.field(id, I32);
        write_zigzag(self.out, i64::from(value));
    }

    fn end(self) {
        self.out.push(0);
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits; the cast drops the others.
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_zigzag(out: &mut Vec<u8>, value: i64) {
    write_varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

/// Shorter runs of equal levels are packed by bits.
const SHORTEST_RUN: usize = 8;

/// Definition levels of a column that may be null.
pub(crate) fn write_levels(out: &mut Vec<u8>, valid: &[bool]) {
    let mut levels = Levels::new(out, 1);
    for run in valid.chunk_by(|one, next| one == next) {
        levels.push(run.first().copied().map_or(0, u8::from), run.len());
    }
    levels.end();
}

/// What was written of lists.
pub(crate) struct ListLevels {
    pub(crate) repetition_bytes: usize,
    /// Elements, and one for each list that is null or empty.
    pub(crate) values: usize,
    /// Lists that are null or empty.
    pub(crate) nulls: usize,
}

/// Repetition and then definition levels of lists that may be null, whose elements may not. `rows` are
/// the elements of each list.
pub(crate) fn write_list_levels(
    out: &mut Vec<u8>,
    rows: impl Iterator<Item = Option<usize>>,
) -> ListLevels {
    let mut definition = Vec::new();
    let (mut values, mut nulls) = (0_usize, 0_usize);
    let before = out.len();
    let mut repetition_levels = Levels::new(out, 1);
    let mut definition_levels = Levels::new(&mut definition, 2);
    let mut run = (0, 0_usize);
    for row in rows {
        let elements = row.unwrap_or(0);
        nulls = nulls.saturating_add(usize::from(elements == 0));
        values = values.saturating_add(elements.max(1));
        repetition_levels.push(0, 1);
        repetition_levels.push(1, elements.saturating_sub(1));
        let level = match row {
            None => 0,
            Some(0) => 1,
            Some(_) => 2,
        };
        if level != run.0 {
            definition_levels.push(run.0, run.1);
            run = (level, 0);
        }
        run.1 = run.1.saturating_add(elements.max(1));
    }
    definition_levels.push(run.0, run.1);
    definition_levels.end();
    repetition_levels.end();
    let repetition_bytes = out.len().saturating_sub(before);
    out.append(&mut definition);
    ListLevels { repetition_bytes, values, nulls }
}

/// Levels of `width` bits, in the RLE hybrid (Parquet's format, encodings, "Run Length Encoding /
/// Bit-Packing Hybrid").
struct Levels<'a> {
    out: &'a mut Vec<u8>,
    width: u32,
    /// Whole groups of eight levels.
    packed: Vec<u8>,
    /// The group that is being filled.
    group: u32,
    filled: u32,
}

impl<'a> Levels<'a> {
    fn new(out: &'a mut Vec<u8>, width: u32) -> Levels<'a> {
        Levels { out, width, packed: Vec::new(), group: 0, filled: 0 }
    }

    /// Adds a level so many times.
    fn push(&mut self, level: u8, mut count: usize) {
        while count > 0 {
            if self.filled == 0 && count >= SHORTEST_RUN {
                self.write_packed();
                write_varint(self.out, (count as u64) << 1);
                self.out.push(level);
                return;
            }
            self.group |= u32::from(level) << self.filled.saturating_mul(self.width);
            self.filled = self.filled.saturating_add(1);
            count = count.saturating_sub(1);
            if self.filled == 8 {
                self.end_group();
            }
        }
    }

    fn end_group(&mut self) {
        // Eight levels have as many bytes as a level has bits.
        self.packed.extend(self.group.to_le_bytes().iter().take(self.width as usize));
        (self.group, self.filled) = (0, 0);
    }

    fn write_packed(&mut self) {
        if !self.packed.is_empty() {
            let groups = self.packed.len() / self.width as usize;
            write_varint(self.out, (groups as u64) << 1 | 1);
            self.out.append(&mut self.packed);
        }
    }

    /// A packed run has a multiple of eight levels; only the last one may be filled up.
    fn end(mut self) {
        if self.filled > 0 {
            self.end_group();
        }
        self.write_packed();
    }
}

/// Values of a block and of its miniblocks (Parquet's format, encodings, "Delta Encoding").
const BLOCK_VALUES: usize = 128;
const MINIBLOCKS: usize = 4;

/// Lengths in DELTA_BINARY_PACKED, as DELTA_LENGTH_BYTE_ARRAY has them before the bytes.
pub(crate) fn write_lengths(out: &mut Vec<u8>, lengths: &[u32]) {
    write_varint(out, BLOCK_VALUES as u64);
    write_varint(out, MINIBLOCKS as u64);
    write_varint(out, lengths.len() as u64);
    let first = lengths.first().copied().unwrap_or(0);
    write_zigzag(out, i64::from(first));
    let followers = lengths.iter().zip(lengths.iter().skip(1));
    let deltas: Vec<i64> = followers
        .map(|(before, after)| i64::from(*after).saturating_sub(i64::from(*before)))
        .collect();
    for block in deltas.chunks(BLOCK_VALUES) {
        write_block(out, block);
    }
}

fn write_block(out: &mut Vec<u8>, deltas: &[i64]) {
    let least = deltas.iter().copied().min().unwrap_or(0);
    write_zigzag(out, least);
    let above = |delta: &i64| delta.saturating_sub(least).cast_unsigned();
    let miniblocks = deltas.chunks(BLOCK_VALUES / MINIBLOCKS);
    let widths = miniblocks.clone().map(|miniblock| {
        let most = miniblock.iter().map(above).max().unwrap_or(0);
        u64::BITS.saturating_sub(most.leading_zeros())
    });
    // Miniblocks without values have a width, and no bytes.
    let absent = MINIBLOCKS.saturating_sub(miniblocks.len());
    // At most 33, so the cast is exact.
    out.extend(widths.clone().map(|width| width as u8));
    out.extend(std::iter::repeat_n(0, absent));
    for (miniblock, width) in miniblocks.zip(widths) {
        let missing = (BLOCK_VALUES / MINIBLOCKS).saturating_sub(miniblock.len());
        let values = miniblock.iter().map(above).chain(std::iter::repeat_n(0, missing));
        write_bits(out, values, width);
    }
}

/// Values of `width` bits, at most 56, lowest bit first; a multiple of eight of them.
fn write_bits(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut bits, mut pending) = (0_u64, 0_u32);
    for value in values {
        // Fewer than eight bits are pending, so none is lost.
        bits |= value << pending;
        pending = pending.saturating_add(width);
        while pending >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            pending = pending.saturating_sub(8);
        }
    }
}
