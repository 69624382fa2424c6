//! `codec`: compression that the host lends to guests.
use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, WasmList};

use crate::error::Breach;
use crate::limits::{self, Algorithm};
use crate::state::State;
use crate::v0_1::bindings::offloom::export::codec::Algorithm as Asked;
use crate::v0_1::bindings::offloom::export::held::Range;
use crate::v0_1::bindings::offloom::export::types::Error;
use crate::v0_1::held::{self, Buffer};

/// `codec.compress`. Reads the input in place, in the guest's memory.
pub(crate) fn compress(
    mut store: StoreContextMut<'_, State>,
    (algorithm, level, input): (Asked, i32, WasmList<u8>),
) -> wasmtime::Result<(Result<Vec<u8>, Error>,)> {
    let limit = store.data().max_compress_bytes;
    if input.len() > limit {
        return Err(Breach::Compress { bytes: input.len(), limit }.into());
    }
    let algorithm = match lent(algorithm, level) {
        Ok(algorithm) => algorithm,
        Err(error) => return Ok((Err(error),)),
    };
    // The list borrows the whole store, so the compressor is moved out of it during the call.
    let mut compressor = std::mem::take(&mut store.data_mut().compressor);
    let frame =
        compressor.compress(algorithm, level, input.as_le_slice(&store)).map(<[u8]>::to_vec);
    store.data_mut().compressor = compressor;
    Ok((Ok(frame?),))
}

/// `codec.pack`. What it compresses is gathered in memory that the compressor keeps.
pub(crate) fn pack(
    mut store: StoreContextMut<'_, State>,
    (algorithm, level, prefix, ranges): (Asked, i32, WasmList<u8>, Vec<Range>),
) -> wasmtime::Result<(Result<Resource<Buffer>, Error>,)> {
    let state = store.data();
    let mut parts = Vec::with_capacity(ranges.len());
    let mut bytes = prefix.len();
    for range in &ranges {
        let (part, _) = held::part(state, range)?;
        bytes = bytes.saturating_add(part.len());
        parts.push(part);
    }
    let limit = state.max_compress_bytes;
    if bytes > limit {
        return Err(Breach::Compress { bytes, limit }.into());
    }
    let algorithm = match lent(algorithm, level) {
        Ok(algorithm) => algorithm,
        Err(error) => return Ok((Err(error),)),
    };
    let mut compressor = std::mem::take(&mut store.data_mut().compressor);
    let frame = compressor.compress_parts(algorithm, level, prefix.as_le_slice(&store), &parts);
    let frame = frame.map(Bytes::copy_from_slice);
    let state = store.data_mut();
    state.compressor = compressor;
    Ok((Ok(held::hold(state, frame?)?),))
}

/// The algorithm, if the host lends it at this level.
fn lent(algorithm: Asked, level: i32) -> Result<Algorithm, Error> {
    let algorithm = match algorithm {
        Asked::Zstd => Algorithm::Zstd,
        Asked::Gzip => Algorithm::Gzip,
        Asked::Lz4Raw => Algorithm::Lz4Raw,
        Asked::Snappy => Algorithm::Snappy,
        Asked::Brotli => Algorithm::Brotli,
    };
    if algorithm.levels().contains(&level) {
        return Ok(algorithm);
    }
    Err(Error::Unsupported(format!("the host lends levels {}", limits::lent_levels())))
}
