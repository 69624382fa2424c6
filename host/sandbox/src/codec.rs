//! Compression lent to guests.
use std::time::Instant;

use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

use crate::bindings::offloom::export::codec::Algorithm;
use crate::bindings::offloom::export::types::Error;
use crate::error::Breach;
use crate::limits::{MAX_COMPRESS_BYTES, MAX_COMPRESS_LEVEL};
use crate::state::State;

/// The one compression context of an instance.
#[derive(Default)]
pub(crate) struct Codec {
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Codec {
    fn zstd(&mut self, level: i32, input: &[u8]) -> std::io::Result<Vec<u8>> {
        let (current, compressor) = match &mut self.zstd {
            Some(zstd) => zstd,
            empty => empty.insert((level, zstd::bulk::Compressor::new(level)?)),
        };
        if *current != level {
            compressor.set_compression_level(level)?;
            *current = level;
        }
        compressor.compress(input)
    }
}

/// `codec.compress`. The input is read where it lies in the guest's memory.
pub(crate) fn compress(
    mut store: StoreContextMut<'_, State>,
    (algorithm, level, input): (Algorithm, i32, WasmList<u8>),
) -> wasmtime::Result<(Result<Vec<u8>, Error>,)> {
    if input.len() > MAX_COMPRESS_BYTES {
        return Err(Breach::Compress { bytes: input.len(), limit: MAX_COMPRESS_BYTES }.into());
    }
    if !matches!(algorithm, Algorithm::Zstd) || !(1..=MAX_COMPRESS_LEVEL).contains(&level) {
        return Ok((Err(Error::Unsupported(format!(
            "the host lends zstd of levels 1 to {MAX_COMPRESS_LEVEL} only"
        ))),));
    }
    let start = Instant::now();
    // The list borrows the whole store, so the context leaves it for the length of the call.
    let mut codec = std::mem::take(&mut store.data_mut().codec);
    let frame = codec.zstd(level, input.as_le_slice(&store));
    let state = store.data_mut();
    state.codec = codec;
    state.clock.spend(start.elapsed())?;
    Ok((Ok(frame?),))
}
