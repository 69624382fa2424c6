//! SeaweedFS does what exports rely on: keys, missing buckets, conditional writes, open uploads.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use futures::future::join_all;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use offloom_test_parts::{Keys, SeaweedFs};

use crate::{bucket, bytes, create, once, path};

/// S3 does not take smaller parts, but for the last.
const PART_BYTES: usize = 5 << 20;

fn code(error: &Error) -> String {
    let text = error.to_string();
    ["AccessDenied", "SignatureDoesNotMatch", "NoSuchBucket"]
        .into_iter()
        .find(|code| text.contains(code))
        .map_or(text.clone(), str::to_owned)
}

#[tokio::test]
async fn each_pair_of_keys_may_do_what_it_should_and_no_more() {
    let server = SeaweedFs::shared();
    let bucket = bucket("exports");
    server.write(bucket, "folder/object", "bytes");
    let key = path("folder/object");

    let reader = once(Keys::ReadOnly, server.endpoint(), bucket);
    assert_eq!(reader.get(&key).await.unwrap().bytes().await.unwrap(), "bytes");
    let listed: Vec<_> = reader.list(Some(&path("folder"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    let error = reader.put(&path("folder/new"), "bytes".into()).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    assert_eq!(code(&error), "AccessDenied");
    assert!(reader.put_multipart(&path("folder/new")).await.is_err());
    assert!(reader.delete(&key).await.is_err());

    let wrong = once(Keys::Wrong, server.endpoint(), bucket);
    for error in [
        wrong.get(&key).await.map(drop).unwrap_err(),
        wrong.put(&path("folder/new"), "bytes".into()).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
        assert_eq!(code(&error), "SignatureDoesNotMatch");
    }
    // object_store 0.14.2 has no kind of its own for a listing that is refused.
    let error = wrong.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error:?}");
    assert_eq!(code(&error), "SignatureDoesNotMatch");
    assert_eq!(server.objects(bucket, "folder").into_keys().collect::<Vec<_>>(), ["folder/object"]);
}

#[tokio::test]
async fn a_missing_bucket_has_an_error_of_its_own_and_is_not_made() {
    let server = SeaweedFs::shared();
    let missing = once(Keys::ReadWrite, server.endpoint(), "nosuchbucket");
    let put = missing.put(&path("object"), "bytes".into()).await.unwrap_err();
    let again = missing.put(&path("object"), "bytes".into()).await.unwrap_err();
    let get = missing.get(&path("object")).await.unwrap_err();
    let begin = missing.put_multipart(&path("object")).await.unwrap_err();
    let list = missing.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    for error in [&put, &again, &get, &begin] {
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(code(error), "NoSuchBucket");
    }
    assert!(matches!(list, Error::Generic { .. }), "{list:?}");
    assert_eq!(code(&list), "NoSuchBucket");
    let reader = once(Keys::ReadOnly, server.endpoint(), "nosuchbucket");
    let error = reader.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(code(&error), "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_conditional_creates_at_once_exactly_one_wins() {
    let server = SeaweedFs::shared();
    let bucket = bucket("races");
    let [a, b] = [(); 2].map(|()| once(Keys::ReadWrite, server.endpoint(), bucket));
    join_all((0..50).map(|pair| {
        let (a, b) = (a.clone(), b.clone());
        async move {
            let key = path(&format!("claim-{pair}"));
            let (first, second) = tokio::join!(
                tokio::spawn({
                    let key = key.clone();
                    async move { a.put_opts(&key, "first".into(), create()).await }
                }),
                tokio::spawn(async move { b.put_opts(&key, "second".into(), create()).await }),
            );
            let (winner, loser) = match (first.unwrap(), second.unwrap()) {
                (Ok(_), Err(error)) => ("first", error),
                (Err(error), Ok(_)) => ("second", error),
                both => panic!("pair {pair}: {both:?}"),
            };
            assert!(matches!(loser, Error::AlreadyExists { .. }), "pair {pair}: {loser:?}");
            assert_eq!(server.read(bucket, &format!("claim-{pair}")), winner);
        }
    }))
    .await;
    assert_eq!(server.objects(bucket, "").len(), 50);
}

#[tokio::test]
async fn an_upload_is_open_until_it_is_completed_or_aborted() {
    let server = SeaweedFs::shared();
    let bucket = bucket("uploads");
    let store = once(Keys::ReadWrite, server.endpoint(), bucket);
    let mut aborted = store.put_multipart(&path("folder/aborted")).await.unwrap();
    let mut completed = store.put_multipart(&path("folder/completed")).await.unwrap();
    for upload in [&mut aborted, &mut completed] {
        for _ in 0..2 {
            upload.put_part(PutPayload::from(bytes(PART_BYTES))).await.unwrap();
        }
    }
    assert_eq!(server.open_uploads(bucket), ["folder/aborted", "folder/completed"]);
    assert!(server.objects(bucket, "").is_empty());
    aborted.abort().await.unwrap();
    assert_eq!(server.open_uploads(bucket), ["folder/completed"]);
    completed.complete().await.unwrap();
    assert!(server.open_uploads(bucket).is_empty());
    assert_eq!(
        server.objects(bucket, "folder").into_iter().collect::<Vec<_>>(),
        [("folder/completed".to_owned(), 2 * PART_BYTES as u64)]
    );
    let stored = server.read(bucket, "folder/completed");
    assert!(stored == [bytes(PART_BYTES), bytes(PART_BYTES)].concat());
}

#[test]
fn several_servers_run_at_once_and_leave_nothing_behind() {
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..2).map(|_| scope.spawn(SeaweedFs::start)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    for (number, server) in servers.iter().enumerate() {
        server.create_bucket("own");
        server.write("own", "number", number.to_string());
        println!("SeaweedFS {number} was ready after {:?}", server.start_took());
    }
    for (number, server) in servers.into_iter().enumerate() {
        assert_eq!(server.read("own", "number"), number.to_string());
        let directory = server.directory().to_owned();
        let address = server.endpoint().trim_start_matches("http://").to_owned();
        drop(server);
        assert!(!directory.exists());
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}

/// Set where this binary runs itself, to be killed while it holds a shared server.
const DIRECTORY_FILE: &str = "OFFLOOM_TEST_PARTS_DIRECTORY_FILE";

#[test]
fn a_shared_server_ends_with_its_process_even_when_that_is_killed() {
    if let Some(file) = std::env::var_os(DIRECTORY_FILE) {
        let server = SeaweedFs::shared();
        let told = format!("{}\n{}", server.directory().display(), server.endpoint());
        std::fs::write(file, told).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        panic!("nobody killed this process");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server::a_shared_server_ends_with_its_process_even_when_that_is_killed"])
        .env(DIRECTORY_FILE, file.path())
        .spawn()
        .unwrap();
    let told = until("the server tells its place", || {
        let told = std::fs::read_to_string(file.path()).unwrap();
        told.contains('\n').then_some(told)
    });
    process.kill().unwrap();
    process.wait().unwrap();
    let (directory, endpoint) = told.split_once('\n').unwrap();
    let address = endpoint.trim_start_matches("http://");
    until("the server ends", || std::net::TcpStream::connect(address).is_err().then_some(()));
    until("its data is removed", || (!std::path::Path::new(directory).exists()).then_some(()));
}

fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not in 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
