//! The guest options of this exporter: all of them, with their values and defaults.
use parquet::basic::{Compression, ZstdLevel};

use crate::bindings::offloom::export::types::Error;

/// The known options, for error messages.
const KNOWN: &str = "known options: compression = zstd (default) | none; \
     compression-level = 1 to 9 (default 3, for zstd); \
     vector-compression = auto (default: as compression, in blocks whose vectors shrink by a tenth) | \
     same (as compression) | none; \
     pages = v2 (default) | v1 (for readers that know no pages of version 2)";

/// The options of one export, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Of every column but `vector`.
    pub compression: Compression,
    /// Of columns that hold one vector a row.
    pub vector_compression: VectorCompression,
    /// Of every column.
    pub pages: Pages,
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

impl Settings {
    /// Reads the options. An unknown name, a name given twice and a bad value are `unsupported`
    /// errors that list what is known.
    pub fn parse(options: &[(String, String)]) -> Result<Settings, Error> {
        let mut compressed = true;
        let mut vector_compression = VectorCompression::Auto;
        let mut level = 3;
        let mut pages = Pages::V2;
        for (index, (key, value)) in options.iter().enumerate() {
            if options.iter().take(index).any(|(earlier, _)| earlier == key) {
                return Err(Error::Unsupported(format!("option `{key}` is given twice")));
            }
            match (key.as_str(), value.as_str()) {
                ("compression", "zstd") => compressed = true,
                ("compression", "none") => compressed = false,
                ("compression-level", text) => {
                    level = text
                        .parse()
                        .ok()
                        .filter(|level| (1..=9).contains(level))
                        .ok_or_else(|| bad_value(key, value))?;
                }
                ("vector-compression", "auto") => vector_compression = VectorCompression::Auto,
                ("vector-compression", "same") => vector_compression = VectorCompression::Same,
                ("vector-compression", "none") => vector_compression = VectorCompression::Plain,
                ("pages", "v1") => pages = Pages::V1,
                ("pages", "v2") => pages = Pages::V2,
                ("compression" | "vector-compression" | "pages", _) => {
                    return Err(bad_value(key, value));
                }
                _ => {
                    return Err(Error::Unsupported(format!("unknown option `{key}`; {KNOWN}")));
                }
            }
        }
        let level =
            ZstdLevel::try_new(level).map_err(|error| Error::Unsupported(error.to_string()))?;
        let compression =
            if compressed { Compression::ZSTD(level) } else { Compression::UNCOMPRESSED };
        Ok(Settings { compression, vector_compression, pages })
    }
}

fn bad_value(key: &str, value: &str) -> Error {
    Error::Unsupported(format!("option `{key}` does not take `{value}`; {KNOWN}"))
}
