//! Parquet files that were made to harm `verify`: pages that unpack to gigabytes or say what is not so, and
//! damage by chance. Every one ends in a named difference, in bounded memory and time.
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use offloom_encoder::scale;
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden::export;
use crate::program::{Said, program, said};

pub const GIB: u64 = 1 << 30;

/// An exported folder of one class whose file is replaced.
pub struct Folder {
    _to: TempDir,
    path: PathBuf,
    pub rows: u64,
}

impl Folder {
    pub fn of_notes() -> Folder {
        let fixture = offloom_fixtures::unpack("basic").unwrap();
        let to = tempfile::tempdir().unwrap();
        let more = ["--include", "Note"];
        let exported = export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more);
        let path = exported.expect_success().folder();
        let mut folder = Folder { _to: to, path, rows: 0 };
        folder.rows = folder.manifest()["files"][0]["rows"].as_u64().unwrap();
        folder
    }

    fn manifest(&self) -> Value {
        let manifest = std::fs::read(self.path.join("export_metadata.json")).unwrap();
        serde_json::from_slice(&manifest).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.path.join("Note.parquet")
    }

    /// Writes the file, with a manifest that has its size and digest, and its blocks if they are others.
    fn write(&self, bytes: &[u8], blocks: Option<Value>) {
        std::fs::write(self.file(), bytes).unwrap();
        let mut manifest = self.manifest();
        let file = &mut manifest["files"][0];
        file["sizeBytes"] = json!(bytes.len());
        file["digest"] = json!(Digest::of(DigestAlgorithm::Blake3, bytes));
        if let Some(blocks) = blocks {
            file["blocks"] = blocks;
        }
        std::fs::write(self.path.join("export_metadata.json"), manifest.to_string()).unwrap();
    }

    /// A file with one column of ids, whose chunk is these pages.
    pub fn write_pages(&self, pages: &Pages) {
        let schema =
            Arc::new(parse_message_type("message m { required binary id (string); }").unwrap());
        let schema = Arc::new(SchemaDescriptor::new(schema));
        let length = pages.bytes.len() as i64;
        let column = ColumnChunkMetaData::builder(schema.column(0))
            .set_compression(pages.compression)
            .set_num_values(self.rows as i64)
            .set_total_compressed_size(length)
            .set_total_uncompressed_size(length)
            .set_data_page_offset(4 + pages.dictionary_bytes as i64)
            .set_dictionary_page_offset((pages.dictionary_bytes > 0).then_some(4))
            .build()
            .unwrap();
        let row_group = RowGroupMetaData::builder(schema.clone())
            .set_num_rows(self.rows as i64)
            .set_total_byte_size(length)
            .set_column_metadata(vec![column])
            .build()
            .unwrap();
        let file = FileMetaData::new(2, self.rows as i64, None, None, schema, None);
        let metadata = ParquetMetaData::new(file, vec![row_group]);
        let mut bytes = [b"PAR1", &pages.bytes[..]].concat();
        ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
        let block = json!([{ "offset": 4, "length": length, "rows": self.rows }]);
        self.write(&bytes, Some(block));
    }

    /// `verify` with 600 MB of address space, threads and the program itself included, and a minute.
    pub fn verify(&self) -> Said {
        let script = "ulimit -v 600000 && exec timeout 60 \"$0\" verify \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program().get_program()).arg(&self.path);
        said(&mut command)
    }
}

/// A column chunk.
pub struct Pages {
    bytes: Vec<u8>,
    dictionary_bytes: usize,
    compression: Compression,
}

/// Thrift's compact protocol: a signed number.
fn zigzag(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Fields 1, 2, 3 and so on of a struct, all `i32`.
fn numbers(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| [vec![0x15], zigzag(*number)].concat()).collect()
}

impl Pages {
    pub fn of(compression: Compression) -> Pages {
        Pages { bytes: Vec::new(), dictionary_bytes: 0, compression }
    }

    fn page(mut self, sizes: [i64; 3], delta: u8, of_kind: &[u8], body: &[u8]) -> Pages {
        self.bytes.extend(numbers(&sizes));
        self.bytes.push(delta << 4 | 0x0c);
        self.bytes.extend(of_kind);
        self.bytes.extend([0, 0]);
        self.bytes.extend(body);
        self
    }

    /// A page of version 1 that says these sizes and this number of values, in this encoding.
    pub fn v1(self, unpacked: i64, stored: i64, values: i64, encoding: i64, body: &[u8]) -> Pages {
        self.page([0, unpacked, stored], 2, &numbers(&[values, encoding, 3, 3]), body)
    }

    /// A page of version 2 with levels of these lengths.
    pub fn v2(
        self,
        unpacked: i64,
        stored: i64,
        values: i64,
        levels: [i64; 2],
        body: &[u8],
    ) -> Pages {
        let of_kind = numbers(&[values, 0, values, 0, levels[0], levels[1]]);
        self.page([3, unpacked, stored], 5, &of_kind, body)
    }

    pub fn dictionary(mut self, unpacked: i64, stored: i64, values: i64, body: &[u8]) -> Pages {
        self = self.page([2, unpacked, stored], 4, &numbers(&[values, 0]), body);
        self.dictionary_bytes = self.bytes.len();
        self
    }
}

/// A frame of Zstandard that unpacks to so many zeros: blocks of 128 KiB that repeat one byte.
fn zeros(bytes: u64) -> Vec<u8> {
    const BLOCK: u64 = 128 * 1024;
    // Magic, a header without sizes, a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    let blocks = bytes / BLOCK;
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | 1 << 1 | (BLOCK as u32) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn pages_that_say_or_unpack_to_too_much_end_in_an_error_within_bounded_memory() {
    let folder = Folder::of_notes();
    let rows = folder.rows as i64;
    let bomb = zeros(GIB);
    assert!(bomb.len() < 64 * 1024);
    let (gib, max) = (GIB as i64, i64::from(i32::MAX));
    let stored = bomb.len() as i64;
    let one = [&[2, 0, 0, 0][..], b"id"].concat();
    let plain = one.repeat(folder.rows as usize);
    let length = plain.len() as i64;
    let none = || Pages::of(Compression::UNCOMPRESSED);
    let zstd = || Pages::of(Compression::ZSTD(ZstdLevel::try_new(3).unwrap()));
    let cases = [
        // What is said, and what is so.
        (
            "a v1 page that says a gigabyte",
            zstd().v1(gib, stored, rows, 0, &bomb),
            "says that it unpacks to 1073741824 bytes",
        ),
        (
            "a v2 page that says a gigabyte",
            zstd().v2(gib, stored, rows, [0, 0], &bomb),
            "says that it unpacks to 1073741824 bytes",
        ),
        (
            "a dictionary that says a gigabyte",
            zstd().dictionary(gib, stored, 1, &bomb).v1(2, 2, rows, 8, &[0, 0]),
            "says that it unpacks to 1073741824 bytes",
        ),
        ("a v1 page that says a kilobyte", zstd().v1(1024, stored, rows, 0, &bomb), "column id: "),
        (
            "a v2 page that says a kilobyte",
            zstd().v2(1024, stored, rows, [0, 0], &bomb),
            "column id: ",
        ),
        (
            "a dictionary that says a kilobyte",
            zstd().dictionary(1024, stored, 1, &bomb).v1(2, 2, rows, 8, &[0, 0]),
            "column id: ",
        ),
        ("less than nothing", zstd().v1(-1, stored, rows, 0, &bomb), "says that it unpacks to "),
        (
            "stored bytes beyond the file",
            none().v1(length, max, rows, 0, &plain),
            "says that it unpacks to 2147482623 bytes",
        ),
        (
            "stored bytes beyond the chunk",
            none().v1(length, length + 200, rows, 0, &plain),
            "column id: ",
        ),
        (
            "stored bytes below zero",
            none().v1(length, -5, rows, 0, &plain),
            "the page header at 4: ",
        ),
        // Numbers of values.
        (
            "two thousand million values",
            none().v1(length, length, max, 0, &plain),
            "a page says that it has 2147483647 values",
        ),
        (
            "the same in version 2",
            none().v2(length, length, max, [0, 0], &plain),
            "a page says that it has 2147483647 values",
        ),
        (
            "the same in a dictionary",
            none().dictionary(length, length, max, &plain).v1(2, 2, rows, 8, &[0, 0]),
            "a page says that it has 2147483647 values",
        ),
        ("values below zero", none().v1(length, length, -1, 0, &plain), "column id: "),
        ("fewer values than rows", none().v1(length, length, 1, 0, &plain), "rows are missing"),
        // Lengths in pages.
        ("a text of four gigabytes", none().v1(4, 4, rows, 0, &[0xff; 4]), "column id: "),
        (
            "levels of two gigabytes",
            none().v2(length, length, rows, [max, max], &plain),
            "and levels of [2147483647, 2147483647] bytes",
        ),
        (
            "levels of less than nothing",
            none().v2(length, length, rows, [-8, 8], &plain),
            "and levels of [-8, 8] bytes",
        ),
        (
            "indexes of 255 bits",
            none().dictionary(6, 6, 1, &one).v1(3, 3, rows, 8, &[255, 2, 0]),
            "difference: Note",
        ),
        (
            "an index that the dictionary does not have",
            none().dictionary(6, 6, 1, &one).v1(4, 4, rows, 8, &[8, 0xfe, 0x7f, 9]),
            "difference: Note",
        ),
        (
            "a run of two thousand million",
            none().dictionary(6, 6, 1, &one).v1(
                7,
                7,
                rows,
                8,
                &[1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0],
            ),
            "occurs twice",
        ),
        (
            "indexes without a dictionary",
            none().v1(3, 3, rows, 8, &[1, 0xfe, 0x7f]),
            "a page of the encoding RLE_DICTIONARY is damaged",
        ),
        // Headers.
        (
            "a million empty pages",
            Pages { bytes: none().v1(0, 0, 0, 0, &[]).bytes.repeat(1_000_000), ..none() },
            "rows are missing",
        ),
        (
            "a header without an end",
            Pages { bytes: vec![0x15; 1 << 20], ..none() },
            "the page header at 4: ",
        ),
        (
            "statistics of two gigabytes",
            none().page(
                [0, length, length],
                2,
                &[&numbers(&[rows, 0, 3, 3])[..], &[0x1c, 0x18, 0xff, 0xff, 0xff, 0xff, 0x07]]
                    .concat(),
                &plain,
            ),
            "the page header at 4: ",
        ),
    ];
    let honest = none().v1(length, length, rows, 0, &plain);
    folder.write_pages(&honest);
    let said = folder.verify();
    // Pages are read: what differs are the ids.
    assert!(
        said.err.contains("the first row is id") || said.err.contains("occurs twice"),
        "{said:#?}"
    );
    for (name, pages, words) in &cases {
        folder.write_pages(pages);
        let said = folder.verify();
        assert_eq!(said.status, Some(1), "{name}: {said:#?}");
        let difference = said.err.lines().find(|line| line.starts_with("difference: Note"));
        assert!(difference.is_some() && said.err.contains(words), "{name}: {said:#?}");
        assert!(!said.err.contains("panicked"), "{name}: {said:#?}");
    }
}

/// The ids of a file, as the library alone reads them.
fn ids(file: &Path) -> Option<Vec<Vec<u8>>> {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let read = move || -> Option<Vec<Vec<u8>>> {
        let reader = SerializedFileReader::new(bytes).ok()?;
        let mut ids = Vec::new();
        for number in 0..reader.num_row_groups() {
            let row_group = reader.get_row_group(number).ok()?;
            let columns = row_group.metadata().columns();
            let id = columns.iter().position(|column| column.column_path().string() == "id")?;
            let ColumnReader::ByteArrayColumnReader(mut column) =
                row_group.get_column_reader(id).ok()?
            else {
                return None;
            };
            let mut values = Vec::new();
            let rows = usize::try_from(row_group.metadata().num_rows()).ok()?;
            while column.read_records(rows, None, None, &mut values).ok()?.0 > 0 {}
            ids.extend(values.iter().map(|value| value.data().to_vec()));
        }
        Some(ids)
    };
    catch_unwind(read).ok()?
}

/// Where the pages of the ids lie in a file of one row group.
fn id_pages(file: &[u8]) -> std::ops::Range<usize> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).unwrap();
    assert_eq!(reader.num_row_groups(), 1);
    let id = reader.metadata().row_group(0).column(0);
    assert_eq!(id.column_path().string(), "id");
    let (start, length) = id.byte_range();
    start as usize..(start + length) as usize
}

/// Damage by chance, in pages and footers: `verify` is content only with files that have the same ids, and
/// with the digest of the whole file with no other file at all. Where the damage is in the ids themselves, a
/// digit of one between two others can change unseen, since the digest is forged too (`docs/export-format.md`,
/// Verify): there are as many ids, in their order, from the same first to the same last one.
#[test]
fn damaged_files_are_found_or_have_the_same_ids() {
    let folder = Folder::of_notes();
    let whole = std::fs::read(folder.file()).unwrap();
    let manifest = std::fs::read(folder.path.join("export_metadata.json")).unwrap();
    let of_whole = ids(&folder.file()).unwrap();
    assert_eq!(of_whole.len() as u64, folder.rows);
    let id_pages = id_pages(&whole);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let files = scale(80, 1_500);
    let (mut found, mut accepted, mut same) = (0, 0, 0);
    for number in 0..files {
        let mut bytes = whole.clone();
        // Half of the damage is in the footer, which is short.
        let from = if random(2) == 0 { whole.len().saturating_sub(2_000) } else { 0 };
        for _ in 0..=random(3) {
            let at = from + random(bytes.len() - from);
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes[at] = 0xff,
                _ => {
                    let length = random(64).min(bytes.len() - at);
                    let other = random(bytes.len() - length);
                    bytes.copy_within(other..other + length, at);
                }
            }
        }
        let damage = bytes != whole;
        if number % 8 == 0 {
            // The digest of the whole file.
            std::fs::write(folder.file(), &bytes).unwrap();
            let said = folder.verify();
            assert_eq!(said.status, Some(i32::from(damage)), "{number}: {said:#?}");
            assert!(!damage || said.err.contains("difference: Note.parquet"), "{said:#?}");
        }
        folder.write(&bytes, None);
        let said = folder.verify();
        match said.status {
            Some(0) => {
                let ids = ids(&folder.file()).unwrap();
                let is_damaged = bytes[id_pages.clone()] != whole[id_pages.clone()];
                assert!(is_damaged || ids == of_whole, "{number}: {said:#?}");
                assert_eq!(ids.len(), of_whole.len(), "{number}: {said:#?}");
                assert!(ids.is_sorted_by(|one, next| one < next), "{number}: {said:#?}");
                let ends = [ids.first(), ids.last()];
                assert_eq!(ends, [of_whole.first(), of_whole.last()], "{number}: {said:#?}");
                same += usize::from(ids == of_whole);
                accepted += 1;
            }
            Some(1) => {
                assert!(said.err.contains("difference: Note"), "{number}: {said:#?}");
                found += 1;
            }
            _ => panic!("{number}: {said:#?}"),
        }
        std::fs::write(folder.path.join("export_metadata.json"), &manifest).unwrap();
    }
    println!(
        "soak: {files} damaged files: {found} found, {same} of {accepted} others with the same ids"
    );
    assert!(found > files / 4 && same > 0, "{found} {same}");
}
