//! Guests that write Parquet files that lie: what the host sees ends the export, what `verify` can see is
//! found, and what no check covers is known.
use std::path::Path;

use crate::attacks::{Frame, Outcome};
use crate::golden::export;
use crate::guests::guest;
use crate::program::{Said, offloom, program, said};
use crate::tenants::write_classes;

use Outcome::{Failed, Found, Unnoticed};

/// Every forgery of `guest/forger`, except those of `an_id_of_another_block_...` and `a_row_of_...`.
const FORGERIES: &[(&str, Outcome)] = &[
    // Output of another format.
    ("csv", Failed("the guest began a Parquet file with something other than PAR1")),
    ("json", Failed("the file does not end as a Parquet file does")),
    ("end-is-csv", Failed("the file does not end as a Parquet file does")),
    // Output that is cut, or longer than it says.
    ("block-cut", Failed("row group 0 ends at ")),
    ("block-longer", Failed("row group 0 ends at ")),
    ("end-cut", Failed("the file does not end as a Parquet file does")),
    ("end-missing", Failed("0 bytes are no footer")),
    ("end-length", Failed("a footer of 2147483647 bytes")),
    // Footers that say something else than the blocks.
    ("end-more-rows", Failed("the footer has 8000 rows, not 1500")),
    ("end-negative-rows", Failed("the footer has -1 rows, not 1500")),
    ("footer-no-groups", Failed("the footer has 0 row groups for ")),
    ("footer-a-group-twice", Failed(" row groups for ")),
    ("footer-group-rows", Failed("row group 0 has ")),
    ("footer-overlap", Failed("row group 1 ")),
    ("footer-outside", Failed("row group 0, column ")),
    ("footer-before", Failed("row group 0, column ")),
    (
        "footer-codec",
        Failed("codec LZO; only ZSTD, GZIP, BROTLI, LZ4_RAW, SNAPPY and UNCOMPRESSED are"),
    ),
    ("footer-other-file", Failed("its data is said to be in the file '/etc/passwd'")),
    ("end-of-booleans", Failed("it has the wire type 1 in field 0")),
    ("end-of-key-values", Failed("a list has 2000000 elements, more than 10000")),
    // Rows that are missing or too many.
    ("rows-dropped", Failed(" rows, not ")),
    ("rows-twice", Failed(" rows, not ")),
    ("rows-dropped-in-secret", Found("the values of the last 1 rows are missing")),
    // Rows that are not the stored ones.
    ("ids-doubled", Found(" occurs twice, in shard ")),
    ("ids-swapped", Found(" comes after ")),
    ("ids-of-another-class", Found("its first id is 55555555-5555-5555-5555-555555555555, not ")),
    ("values-altered", Unnoticed),
];

#[test]
fn files_that_lie_end_the_export_or_are_found_by_verify() {
    Frame::start(&guest("offloom-guest-forger"), 2).run(FORGERIES);
}

fn forged(data: &Path, to: &Path, forgery: &str) -> Said {
    let forger = guest("offloom-guest-forger").display().to_string();
    let option = format!("do={forgery}");
    let id = if forgery.is_empty() { "honest" } else { forgery };
    let more = ["--guest", &forger, "--guest-option", &option, "--workers", "1", "--id", id];
    export(data, &data.parent().unwrap().join("schema.json"), to, &more)
}

#[test]
fn an_id_of_another_block_is_found() {
    use offloom_encoder::{Workload, write_workload};
    let work = tempfile::tempdir().unwrap();
    write_workload(Workload::W3, 1_500, work.path()).unwrap();
    let data = work.path().join("data");
    let folder = forged(&data, work.path(), "ids-of-another-block").expect_success().folder();
    let verified = offloom(["verify".as_ref(), folder.as_os_str()]);
    assert_eq!(verified.status, Some(1), "{verified:#?}");
    assert!(verified.err.contains(" comes after "), "{verified:#?}");
}

#[test]
fn a_row_that_names_another_tenant_is_found() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    write_classes(&data, &[("Shelf", &[("a", 30), ("b", 30)])]);
    let to = work.path().display().to_string();
    let run = |forgery: &str| {
        let forger = guest("offloom-guest-forger").display().to_string();
        let mut command = program();
        command.args(["export", "--data-dir", &data.display().to_string(), "--to", &to]);
        command.args(["--guest", &forger, "--guest-option", &format!("do={forgery}")]);
        said(&mut command).expect_success().folder()
    };
    offloom(["verify".as_ref(), run("nothing").as_os_str()]).expect_success();
    let verified = offloom(["verify".as_ref(), run("tenant-altered").as_os_str()]);
    assert_eq!(verified.status, Some(1), "{verified:#?}");
    assert!(verified.err.contains("a row names the tenant ~"), "{verified:#?}");
}
