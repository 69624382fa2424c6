//! Reads a part of a file forward, through one buffer.
use crate::bucket::BucketFile;
use crate::error::LsmError;

impl BucketFile {
    /// CRC-32 of its first `bytes`.
    ///
    /// # Errors
    /// As [`BucketFile::read_exact_at`].
    pub(crate) fn crc(&self, bytes: u64) -> Result<u32, LsmError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut reader = ForwardReader::new(self, 0..bytes);
        loop {
            let chunk = reader.chunk(u64::MAX)?;
            if chunk.is_empty() {
                return Ok(hasher.finalize());
            }
            hasher.update(chunk);
        }
    }
}

/// Reads a file forward through one buffer of fixed size.
#[derive(Debug)]
pub(crate) struct ForwardReader<'a> {
    file: &'a BucketFile,
    buffer: Vec<u8>,
    /// The unread part of `buffer`.
    unread: std::ops::Range<usize>,
    /// Offset in the file after the last byte in `buffer`.
    loaded_to: u64,
    begin: u64,
    end: u64,
}

/// Large enough that the cost of a system call does not matter, small enough for many readers.
const FORWARD_BUFFER_BYTES: u64 = 128 * 1024;

impl<'a> ForwardReader<'a> {
    /// Reads `range`, which must end within the file.
    pub fn new(file: &'a BucketFile, range: std::ops::Range<u64>) -> ForwardReader<'a> {
        let span = range.end.saturating_sub(range.start);
        // At most the constant, so the cast is exact.
        let buffer = vec![0; span.min(FORWARD_BUFFER_BYTES) as usize];
        let (begin, end) = (range.start, range.end);
        ForwardReader { file, buffer, unread: 0..0, loaded_to: begin, begin, end }
    }

    /// Offset in the file of the next byte.
    pub fn position(&self) -> u64 {
        self.loaded_to.saturating_sub(self.unread.len() as u64)
    }

    /// Bytes left in the range.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.position())
    }

    /// The next bytes, at most `limit` of them; empty only at the end.
    pub fn chunk(&mut self, limit: u64) -> Result<&[u8], LsmError> {
        if self.unread.is_empty() {
            let left = self.end.saturating_sub(self.loaded_to);
            let length = left.min(self.buffer.len() as u64) as usize;
            let target = self.buffer.get_mut(..length).unwrap_or_default();
            self.file.read_exact_at(target, self.loaded_to)?;
            self.loaded_to = self.loaded_to.saturating_add(length as u64);
            self.file.goes_on(self.begin, self.loaded_to, self.end);
            self.unread = 0..length;
        }
        let length = (self.unread.len() as u64).min(limit) as usize;
        let start = self.unread.start;
        self.unread.start = start.saturating_add(length);
        Ok(self.buffer.get(start..self.unread.start).unwrap_or_default())
    }

    /// The next `N` bytes, or `None` if there are fewer.
    pub fn take<const N: usize>(&mut self) -> Result<Option<[u8; N]>, LsmError> {
        if self.remaining() < N as u64 {
            return Ok(None);
        }
        let mut taken = [0; N];
        let mut rest = taken.as_mut_slice();
        while !rest.is_empty() {
            let chunk = self.chunk(rest.len() as u64)?;
            let (filled, unfilled) = rest.split_at_mut(chunk.len());
            filled.copy_from_slice(chunk);
            rest = unfilled;
        }
        Ok(Some(taken))
    }
}
