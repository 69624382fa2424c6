//! Pages of each codec that unpack to more than they say: `verify` takes no memory for what they hide.
use std::io::{Read, Write};

use brotli::enc::BrotliEncoderParams;
use parquet::basic::Compression;

use crate::bombs::{Folder, GIB, Pages};

/// What a page says that it unpacks to.
const SAID: i64 = 1024;

fn gzip(zeros: u64) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(zeros), &mut gzip).unwrap();
    gzip.flush().unwrap();
    gzip.finish().unwrap()
}

fn brotli(zeros: u64, window: Option<i32>) -> Vec<u8> {
    let parameters = BrotliEncoderParams {
        quality: 5,
        large_window: window.is_some(),
        lgwin: window.unwrap_or(22),
        ..BrotliEncoderParams::default()
    };
    let mut stream = Vec::new();
    let mut input = std::io::repeat(0).take(zeros);
    brotli::BrotliCompress(&mut input, &mut stream, &parameters).unwrap();
    stream
}

#[test]
fn pages_of_every_codec_that_unpack_to_more_than_they_say_end_in_an_error() {
    let folder = Folder::of_notes();
    let rows = folder.rows as i64;
    let megabytes = vec![0; 8 << 20];
    let hidden = "unpacks to more than the 1024 bytes that it says";
    let (gzip_codec, brotli_codec) =
        (Compression::GZIP(Default::default()), Compression::BROTLI(Default::default()));
    let mut cases = Vec::new();
    for (name, codec, bomb, words) in [
        // 16 MiB and 1 GiB: what fits into a page that may be stored here.
        ("gzip", gzip_codec, gzip(16 << 20), hidden),
        ("two members", gzip_codec, [gzip(SAID as u64), gzip(1 << 20)].concat(), hidden),
        ("brotli", brotli_codec, brotli(GIB, None), hidden),
        // The window alone would take a gigabyte; what it unpacks to is what it says.
        ("brotli, large window", brotli_codec, brotli(SAID as u64, Some(30)), hidden),
        ("lz4", Compression::LZ4_RAW, lz4_flex::block::compress(&megabytes), "column id: "),
        (
            "snappy",
            Compression::SNAPPY,
            snap::raw::Encoder::new().compress_vec(&megabytes[..1 << 20]).unwrap(),
            "column id: ",
        ),
    ] {
        let stored = bomb.len() as i64;
        let pages = || Pages::of(codec);
        cases.push((format!("{name}, v1"), pages().v1(SAID, stored, rows, 0, &bomb), words));
        cases.push((format!("{name}, v2"), pages().v2(SAID, stored, rows, [0, 0], &bomb), words));
        let dictionary = pages().dictionary(SAID, stored, 1, &bomb);
        cases.push((format!("{name}, dictionary"), dictionary.v1(2, 2, rows, 8, &[0, 0]), words));
    }
    for (name, pages, words) in &cases {
        folder.write_pages(pages);
        let said = folder.verify();
        assert_eq!(said.status, Some(1), "{name}: {said:#?}");
        let difference = said.err.lines().find(|line| line.starts_with("difference: Note"));
        assert!(difference.is_some_and(|line| line.contains(words)), "{name}: {said:#?}");
        assert!(!said.err.contains("panicked"), "{name}: {said:#?}");
    }
}
