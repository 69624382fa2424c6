//! The objects that a manifest lists: files with rows, and attachments.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The format of a file, as its guest describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFormat {
    /// Such as `parquet`.
    pub name: String,
    /// File name extension without a dot.
    pub extension: String,
    /// Media type.
    pub media_type: String,
}

impl FileFormat {
    /// Whether a reader would take the file for Parquet: by the name of the format, by the end of its
    /// file name, or by its media type. Such a file is checked as one, whatever the other two say.
    pub fn claims_parquet(&self) -> bool {
        const PARQUET: &str = "parquet";
        let last = self.extension.rsplit('.').next().unwrap_or_default();
        self.name.trim().eq_ignore_ascii_case(PARQUET)
            || last.eq_ignore_ascii_case(PARQUET)
            || self.media_type.to_ascii_lowercase().contains(PARQUET)
    }
}

/// One block of a file: in Parquet, one row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Bytes of the file before it.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Its rows.
    pub rows: u64,
}

/// One file with rows of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassFile {
    /// Exact class name.
    pub class: String,
    /// Its key, relative to the folder of the export.
    pub key: String,
    /// What it is.
    pub format: FileFormat,
    /// Its size.
    pub size_bytes: u64,
    /// Digest of its bytes.
    #[serde(alias = "sha256")]
    pub digest: Digest,
    /// Its rows.
    pub rows: u64,
    /// What the guest counted, summed over the blocks.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Its blocks in the order of their offsets; none without rows.
    pub blocks: Vec<Block>,
}

/// An object of the export that holds no rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its key, relative to the folder of the export.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// Digest of its bytes.
    #[serde(alias = "sha256")]
    pub digest: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_extension_or_media_type_make_a_file_parquet() {
        let claims = |name: &str, extension: &str, media_type: &str| {
            let [name, extension, media_type] = [name, extension, media_type].map(str::to_owned);
            FileFormat { name, extension, media_type }.claims_parquet()
        };
        assert!(claims("parquet", "bin", "application/octet-stream"));
        assert!(claims(" Parquet", "bin", ""));
        assert!(claims("Par", "parquet", ""));
        assert!(claims("Par", "snappy.parquet", ""));
        assert!(claims("Par", "par", "application/vnd.apache.Parquet; version=2"));
        assert!(!claims("jsonl", "jsonl", "application/jsonl"));
        // A packed file is none before it is unpacked.
        assert!(!claims("packed", "parquet.zst", "application/zstd"));
    }
}
