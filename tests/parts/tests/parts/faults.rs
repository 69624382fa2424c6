//! The proxy passes a real client's requests unchanged, and every fault is what it says it is.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::aws::Checksum;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use offloom_test_parts::{Fault, Keys, Proxy, Requests, SeaweedFs};

use crate::{bucket, bytes, client, create, once, path};

const PART_BYTES: usize = 5 << 20;

fn proxy() -> (&'static SeaweedFs, Proxy) {
    let server = SeaweedFs::shared();
    (server, Proxy::start(server.endpoint()))
}

#[tokio::test]
async fn without_faults_a_signed_client_notices_nothing() {
    let (server, proxy) = proxy();
    let bucket = bucket("pass");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    store.put(&path("put"), bytes(100_000).into()).await.unwrap();
    assert!(server.read(bucket, "put") == bytes(100_000));
    assert!(store.get(&path("put")).await.unwrap().bytes().await.unwrap() == bytes(100_000));
    assert_eq!(store.head(&path("put")).await.unwrap().size, 100_000);

    store.put_opts(&path("claim"), "first".into(), create()).await.unwrap();
    let error = store.put_opts(&path("claim"), "second".into(), create()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    assert_eq!(server.read(bucket, "claim"), "first");

    let mut upload = store.put_multipart(&path("parts")).await.unwrap();
    upload.put_part(bytes(PART_BYTES).into()).await.unwrap();
    upload.put_part("end".into()).await.unwrap();
    upload.complete().await.unwrap();
    let mut upload = store.put_multipart(&path("aborted")).await.unwrap();
    upload.put_part(bytes(PART_BYTES).into()).await.unwrap();
    assert_eq!(server.open_uploads(bucket), ["aborted"]);
    upload.abort().await.unwrap();
    assert!(server.open_uploads(bucket).is_empty());

    let mut listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    let listed: Vec<_> = listed.iter().map(|o| (o.location.as_ref(), o.size)).collect();
    assert_eq!(listed, [("claim", 5), ("parts", PART_BYTES as u64 + 3), ("put", 100_000)]);
    // Three whole objects and three parts; two uploads begun and one completed.
    assert_eq!((proxy.count("PUT"), proxy.count("POST"), proxy.count("DELETE")), (6, 3, 1));
    assert!(proxy.seen().iter().any(|line| line == "PUT /pass/claim"), "{:?}", proxy.seen());
    assert_eq!(proxy.spoiled(), 0);
}

#[tokio::test]
async fn the_proxy_does_not_make_wrong_keys_right() {
    let (_, proxy) = proxy();
    let store = once(Keys::Wrong, &proxy.endpoint(), bucket("keys"));
    let error = store.put(&path("object"), "bytes".into()).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
}

#[tokio::test]
async fn refused_connections_come_back_on_request() {
    let (server, proxy) = proxy();
    let bucket = bucket("refuse");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    store.put(&path("before"), "bytes".into()).await.unwrap();
    proxy.refuse_connections();
    let address = proxy.endpoint().trim_start_matches("http://").to_owned();
    let error = std::net::TcpStream::connect(&address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    store.put(&path("during"), "bytes".into()).await.unwrap_err();
    proxy.pass();
    store.put(&path("after"), "bytes".into()).await.unwrap();
    assert_eq!(server.objects(bucket, "").into_keys().collect::<Vec<_>>(), ["after", "before"]);
    assert_eq!(proxy.count("PUT"), 2);
}

#[tokio::test]
async fn refusing_cuts_a_request_on_its_way() {
    let (server, proxy) = proxy();
    let bucket = bucket("away");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    proxy.throttle(200_000);
    let put = tokio::spawn(async move { store.put(&path("half"), bytes(1_000_000).into()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    proxy.refuse_connections();
    put.await.unwrap().unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(server.objects(bucket, "").is_empty());
}

#[tokio::test]
async fn a_throttle_holds_uploads_and_downloads_to_its_pace_and_can_be_lifted() {
    let (server, proxy) = proxy();
    let bucket = bucket("throttle");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    proxy.throttle(1_000_000);
    let started = Instant::now();
    let (a, b) = (path("a"), path("b"));
    tokio::try_join!(
        store.put(&a, bytes(1_000_000).into()),
        store.put(&b, bytes(1_000_000).into()),
    )
    .unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_secs(6), "{took:?}");
    let started = Instant::now();
    assert!(store.get(&path("a")).await.unwrap().bytes().await.unwrap() == bytes(1_000_000));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");

    // 1 MB would take 1,000 s; lifted after 0.2 s.
    proxy.throttle(1_000);
    let started = Instant::now();
    let (put, ()) =
        tokio::join!(async { store.put(&path("c"), bytes(1_000_000).into()).await }, async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.pass();
        });
    put.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(server.read(bucket, "c") == bytes(1_000_000));
}

#[tokio::test]
async fn a_delay_comes_before_each_request() {
    let (_, proxy) = proxy();
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket("delay"));
    proxy.delay(Duration::from_millis(400));
    let started = Instant::now();
    store.put(&path("a"), "bytes".into()).await.unwrap();
    store.get(&path("a")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(800));
}

#[tokio::test]
async fn a_cut_upload_fails_leaves_nothing_and_may_be_tried_again() {
    let (server, proxy) = proxy();
    let bucket = bucket("cut");
    let put = Requests::method("PUT").containing("/cut/object");
    proxy.fault(put.clone().nth(1), Fault::CutAfter { body_bytes: 300_000 });
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    store.put(&path("object"), bytes(1_000_000).into()).await.unwrap_err();
    assert_eq!(proxy.spoiled(), 1);
    assert!(server.objects(bucket, "").is_empty());

    // A part of a multipart upload: the retry of the client mends it.
    proxy.fault(
        Requests::method("PUT").containing("partNumber=2").first(2),
        Fault::CutAfter { body_bytes: 1 },
    );
    let store = client(Keys::ReadWrite, &proxy.endpoint(), bucket, 3);
    let mut upload = store.put_multipart(&path("parts")).await.unwrap();
    upload.put_part(PutPayload::from(bytes(PART_BYTES))).await.unwrap();
    upload.put_part(PutPayload::from(bytes(PART_BYTES))).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(proxy.spoiled(), 3);
    assert!(server.read(bucket, "parts") == [bytes(PART_BYTES), bytes(PART_BYTES)].concat());
}

#[tokio::test]
async fn a_body_shorter_than_the_cut_passes() {
    let (server, proxy) = proxy();
    let bucket = bucket("short");
    proxy.fault(Requests::all(), Fault::CutAfter { body_bytes: 1_000 });
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    store.put(&path("short"), bytes(1_000).into()).await.unwrap();
    store.put(&path("long"), bytes(1_001).into()).await.unwrap_err();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(server.objects(bucket, "").into_keys().collect::<Vec<_>>(), ["short"]);
}

#[tokio::test]
async fn a_dropped_reply_comes_after_the_write_was_applied() {
    let (server, proxy) = proxy();
    let bucket = bucket("reply");
    let claims = Requests::method("PUT").containing("/reply/claim");
    proxy.fault(claims.clone().nth(2), Fault::DropReply);
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    store.put_opts(&path("claim-1"), "one".into(), create()).await.unwrap();
    store.put_opts(&path("claim-2"), "two".into(), create()).await.unwrap_err();
    store.put_opts(&path("claim-3"), "three".into(), create()).await.unwrap();
    assert_eq!(proxy.spoiled(), 1);
    assert_eq!(server.read(bucket, "claim-2"), "two");

    // What exports must see through: the client's own retry finds the object that it made itself.
    proxy.fault(claims.nth(1), Fault::DropReply);
    let store = client(Keys::ReadWrite, &proxy.endpoint(), bucket, 3);
    let error = store.put_opts(&path("claim-4"), "four".into(), create()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    assert_eq!(proxy.spoiled(), 2);
    assert_eq!(server.read(bucket, "claim-4"), "four");
}

#[tokio::test]
async fn slow_down_is_answered_as_often_as_asked_and_never_reaches_the_server() {
    let (server, proxy) = proxy();
    let bucket = bucket("slow");
    proxy.fault(Requests::method("PUT").containing("/slow/a").first(3), Fault::SLOW_DOWN);
    let store = client(Keys::ReadWrite, &proxy.endpoint(), bucket, 2);
    let error = store.put(&path("a"), bytes(1_000_000).into()).await.unwrap_err();
    assert!(error.to_string().contains("SlowDown"), "{error}");
    assert!(server.objects(bucket, "").is_empty());
    store.put(&path("b"), "bytes".into()).await.unwrap();
    store.put(&path("a"), "bytes".into()).await.unwrap();
    assert_eq!((proxy.spoiled(), proxy.count("PUT")), (3, 5));
    assert_eq!(server.objects(bucket, "").len(), 2);
}

#[tokio::test]
async fn an_error_inside_a_success_completes_nothing() {
    let (server, proxy) = proxy();
    let bucket = bucket("inside");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    let mut upload = store.put_multipart(&path("parts")).await.unwrap();
    upload.put_part("bytes".into()).await.unwrap();
    proxy
        .fault(Requests::method("POST").containing("uploadId=").nth(1), Fault::SLOW_DOWN_INSIDE_OK);
    let error = upload.complete().await.unwrap_err();
    assert!(error.to_string().contains("SlowDown"), "{error}");
    assert_eq!(proxy.spoiled(), 1);
    assert!(server.objects(bucket, "").is_empty());
    assert_eq!(server.open_uploads(bucket), ["parts"]);
}

#[tokio::test]
async fn credentials_may_expire_in_mid_upload() {
    let (server, proxy) = proxy();
    let bucket = bucket("expired");
    let store = client(Keys::ReadWrite, &proxy.endpoint(), bucket, 2);
    let mut upload = store.put_multipart(&path("parts")).await.unwrap();
    upload.put_part(bytes(PART_BYTES).into()).await.unwrap();
    proxy.fault(Requests::all(), Fault::EXPIRED_TOKEN);
    let error = upload.put_part("end".into()).await.unwrap_err();
    assert!(error.to_string().contains("ExpiredToken"), "{error}");
    proxy.pass();
    upload.abort().await.unwrap();
    assert!(server.open_uploads(bucket).is_empty());
}

#[tokio::test]
async fn a_cut_answer_gives_a_part_of_the_body_and_an_error() {
    let (server, proxy) = proxy();
    let bucket = bucket("half-answer");
    server.write(bucket, "half", bytes(1_000));
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    proxy.fault(Requests::method("GET").first(1), Fault::CutAnswer { per_mille: 500 });
    let found = store.get(&path("half")).await.unwrap();
    assert_eq!(found.meta.size, 1_000);
    found.bytes().await.unwrap_err();
    assert_eq!(proxy.spoiled(), 1);
}

#[tokio::test]
async fn a_flipped_bit_changes_one_byte_of_the_body() {
    let (server, proxy) = proxy();
    let bucket = bucket("flipped");
    let store = once(Keys::ReadWrite, &proxy.endpoint(), bucket);
    let whole = bytes(100_000);
    let flipped = |at: usize| {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        flipped
    };
    proxy.fault(Requests::method("PUT").first(2), Fault::FlipRequest { per_mille: 999 });
    // The signature covers a digest of the body, which SeaweedFS does not compare.
    store.put(&path("up"), whole.clone().into()).await.unwrap();
    assert!(server.read(bucket, "up") == flipped(99_900));
    let store = Keys::ReadWrite.client(&proxy.endpoint(), bucket);
    let store = store.with_checksum_algorithm(Checksum::SHA256).build().unwrap();
    store.put(&path("with-checksum"), whole.clone().into()).await.unwrap_err();
    assert_eq!(server.objects(bucket, "").len(), 1);

    server.write(bucket, "down", whole.clone());
    proxy.fault(Requests::method("GET").first(1), Fault::FlipAnswer { per_mille: 250 });
    let found = store.get(&path("down")).await.unwrap().bytes().await.unwrap();
    assert!(found == flipped(25_000));
    assert_eq!(proxy.spoiled(), 3);
}
