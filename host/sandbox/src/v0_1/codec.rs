//! `codec`: compression that the host lends to guests.
use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

use crate::error::Breach;
use crate::limits::MAX_COMPRESS_LEVEL;
use crate::state::State;
use crate::v0_1::bindings::offloom::export::codec::Algorithm;
use crate::v0_1::bindings::offloom::export::types::Error;

/// `codec.compress`. Reads the input in place, in the guest's memory.
pub(crate) fn compress(
    mut store: StoreContextMut<'_, State>,
    (algorithm, level, input): (Algorithm, i32, WasmList<u8>),
) -> wasmtime::Result<(Result<Vec<u8>, Error>,)> {
    let limit = store.data().max_compress_bytes;
    if input.len() > limit {
        return Err(Breach::Compress { bytes: input.len(), limit }.into());
    }
    if !matches!(algorithm, Algorithm::Zstd) || !(1..=MAX_COMPRESS_LEVEL).contains(&level) {
        return Ok((Err(Error::Unsupported(format!(
            "the host lends zstd of levels 1 to {MAX_COMPRESS_LEVEL} only"
        ))),));
    }
    // The list borrows the whole store, so the compressor is moved out of it during the call.
    let mut compressor = std::mem::take(&mut store.data_mut().compressor);
    let frame = compressor.zstd(level, input.as_le_slice(&store));
    store.data_mut().compressor = compressor;
    Ok((Ok(frame?),))
}
