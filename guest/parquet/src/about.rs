//! What this exporter says of itself: its options, in words.
use crate::bindings::exports::offloom::export::about::{Description, KnownOption};

/// Key, and values with defaults.
const OPTIONS: [(&str, &str); 9] = [
    (
        "compression",
        "zstd (default), snappy, gzip, lz4_raw, brotli or none: of every column that has none of its own.",
    ),
    (
        "compression-level",
        "1 to 9 for zstd (default 3) and gzip (default 6), 0 to 9 for brotli (default 4).",
    ),
    ("compression.*", "The same, of one column: compression.vector."),
    ("compression-level.*", "The same, of one column."),
    (
        "vector-compression",
        "auto (default: as compression, in blocks whose vectors shrink by a tenth), same or none: of vectors.",
    ),
    ("pages", "v2 (default) or v1: v1 is for readers that know no pages of version 2."),
    ("page-bytes", "4096 to 16777216: bytes that a page should have."),
    ("row-group-bytes", "1048576 to 67108864, default 16777216: bytes of rows in a row group."),
    (
        "layout",
        "weaviate (default: the columns of Weaviate's own export) or typed (a column for each property and \
         named vector).",
    ),
];

/// The exporter and all of its options.
pub fn description() -> Description {
    let option = |(key, summary): (&str, &str)| KnownOption {
        key: key.to_owned(),
        summary: summary.to_owned(),
        secret: false,
    };
    Description {
        summary: "Writes one Parquet file per class.".to_owned(),
        options: OPTIONS.map(option).into(),
    }
}
