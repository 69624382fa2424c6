//! The transforms that are part of the program: what they leave of real objects.
use std::path::Path;

use offloom_fixtures::unpack;
use serde_json::json;
use tempfile::TempDir;

use crate::golden::export;
use crate::program::{Said, python};
use crate::transforms::manifest;

const KEY: &str = "0123456789abcdef";

fn export_of(to: &TempDir, id: &str, transforms: &[&str]) -> Said {
    let fixture = unpack("basic").unwrap();
    let mut more = vec!["--id", id, "--include", "AllTypes"];
    more.extend(transforms.iter().flat_map(|transform| ["--transform", *transform]));
    export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more)
}

fn compare(to: &TempDir, id: &str, redactions: &serde_json::Value) {
    let file = |id: &str| to.path().join(id).join("AllTypes.parquet");
    let arguments = [file("whole"), file(id), redactions.to_string().into()];
    python("e2e/compare_redacted.py", arguments).expect_success();
}

/// Every row is compared with the whole export: the named properties alone differ, and as they should.
#[test]
fn redact_drops_hashes_and_masks_and_leaves_the_rest_byte_for_byte() {
    let to = tempfile::tempdir().unwrap();
    export_of(&to, "whole", &[]).expect_success();
    let options = format!("redact?drop=txt,o.name&hash=i,u,ns&mask=tel,os.name&key={KEY}");
    export_of(&to, "redacted", &[&options]).expect_success();
    let redactions = json!({
        "drop": ["txt", "o.name"], "hash": ["i", "u", "ns"], "mask": ["tel", "os.name"], "key": KEY,
    });
    compare(&to, "redacted", &redactions);
    let of_redact = &manifest(&to.path().join("redacted"))["transforms"][0];
    assert_eq!(of_redact["options"]["key"], "(secret)", "{of_redact}");
    let everything = std::fs::read(to.path().join("redacted/export_metadata.json")).unwrap();
    assert!(!String::from_utf8(everything).unwrap().contains(KEY));
    // In two steps it is the same.
    let (first, second) =
        ("redact?drop=txt,o.name&mask=tel,os.name", format!("redact?hash=i,u,ns&key={KEY}"));
    export_of(&to, "chain", &[first, &second]).expect_success();
    compare(&to, "chain", &redactions);
}

#[test]
fn redact_refuses_what_could_let_a_value_through() {
    let to = tempfile::tempdir().unwrap();
    for (options, words) in [
        ("redact", "no property to redact"),
        ("redact?drop=tXt", "has no property `tXt`"),
        ("redact?drop=o.nothing", "has no property `o.nothing`"),
        ("redact?drop=txt&mask=txt", "named twice"),
        ("redact?drop=o&mask=o.name", "named twice"),
        ("redact?drop=txt&drop=i", "given twice"),
        ("redact?hash=txt", "needs the option `key`"),
        ("redact?hash=txt&key=short", "fewer than 16 bytes"),
        ("redact?drop=txt&colour=red", "unknown option `colour`"),
    ] {
        let error = export_of(&to, "refused", &[options]).expect_error();
        assert!(error.contains(words), "{options}: {error}");
    }
    export_of(&to, "ignored", &["redact?drop=tXt&missing=ignore"]).expect_success();
}

fn filtered(to: &TempDir, id: &str, condition: &str, python_condition: &str) {
    let option = format!("filter?where={}", condition.replace('%', "%25").replace('&', "%26"));
    export_of(to, id, &[&option]).expect_success();
    let file = |id: &str| to.path().join(id).join("AllTypes.parquet");
    let arguments = [file("whole"), file(id), python_condition.into()];
    python("e2e/compare_filtered.py", arguments).expect_success();
}

/// The same condition in Python decides over the rows of the whole export.
#[test]
fn filter_keeps_the_rows_for_which_an_expression_is_true() {
    let to = tempfile::tempdir().unwrap();
    export_of(&to, "whole", &[]).expect_success();
    filtered(&to, "int", "i > 100", "p.get('i') is not None and p['i'] > 100");
    // A number without a fraction is one too.
    filtered(
        &to,
        "float",
        "n > 0.5 && n < 1e300",
        "p.get('n') is not None and 0.5 < p['n'] < 1e300",
    );
    filtered(&to, "text", "txt.contains('lorem') || b", "TEXT_OR_B");
    filtered(&to, "missing", "txt == null", "p.get('txt') is None");
    filtered(
        &to,
        "map",
        "has(properties.txt) && size(properties) > 5",
        "'txt' in p and len(p) > 5",
    );
    filtered(&to, "id", "id.startsWith('0') || id.startsWith('f')", "row['id'][0] in '0f'");
    filtered(&to, "time", "creation_time > timestamp('1970-01-01T00:00:00Z')", "True");
    filtered(&to, "macro", "txts.exists(t, t != '')", "any(p.get('txts') or [])");
    filtered(&to, "list", "'a' in txts || size(is) > 2", "LIST");
}

#[test]
fn filter_says_what_is_wrong_with_an_expression() {
    let to = tempfile::tempdir().unwrap();
    for (options, words) in [
        ("filter", "no expression"),
        ("filter?where=i >", "Syntax error"),
        ("filter?where=nothing > 1", "has no property `nothing`"),
        ("filter?where=[1].exists(t, t > 0) || t == 1", "has no property `t`"),
        ("filter?where=tenant == 'a'", "has no column `tenant`"),
        ("filter?where=b&on-error=maybe", "does not take `maybe`"),
        // Neither true nor false.
        ("filter?where=1 + 1", "neither true nor false"),
    ] {
        let error = export_of(&to, "refused", &[options]).expect_error();
        assert!(error.contains(words), "{options}: {error}");
    }
    let dropped = export_of(&to, "dropped", &["filter?where=1 + 1&on-error=drop"]).expect_success();
    let of_filter = &manifest(&dropped.folder())["transforms"][0];
    assert_eq!(
        (&of_filter["rowsKept"], &of_filter["rowsIn"]),
        (&json!(0), &of_filter["counters"]["withoutAnswer"])
    );
}

/// Refused rows follow the policy for bad objects, as data that cannot be read does.
#[test]
fn refused_rows_are_left_out_or_listed() {
    let to = tempfile::tempdir().unwrap();
    let fixture = unpack("basic").unwrap();
    let run = |id: &str, policy: &str| {
        let more = [
            "--id",
            id,
            "--include",
            "Note",
            "--on-bad-object",
            policy,
            "--transform",
            "filter?where=1 + 1",
        ];
        export(&fixture.data_dir(), &fixture.schema_file(), to.path(), &more)
    };
    let error = run("fail", "fail").expect_error();
    assert!(error.contains("the transform filter refused the object"), "{error}");
    for (id, policy, listed) in [("skip", "skip", false), ("listed", "quarantine", true)] {
        let folder = run(id, policy).expect_partial().folder();
        let manifest = manifest(&folder);
        let refused = manifest["transforms"][0]["rowsRefused"].as_u64().unwrap();
        assert_eq!(manifest["transforms"][0]["rowsIn"].as_u64(), Some(refused));
        assert_eq!(manifest["missing"][0]["objects"].as_u64(), Some(refused), "{manifest:#}");
        assert_eq!(manifest["missing"][0]["reason"], "transforms refused them");
        let list =
            std::fs::read_to_string(folder.join("quarantine/Note.jsonl")).unwrap_or_default();
        assert_eq!(list.lines().count() as u64, if listed { refused } else { 0 });
        assert!(!listed || list.contains("\"transform\":\"filter\""), "{list}");
        assert!(Path::new(&folder).join("Note.parquet").exists());
    }
}
