//! What this exporter says of itself: its options, in words.
use crate::bindings::exports::offloom::export::about::{Description, KnownOption};

/// Key, and values with defaults.
const OPTIONS: [(&str, &str); 4] = [
    ("compression", "zstd (default) or none: of every column."),
    ("compression-level", "1 to 9, default 3: of zstd."),
    (
        "vector-compression",
        "auto (default: as compression, in blocks whose vectors shrink by a tenth), same or none: of vectors.",
    ),
    ("pages", "v2 (default) or v1: v1 is for readers that know no pages of version 2."),
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
