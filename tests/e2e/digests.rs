//! The digest of every object in the manifest: BLAKE3, or SHA-256 for those who want it.
use offloom_protocol::digest::{Digest as Listed, DigestAlgorithm};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bad_data::Damaged;
use crate::program::{offloom, program, root, said};

/// One export with a quarantined object. `more` are flags, and `variable` is the value of
/// `OFFLOOM_DIGEST`.
fn expect(more: &[&str], variable: Option<&str>, algorithm: DigestAlgorithm) {
    let damaged = Damaged::new("basic");
    damaged.break_object("note");
    let to = damaged.to.path().join("out");
    let mut command = program();
    command.arg("export").arg("--data-dir").arg(damaged.data_dir()).arg("--to").arg(&to);
    command.args(["--on-bad-object", "quarantine"]).args(more);
    command.envs(variable.map(|value| ("OFFLOOM_DIGEST", value)));
    let folder = said(&mut command).expect_partial().folder();
    let manifest = std::fs::read(folder.join("export_metadata.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let [files, attachments] =
        ["files", "attachments"].map(|list| manifest[list].as_array().unwrap());
    assert_eq!(attachments.len(), 2, "the schema and a list: {manifest:#}");
    for object in files.iter().chain(attachments) {
        let content = std::fs::read(folder.join(object["key"].as_str().unwrap())).unwrap();
        let value = match algorithm {
            DigestAlgorithm::Blake3 => Listed::of(algorithm, &content).value,
            DigestAlgorithm::Sha256 => hex::encode(Sha256::digest(&content)),
        };
        assert_eq!(object["digest"]["value"], value.as_str(), "{object:#}");
        assert_eq!(object["digest"]["algorithm"], algorithm.to_string(), "{object:#}");
    }
    let proved = offloom(["verify".as_ref(), folder.as_os_str()]).expect_success();
    let digests = format!("sizes, digests ({}), rows and ids agree", algorithm.title());
    assert!(proved.out.contains(&digests), "{proved:#?}");
}

#[test]
fn every_object_of_the_manifest_has_the_digest_that_was_asked_for() {
    expect(&[], None, DigestAlgorithm::Blake3);
    expect(&["--digest", "sha256"], None, DigestAlgorithm::Sha256);
    expect(&[], Some("sha256"), DigestAlgorithm::Sha256);
    expect(&["--digest=blake3"], Some("sha256"), DigestAlgorithm::Blake3);
}

#[test]
fn another_algorithm_is_refused_before_anything_is_read() {
    let refused = offloom(["export", "--data-dir", "/none", "--to", "/none", "--digest", "md5"]);
    let error = refused.expect_error();
    assert!(error.contains("'md5'") && error.contains("expected blake3 or sha256"), "{error}");
}

#[test]
fn an_export_of_an_earlier_build_is_whole_by_its_sha_256() {
    let earlier = root().join("host/verify/tests/verify/earlier");
    let proved = offloom(["verify".as_ref(), earlier.as_os_str()]).expect_success();
    assert!(proved.out.contains("digests (SHA-256), rows and ids agree"), "{proved:#?}");
}
