//! The way of a block's bytes to the host.
use std::io;

use crate::bindings::offloom::export::types::Error;

/// Takes bytes in order.
pub trait Sink {
    /// Appends at most 1 MiB (`wit/sink.wit`).
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// Bytes handed to the sink in one call: what it takes at the most, because calls cost time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Gathers small writes into large ones, leaves out the first bytes, and keeps the sink's own error.
pub(crate) struct BlockWriter<'a, S> {
    sink: &'a mut S,
    gathered: Vec<u8>,
    skip_bytes: usize,
    error: Option<Error>,
}

impl<'a, S: Sink> BlockWriter<'a, S> {
    /// Passes on everything but the first `skip_bytes` bytes.
    pub(crate) fn new(sink: &'a mut S, skip_bytes: usize) -> Self {
        Self { sink, gathered: Vec::new(), skip_bytes, error: None }
    }

    /// The error of the sink, if it had one: it is what the call must return.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            if let Err(error) = self.sink.write(piece) {
                let text = error.to_string();
                self.error = Some(error);
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }

    fn hand_over_gathered(&mut self) -> io::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        self.hand_over(&gathered)?;
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }
}

impl<S: Sink> io::Write for BlockWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = self.skip_bytes.min(bytes.len());
        self.skip_bytes = self.skip_bytes.saturating_sub(skipped);
        let (_, kept) = bytes.split_at(skipped);
        if self.gathered.len().saturating_add(kept.len()) > PIECE_BYTES {
            self.hand_over_gathered()?;
        }
        if kept.len() >= PIECE_BYTES {
            self.hand_over(kept)?;
        } else {
            self.gathered.extend_from_slice(kept);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over_gathered()
    }
}
