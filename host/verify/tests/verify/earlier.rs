//! An export of an earlier build, whose manifest has `sha256` in place of `digest`: `earlier/` is what a
//! build of November 2026 made of the class `Target` of the fixture `basic`.
use std::path::Path;
use std::sync::Arc;

use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::store::Destination;
use offloom_verify::{Depth, Report, verify};

async fn report(folder: &Path) -> Report {
    let folder = Destination::parse(folder.to_str().unwrap()).unwrap().as_export_folder().unwrap();
    verify(&folder, Depth::Full, Arc::new(|_| {})).await.unwrap()
}

#[tokio::test]
async fn an_export_of_an_earlier_build_is_proved_by_its_sha_256() {
    let earlier = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify/earlier");
    let whole = report(&earlier).await;
    assert_eq!((whole.differences, whole.unproved), (Vec::new(), Vec::new()));
    let [file, attachment] =
        [&whole.manifest.files[0].digest, &whole.manifest.attachments[0].digest];
    assert_eq!([file.algorithm, attachment.algorithm], [DigestAlgorithm::Sha256; 2]);

    // The manifest itself is read as it stands.
    let listed = std::fs::read_to_string(earlier.join("export_metadata.json")).unwrap();
    assert!(listed.contains("\"sha256\"") && !listed.contains("\"algorithm\""));

    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&earlier).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if path.ends_with("schema.json") {
            bytes[3] ^= 1;
        }
        std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    let altered = report(copy.path()).await.differences;
    let said: Vec<String> = altered.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("schema.json was altered: its SHA-256 is "), "{said:?}");
    assert!(said[0].ends_with(&format!(", not {}", attachment.value)), "{said:?}");
}
