//! The way of a block's bytes to the host.
use std::io;

use crate::bindings::offloom::export::types::Error;
use crate::held::{Held, Part};

/// Takes bytes in order.
pub trait Sink {
    /// What holds bytes.
    type Held: Held;

    /// Appends at most 1 MiB (`wit/sink.wit`).
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Appends bytes that the host holds.
    fn splice(&mut self, part: &Part<Self::Held>) -> Result<(), Error>;
}

/// Bytes handed to the sink in one call: what it takes at the most, because calls cost time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Gathers small writes into large ones, and keeps the sink's own error.
pub(crate) struct BlockWriter<'a, S> {
    sink: &'a mut S,
    gathered: Vec<u8>,
    error: Option<Error>,
}

impl<'a, S: Sink> BlockWriter<'a, S> {
    pub(crate) fn new(sink: &'a mut S) -> Self {
        Self { sink, gathered: Vec::new(), error: None }
    }

    /// Appends bytes that the host holds.
    pub(crate) fn splice(&mut self, part: &Part<S::Held>) -> io::Result<()> {
        self.hand_over_gathered()?;
        let spliced = self.sink.splice(part);
        self.keep_error(spliced)
    }

    fn keep_error(&mut self, done: Result<(), Error>) -> io::Result<()> {
        done.map_err(|error| {
            let text = error.to_string();
            self.error = Some(error);
            io::Error::other(text)
        })
    }

    /// The error of the sink, if it had one: it is what the call must return.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            let written = self.sink.write(piece);
            self.keep_error(written)?;
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
        if self.gathered.len().saturating_add(bytes.len()) > PIECE_BYTES {
            self.hand_over_gathered()?;
        }
        if bytes.len() >= PIECE_BYTES {
            self.hand_over(bytes)?;
        } else {
            self.gathered.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over_gathered()
    }
}
