//! The guest options of this exporter: all of them, with their values and defaults.
use std::collections::BTreeMap;

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};

use crate::bindings::offloom::export::types::Error;

/// The known options, for error messages.
const KNOWN: &str = "known options: compression = zstd (default) | snappy | gzip | lz4_raw | brotli | none; \
     compression-level = 1 to 9 for zstd (default 3) and gzip (default 6), 0 to 9 for brotli (default 4); \
     compression.COLUMN and compression-level.COLUMN = the same, of one column; \
     vector-compression = auto (default: as compression, in blocks whose vectors shrink by a tenth) | \
     same (as compression) | none; \
     pages = v2 (default) | v1 (for readers that know no pages of version 2); \
     page-bytes = 4096 to 16777216; \
     row-group-bytes = 1048576 to 67108864 (default 16777216); \
     layout = weaviate (default) | typed";

/// Uncompressed bytes of rows in a row group, unless an option says otherwise.
pub const BLOCK_BYTES: u64 = 16 * 1024 * 1024;

/// Data pages smaller than this are more header than values; larger ones take the readers' memory.
const PAGE_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=16 * 1024 * 1024;

/// What the host takes (`wit/worlds.wit`).
const ROW_GROUP_BYTES: std::ops::RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024;

/// The options of one export, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Of every column that has none of its own.
    pub compression: Compression,
    /// Of the columns with these names.
    pub columns: BTreeMap<String, Compression>,
    /// Of columns that hold one vector a row and have no compression of their own.
    pub vector_compression: VectorCompression,
    /// Of every column.
    pub pages: Pages,
    /// Bytes that a data page should have; by default they depend on the column.
    pub page_bytes: Option<usize>,
    /// Uncompressed bytes of rows in a row group.
    pub row_group_bytes: u64,
    /// What the columns are.
    pub layout: LayoutKind,
}

/// What the columns of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutKind {
    /// Those of Weaviate's own export.
    Weaviate,
    /// One for each property and named vector, of its type.
    Typed,
}

/// Version of the data pages, with the encodings that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Only plain and dictionary encodings: Spark before 3.4 and fastparquet read no others.
    V1,
    /// Delta encodings too, which are smaller.
    V2,
}

/// How columns that hold one vector a row are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorCompression {
    /// As the other columns in blocks whose vectors shrink, and not at all in others: those of most
    /// embeddings shrink by 7 %, which took half of the time.
    Auto,
    /// As the other columns.
    Same,
    /// Not at all.
    Plain,
}

/// What was asked for one column, or for all.
#[derive(Debug, Clone, Copy, Default)]
struct Asked<'a> {
    codec: Option<Codec>,
    /// Key and value.
    level: Option<(&'a str, &'a str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Zstd,
    Snappy,
    Gzip,
    Lz4Raw,
    Brotli,
    Plain,
}

impl Settings {
    /// Reads the options. An unknown name, a name given twice and a bad value are `unsupported`
    /// errors that list what is known.
    pub fn parse(options: &[(String, String)]) -> Result<Settings, Error> {
        let mut settings = Settings {
            compression: Compression::UNCOMPRESSED,
            columns: BTreeMap::new(),
            vector_compression: VectorCompression::Auto,
            pages: Pages::V2,
            page_bytes: None,
            row_group_bytes: BLOCK_BYTES,
            layout: LayoutKind::Weaviate,
        };
        let mut asked = Asked::default();
        let mut of_columns: BTreeMap<&str, Asked<'_>> = BTreeMap::new();
        for (index, (key, value)) in options.iter().enumerate() {
            if options.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(Error::Unsupported(format!("option `{key}` is given twice")));
            }
            let bad_value = || bad_value(key, value);
            let (name, column) = match key.split_once('.') {
                Some((name, column)) if !column.is_empty() => (name, Some(column)),
                _ => (key.as_str(), None),
            };
            match (name, column) {
                ("compression" | "compression-level", _) => {
                    let asked = match column {
                        Some(column) => of_columns.entry(column).or_default(),
                        None => &mut asked,
                    };
                    match name {
                        "compression" => {
                            asked.codec = Some(Codec::named(value).ok_or_else(bad_value)?);
                        }
                        _ => asked.level = Some((key.as_str(), value.as_str())),
                    }
                }
                ("vector-compression", None) => {
                    settings.vector_compression = match value.as_str() {
                        "auto" => VectorCompression::Auto,
                        "same" => VectorCompression::Same,
                        "none" => VectorCompression::Plain,
                        _ => return Err(bad_value()),
                    }
                }
                ("pages", None) => {
                    settings.pages = match value.as_str() {
                        "v1" => Pages::V1,
                        "v2" => Pages::V2,
                        _ => return Err(bad_value()),
                    }
                }
                ("page-bytes", None) => {
                    let bytes = number(value, &PAGE_BYTES).ok_or_else(bad_value)?;
                    settings.page_bytes = Some(usize::try_from(bytes).map_err(|_| bad_value())?);
                }
                ("row-group-bytes", None) => {
                    let bytes = number(value, &ROW_GROUP_BYTES);
                    settings.row_group_bytes = bytes.ok_or_else(bad_value)?;
                }
                ("layout", None) => {
                    settings.layout = match value.as_str() {
                        "weaviate" => LayoutKind::Weaviate,
                        "typed" => LayoutKind::Typed,
                        _ => return Err(bad_value()),
                    }
                }
                _ => {
                    return Err(Error::Unsupported(format!("unknown option `{key}`; {KNOWN}")));
                }
            }
        }
        settings.compression = asked.compression()?;
        for (column, of_column) in of_columns {
            let codec = of_column.codec.or(asked.codec);
            let is_same = codec.unwrap_or(Codec::Zstd) == asked.codec.unwrap_or(Codec::Zstd);
            // The level of all columns is one of their codec.
            let level = of_column.level.or(asked.level.filter(|_| is_same));
            let compression = Asked { codec, level }.compression()?;
            settings.columns.insert(column.to_owned(), compression);
        }
        Ok(settings)
    }

    /// The compression of the column with this name.
    pub(crate) fn of_column(&self, name: &str) -> Compression {
        self.columns.get(name).copied().unwrap_or(self.compression)
    }
}

impl Asked<'_> {
    fn compression(self) -> Result<Compression, Error> {
        let codec = self.codec.unwrap_or(Codec::Zstd);
        let level = match self.level {
            Some((key, value)) => Some(value.parse().map_err(|_| bad_value(key, value))?),
            None => None,
        };
        codec.compression(level).ok_or_else(|| {
            let (key, value) = self.level.unwrap_or_default();
            bad_value(key, value)
        })
    }
}

impl Codec {
    fn named(name: &str) -> Option<Codec> {
        Some(match name {
            "zstd" => Codec::Zstd,
            "snappy" => Codec::Snappy,
            "gzip" => Codec::Gzip,
            "lz4_raw" => Codec::Lz4Raw,
            "brotli" => Codec::Brotli,
            "none" => Codec::Plain,
            _ => return None,
        })
    }

    /// `None` for a level that the codec does not have. The levels are those that the host lends.
    fn compression(self, level: Option<u32>) -> Option<Compression> {
        let of = |default: u32, least: u32| {
            level.or(Some(default)).filter(|level| (least..=9).contains(level))
        };
        Some(match self {
            Codec::Zstd => {
                let level = i32::try_from(of(3, 1)?).ok()?;
                Compression::ZSTD(ZstdLevel::try_new(level).ok()?)
            }
            Codec::Gzip => Compression::GZIP(GzipLevel::try_new(of(6, 1)?).ok()?),
            Codec::Brotli => Compression::BROTLI(BrotliLevel::try_new(of(4, 0)?).ok()?),
            Codec::Snappy | Codec::Lz4Raw if level.is_some() => return None,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Lz4Raw => Compression::LZ4_RAW,
            // A level beside it was never an error.
            Codec::Plain => {
                of(1, 1)?;
                Compression::UNCOMPRESSED
            }
        })
    }
}

fn number(value: &str, range: &std::ops::RangeInclusive<u64>) -> Option<u64> {
    value.parse().ok().filter(|number| range.contains(number))
}

fn bad_value(key: &str, value: &str) -> Error {
    Error::Unsupported(format!("option `{key}` does not take `{value}`; {KNOWN}"))
}
