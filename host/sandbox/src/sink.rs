//! Where a guest's bytes are held until its call has succeeded.
use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Resource, WasmList};

use crate::bindings::offloom::export::types::Error;
use crate::error::Breach;
use crate::limits::MAX_WRITE_BYTES;
use crate::state::State;

/// The bytes of one block or epilogue, in pieces of at most 1 MiB.
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

    /// Everything that was written, and how many bytes it has.
    pub(crate) fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.close_chunk();
        (self.chunks, self.length)
    }

    /// Small writes are gathered: a guest that writes single bytes costs no more memory.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
        let length = self.length.saturating_add(bytes.len() as u64);
        if length > self.limit {
            return Err(Breach::Output { limit: self.limit });
        }
        self.length = length;
        while !bytes.is_empty() {
            let room = MAX_WRITE_BYTES.saturating_sub(self.open.len());
            let (fits, rest) = bytes.split_at(bytes.len().min(room));
            self.open.extend_from_slice(fits);
            if self.open.len() >= MAX_WRITE_BYTES {
                self.close_chunk();
            }
            bytes = rest;
        }
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
    // The list borrows the whole store, so the output leaves it for the length of the call.
    let mut taken = std::mem::replace(store.data_mut().table.get_mut(&output)?, Output::new(0));
    let result = taken.append(bytes.as_le_slice(&store));
    let state = store.data_mut();
    *state.table.get_mut(&output)? = taken;
    state.clock.moved();
    result?;
    Ok((Ok(()),))
}
