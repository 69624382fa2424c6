//! The same directory gives the same bytes, whatever the number of workers.
use std::collections::BTreeMap;
use std::path::Path;

use crate::golden::export;

fn digests(folder: &Path) -> BTreeMap<String, String> {
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let text = |field: &str| file[field].as_str().unwrap().to_owned();
            (text("class"), text("sha256"))
        })
        .collect()
}
