//! Uploads to a real server: sizes, aborts, faults on the way, memory.
use std::process::Command;
use std::time::{Duration, Instant};

use offloom_protocol::cloud::Cloud;
use offloom_protocol::digest::{Digest, DigestAlgorithm};
use offloom_protocol::error::{Cause, Operation, StoreError};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_protocol::upload::Upload;
use offloom_test_parts::{Fault, Keys, Requests, SeaweedFs};

use crate::{bucket, content, folder, folder_at, id, key, proxy};

const PART_BYTES: usize = 8 * 1024 * 1024;

/// Where [`folder`] and [`key`] point to.
const STORED: &str = "exports/e1/Article.parquet";

/// What S3 answers about an upload that it has completed or aborted.
const FORGOTTEN: Fault = Fault::Answer { status: 404, code: "NoSuchUpload" };

async fn started(folder: &ExportFolder, len: usize) -> Upload {
    let mut upload = Upload::start(folder, key(), 0);
    upload.append(content(len)).await.unwrap();
    upload
}

/// Waits until no upload is open, for as long as a busy machine may take.
async fn no_upload_stays_open(bucket: &str) {
    let started = Instant::now();
    while !SeaweedFs::shared().open_uploads(bucket).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(20), "an upload stayed open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Buckets with Object Lock refuse what comes without. SeaweedFS takes both.
#[tokio::test]
async fn each_object_and_part_has_a_checksum_unless_it_is_unwanted() {
    let bucket = bucket("checksums");
    for (calculation, has_checksums) in [(None, true), (Some("when_required"), false)] {
        let proxy = proxy();
        let mut variables = Keys::ReadWrite.environment(&proxy.endpoint());
        let calculation = calculation
            .map(|when| ("AWS_REQUEST_CHECKSUM_CALCULATION".to_owned(), when.to_owned()));
        variables.extend(calculation);
        let destination =
            Destination::bucket(Cloud::S3, bucket, &format!("to-{has_checksums}")).unwrap();
        let destination = destination.with_options(variables.into_iter().collect());
        let folder = destination.export_folder(&id("e1")).unwrap();
        folder
            .create(
                &offloom_protocol::names::ObjectKey::claim(offloom_protocol::names::Attempt::FIRST),
                content(2),
            )
            .await
            .unwrap();
        started(&folder, 3 * PART_BYTES).await.finish().await.unwrap();
        let without = proxy.lacking("x-amz-checksum-sha256");
        let without = without.iter().filter(|line| line.starts_with("PUT ")).count();
        assert_eq!(
            without,
            if has_checksums { 0 } else { proxy.count("PUT") },
            "{:?}",
            proxy.seen()
        );
    }
}

#[tokio::test]
async fn an_aborted_and_a_dropped_upload_leave_nothing() {
    let bucket = bucket("aborted");
    let folder = folder(bucket);
    let upload = started(&folder, 3 * PART_BYTES).await;
    assert_eq!(SeaweedFs::shared().open_uploads(bucket), [STORED]);
    upload.abort().await.unwrap();
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());

    let upload = started(&folder, 3 * PART_BYTES).await;
    assert_eq!(SeaweedFs::shared().open_uploads(bucket), [STORED]);
    drop(upload);
    folder.wait_for_aborts().await;
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
    assert!(SeaweedFs::shared().objects(bucket, "").is_empty());
}

#[tokio::test]
async fn an_upload_that_is_dropped_while_it_begins_is_aborted_too() {
    let bucket = bucket("begun");
    let proxy = proxy();
    proxy.delay(Duration::from_millis(500));
    let folder = folder_at(&proxy.endpoint(), bucket);
    let mut upload = Upload::start(&folder, key(), 0);
    let appended =
        tokio::time::timeout(Duration::from_millis(200), upload.append(content(2 * PART_BYTES)));
    appended.await.unwrap_err();
    assert_eq!(proxy.count("POST"), 1, "the store was asked to begin");
    drop(upload);
    folder.wait_for_aborts().await;
    assert_eq!(proxy.count("DELETE"), 1, "and to abort");
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
}

#[tokio::test]
async fn a_part_that_is_refused_ends_the_upload_and_aborts_it() {
    let bucket = bucket("refused");
    let proxy = proxy();
    proxy.fault(Requests::method("PUT").containing("partNumber=3"), Fault::EXPIRED_TOKEN);
    let mut upload = Upload::start(&folder_at(&proxy.endpoint(), bucket), key(), 0);
    let mut failure = None;
    for _ in 0..6 {
        if let Err(error) = upload.append(content(PART_BYTES)).await {
            failure = Some(error);
            break;
        }
    }
    let error = failure.unwrap();
    match &error {
        StoreError::Failed { operation: Operation::WritePart, url, cause, detail } => {
            assert_eq!(url, "s3://refused/exports/e1/Article.parquet");
            assert_eq!(*cause, Cause::WrongCredentials);
            assert!(detail.contains("ExpiredToken"), "{detail}");
        }
        other => panic!("{other}"),
    }
    assert!(SeaweedFs::shared().open_uploads(bucket).is_empty());
    assert!(SeaweedFs::shared().objects(bucket, "").is_empty());
}

#[tokio::test]
async fn a_store_that_is_busy_for_a_while_is_waited_for() {
    let bucket = bucket("busy");
    let proxy = proxy();
    proxy.fault(Requests::method("PUT").first(3), Fault::SLOW_DOWN);
    proxy.fault(Requests::method("PUT").nth(2), Fault::CutAfter { body_bytes: 100_000 });
    proxy.fault(Requests::method("POST").containing("uploadId").nth(1), Fault::SLOW_DOWN_INSIDE_OK);
    started(&folder_at(&proxy.endpoint(), bucket), 3 * PART_BYTES).await.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 5);
    assert!(SeaweedFs::shared().read(bucket, STORED) == content(3 * PART_BYTES));
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_counts() {
    let bucket = bucket("completed");
    let proxy = proxy();
    let completions = || Requests::method("POST").containing("uploadId").first(1);
    proxy.fault(completions(), Fault::DropReply);
    // SeaweedFS still knows what it has completed; others answer the next try like this.
    proxy.fault(completions(), FORGOTTEN);
    let len = 2 * PART_BYTES + 1;
    let upload = started(&folder_at(&proxy.endpoint(), bucket), len).await;
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(proxy.spoiled(), 2);
    assert_eq!(uploaded.digest, Digest::of(DigestAlgorithm::Blake3, &content(len)));
    assert!(SeaweedFs::shared().read(bucket, STORED) == content(len));
    no_upload_stays_open(bucket).await;
}

#[tokio::test]
async fn an_upload_that_somebody_else_aborted_is_no_file() {
    let bucket = bucket("forgotten");
    let proxy = proxy();
    proxy.fault(Requests::method("POST").containing("uploadId"), FORGOTTEN);
    let upload = started(&folder_at(&proxy.endpoint(), bucket), 2 * PART_BYTES).await;
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed { operation: Operation::Complete, .. }), "{error}");
    assert!(error.to_string().contains("NoSuchUpload"), "{error}");
    assert!(SeaweedFs::shared().objects(bucket, "").is_empty());
}

#[tokio::test]
async fn a_store_that_goes_away_ends_the_upload_in_bounded_time() {
    let bucket = bucket("gone");
    let proxy = proxy();
    let mut upload = started(&folder_at(&proxy.endpoint(), bucket), 3 * PART_BYTES).await;
    proxy.refuse_connections();
    let gone = Instant::now();
    let error = loop {
        if let Err(error) = upload.append(content(PART_BYTES)).await {
            break error;
        }
    };
    assert_eq!(error.cause(), Some(Cause::Unreachable), "{error}");
    assert!(error.to_string().contains(proxy.endpoint().trim_start_matches("http://")), "{error}");
    let took = gone.elapsed();
    // A minute of tries, the last pause of ten seconds, and ten more for the abort.
    assert!(took > Duration::from_secs(50) && took < Duration::from_secs(90), "{took:?}");
    let again = upload.append(content(1)).await;
    assert!(matches!(again, Err(StoreError::Aborted { .. })), "{again:?}");
}

/// Set where this program runs itself, to be measured while it uploads there.
const MEASURED: &str = "OFFLOOM_TEST_MEASURED_UPLOAD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_at_a_few_parts_while_the_store_is_slow() {
    const FILE_BYTES: usize = 400_000_000;
    if let Ok(destination) = std::env::var(MEASURED) {
        // Reached as a program is: by the variables of its process.
        let folder = Destination::parse(&destination).unwrap().export_folder(&id("e1")).unwrap();
        let block = content(16_000_000);
        let mut upload = Upload::start(&folder, key(), FILE_BYTES as u64);
        for _ in 0..FILE_BYTES / block.len() {
            upload.append(block.clone()).await.unwrap();
        }
        assert_eq!(upload.finish().await.unwrap().size_bytes, FILE_BYTES as u64);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
        return;
    }
    let bucket = bucket("memory");
    let proxy = proxy();
    proxy.throttle(40_000_000);
    let measured = tokio::task::spawn_blocking(move || {
        let test = "upload::memory_stays_at_a_few_parts_while_the_store_is_slow";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(MEASURED, format!("s3://{bucket}/exports/"))
            .envs(Keys::ReadWrite.environment(&proxy.endpoint()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    let output = measured.await.unwrap();
    let peak = output.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak memory of an upload of {FILE_BYTES} bytes: {peak}");
    let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // Three parts, the block of the test, the program itself, and what the allocator keeps.
    assert!(peak_kb < 80_000, "{peak_kb} kB");
    assert_eq!(SeaweedFs::shared().objects(bucket, "")[STORED], FILE_BYTES as u64);
}
