//! `sink.output`: keeps a guest's bytes until its call has succeeded.
use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, WasmList};

use crate::error::Breach;
use crate::limits::MAX_WRITE_BYTES;
use crate::state::State;
use crate::v0_1::bindings::offloom::export::held::Range;
use crate::v0_1::bindings::offloom::export::types::Error;
use crate::v0_1::held;

/// Writes of at least this size become pieces of their own; smaller ones are gathered.
const GATHER_BYTES: usize = 64 * 1024;

/// The bytes of one block or epilogue, in pieces.
pub struct Output {
    chunks: Vec<Bytes>,
    open: Vec<u8>,
    length: u64,
    limit: u64,
}

impl Output {
    pub(crate) fn new(limit: u64) -> Output {
        Output { chunks: Vec::new(), open: Vec::new(), length: 0, limit }
    }

    /// The pieces that were written, and the number of their bytes.
    pub(crate) fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.close_chunk();
        (self.chunks, self.length)
    }

    /// Gathers small writes, so that a guest that writes single bytes needs no more memory.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        self.count(bytes.len())?;
        if self.open.len().saturating_add(bytes.len()) > MAX_WRITE_BYTES {
            self.close_chunk();
        }
        if bytes.len() >= GATHER_BYTES {
            self.close_chunk();
            self.chunks.push(Bytes::copy_from_slice(bytes));
        } else {
            self.open.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Keeps what is most of a buffer, and copies the rest: a small piece would keep the whole buffer in
    /// memory for as long as the block is.
    fn splice(&mut self, bytes: Bytes, buffer_bytes: usize) -> Result<(), Breach> {
        if bytes.len() < GATHER_BYTES || bytes.len() < buffer_bytes.div_ceil(2) {
            for piece in bytes.chunks(MAX_WRITE_BYTES) {
                self.append(piece)?;
            }
            return Ok(());
        }
        self.count(bytes.len())?;
        self.close_chunk();
        self.chunks.push(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Breach> {
        let length = self.length.saturating_add(bytes as u64);
        if length > self.limit {
            return Err(Breach::Output { limit: self.limit });
        }
        self.length = length;
        Ok(())
    }

    fn close_chunk(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push(std::mem::take(&mut self.open).into());
        }
    }
}

/// `output.write`. The bytes are copied once, out of the guest's memory.
pub(crate) fn write(
    mut store: StoreContextMut<'_, State>,
    (output, bytes): (Resource<Output>, WasmList<u8>),
) -> wasmtime::Result<(Result<(), Error>,)> {
    if bytes.len() > MAX_WRITE_BYTES {
        return Err(Breach::Write { bytes: bytes.len(), limit: MAX_WRITE_BYTES }.into());
    }
    if bytes.len() == 0 {
        return Ok((Ok(()),));
    }
    // The list borrows the whole store, so the output is moved out of it during the call.
    let mut taken = std::mem::replace(store.data_mut().table.get_mut(&output)?, Output::new(0));
    let result = taken.append(bytes.as_le_slice(&store));
    let state = store.data_mut();
    *state.table.get_mut(&output)? = taken;
    state.clock.moved();
    result?;
    Ok((Ok(()),))
}

/// `output.splice`.
pub(crate) fn splice(
    mut store: StoreContextMut<'_, State>,
    (output, range): (Resource<Output>, Range),
) -> wasmtime::Result<(Result<(), Error>,)> {
    let state = store.data_mut();
    let (bytes, buffer_bytes) = held::part(state, &range)?;
    if bytes.is_empty() {
        return Ok((Ok(()),));
    }
    state.table.get_mut(&output)?.splice(bytes, buffer_bytes)?;
    state.clock.moved();
    Ok((Ok(()),))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_keeps_no_more_memory_than_twice_its_bytes() {
        let buffer = Bytes::from(vec![7; 1 << 20]);
        for (bytes, kept) in
            [(1 << 20, true), (1 << 19, true), ((1 << 19) - 1, false), (1 << 10, false)]
        {
            let mut output = Output::new(1 << 20);
            output.splice(buffer.slice(..bytes), buffer.len()).unwrap();
            let (chunks, length) = output.finish();
            assert_eq!((chunks.concat().len(), length), (bytes, bytes as u64));
            assert_eq!(chunks[0].as_ptr() == buffer.as_ptr(), kept, "{bytes}");
        }
    }
}
