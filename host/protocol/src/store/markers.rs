//! Objects of other programs that stand for a folder or for its look, and hold no data.
use crate::store::ListedObject;

/// Files in which desktops remember how a folder is shown.
const OF_DESKTOPS: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];

/// AppleDouble files: what macOS knows of the file of the same name, on volumes of other systems.
const APPLE_DOUBLE: &str = "._";

/// Whether `object` is a marker: a file of a desktop, or an empty object that stands for a folder. The
/// consoles of S3 create `folder/`, Hadoop `folder_$folder$`, and jobs leave an empty `_SUCCESS`: none
/// of these has an extension, which each file of an export has.
pub(super) fn is_marker(object: &ListedObject) -> bool {
    let name = object.key.rsplit('/').next().unwrap_or_default();
    let stands_for_folder = object.size_bytes == 0 && !name.contains('.');
    stands_for_folder || OF_DESKTOPS.contains(&name) || name.starts_with(APPLE_DOUBLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_no_data_of_an_export_is_a_marker() {
        let is =
            |key: &str, size_bytes| is_marker(&ListedObject { key: key.to_owned(), size_bytes });
        for marker in ["", "quarantine", "a_$folder$", "_SUCCESS"] {
            assert!(is(marker, 0), "{marker}");
            assert!(!is(marker, 1), "{marker} with a byte");
        }
        for marker in [".DS_Store", "quarantine/.DS_Store", "Thumbs.db", "._Note.parquet"] {
            assert!(is(marker, 4_096), "{marker}");
        }
        for data in ["Note.parquet", "_claim.json", "quarantine/Note.jsonl", "x.DS_Store"] {
            assert!(!is(data, 0) && !is(data, 1), "{data}");
        }
    }
}
