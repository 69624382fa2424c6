//! What the protocol needs of every store, as one test program: a file system, S3, Azure and the
//! stand-in for Google.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod access;
mod azure;
mod continued_uploads;
mod contract;
mod faults;
mod machine;
mod notes;
mod place;
mod races;
#[path = "../protocol/sample.rs"]
mod sample;
mod take_over;

use bytes::Bytes;
use offloom_protocol::names::{Attempt, ExportId, ObjectKey};

fn id(text: &str) -> ExportId {
    ExportId::parse(text).unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::class_file("Article", 1, "parquet", Attempt::FIRST).unwrap()
}

/// Bytes that repeat at no part's border.
fn content(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8 ^ (i / 65_521) as u8).collect::<Vec<u8>>().into()
}

/// Runs each of these for every kind of store that is named.
macro_rules! for_stores {
    ($($store:ident: $kind:ident),+; $($test:ident),+ $(,)?) => {
        for_stores!(@each [$($store: $kind),+] [$($test),+]);
    };
    (@each [$($store:ident: $kind:ident),+] $tests:tt) => {
        $(mod $store { crate::for_stores!(@tests $kind $tests); })+
    };
    (@tests $kind:ident [$($test:ident),+]) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            super::$test(crate::place::Kind::$kind).await;
        })+
    };
}
pub(crate) use for_stores;
