//! A guest's standard output and standard error: escaped, bounded lines of the host's log.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::error::Breach;
use crate::limits::{MAX_LOG_WRITE_BYTES, SandboxLimits};

/// Bytes of the last lines that an error carries, and how many lines they are at most.
const LAST_LINES_BYTES: usize = 512;
const LAST_LINES: usize = 3;

/// The end of what a guest wrote, from which the last lines are taken.
const TAIL_BYTES: usize = 4096;

/// What a line costs besides its own bytes: about what the host's log adds to it.
const LINE_COST: usize = 64;

/// How much a guest may still write in one export, shared by its instances.
pub(crate) struct LogBudget {
    left_bytes: usize,
    dropped_lines: u64,
}

impl LogBudget {
    pub(crate) fn new(limits: &SandboxLimits) -> Arc<Mutex<LogBudget>> {
        Arc::new(Mutex::new(LogBudget { left_bytes: limits.log_bytes, dropped_lines: 0 }))
    }

    fn is_used_up(&self) -> bool {
        self.left_bytes == 0
    }

    fn drop_lines(&mut self, lines: usize) {
        self.dropped_lines = self.dropped_lines.saturating_add(lines as u64);
    }

    /// Whether a line of so many bytes may be logged. The first that may not uses the budget up.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left_bytes.checked_sub(bytes.saturating_add(LINE_COST));
        self.left_bytes = left.unwrap_or(0);
        if left.is_none() {
            self.drop_lines(1);
        }
        left.is_some()
    }
}

impl Drop for LogBudget {
    fn drop(&mut self) {
        if self.dropped_lines > 0 {
            tracing::warn!(
                lines = self.dropped_lines,
                "the guest's log exceeded its limit: lines were dropped"
            );
        }
    }
}

/// The log of one instance.
#[derive(Clone)]
pub(crate) struct GuestLog {
    budget: Arc<Mutex<LogBudget>>,
    lines: Arc<Mutex<Lines>>,
    line_bytes: usize,
}

#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    /// Bytes of the open line that were dropped.
    cut_bytes: usize,
    /// What was written last, whether it was logged or not: [`TAIL_BYTES`] if there are so many, and
    /// at most twice as many.
    tail: Vec<u8>,
}

impl GuestLog {
    pub(crate) fn new(budget: Arc<Mutex<LogBudget>>, limits: &SandboxLimits) -> GuestLog {
        GuestLog { budget, lines: Arc::default(), line_bytes: limits.log_line_bytes }
    }

    /// The last lines, escaped, for an error message. Lines that were not logged are among them.
    pub(crate) fn last_lines(&self) -> String {
        let mut lines = lock(&self.lines);
        if !lines.open.is_empty() {
            self.end_line(&mut lines);
        }
        last_lines(&lines.tail)
    }

    fn append(&self, bytes: &[u8]) {
        let mut lines = lock(&self.lines);
        lines.keep_tail(bytes);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if lock(&self.budget).is_used_up() {
                // Nothing is looked at one by one any more.
                let count = rest.iter().filter(|byte| **byte == b'\n').count();
                lock(&self.budget).drop_lines(count);
                lines.open.clear();
                lines.cut_bytes = 0;
                return;
            }
            let (line, after) = rest.split_at(end);
            self.extend_line(&mut lines, line);
            self.end_line(&mut lines);
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend_line(&mut lines, rest);
    }

    fn extend_line(&self, lines: &mut Lines, bytes: &[u8]) {
        let room = self.line_bytes.saturating_sub(lines.open.len());
        let (kept, cut) = bytes.split_at(bytes.len().min(room));
        lines.open.extend_from_slice(kept);
        lines.cut_bytes = lines.cut_bytes.saturating_add(cut.len());
    }

    fn end_line(&self, lines: &mut Lines) {
        let line = std::mem::take(&mut lines.open);
        let cut_bytes = std::mem::take(&mut lines.cut_bytes);
        if line.is_empty() {
            return;
        }
        let text = escape(&String::from_utf8_lossy(&line), usize::MAX);
        if lock(&self.budget).take(text.len()) {
            tracing::info!(target: "offloom::guest", cut_bytes, "{text}");
        }
    }
}

impl Lines {
    fn keep_tail(&mut self, bytes: &[u8]) {
        let kept = bytes.split_at(bytes.len().saturating_sub(TAIL_BYTES)).1;
        self.tail.extend_from_slice(kept);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        }
    }
}

/// The last lines of a text, escaped: as many as fit, and the last one in any case, cut if it must be.
fn last_lines(tail: &[u8]) -> String {
    let mut texts = Vec::new();
    let mut room = LAST_LINES_BYTES;
    let lines = tail.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in lines.take(LAST_LINES) {
        let text = escape(&String::from_utf8_lossy(line), LAST_LINES_BYTES);
        if !texts.is_empty() && text.len() > room {
            break;
        }
        room = room.saturating_sub(text.len());
        texts.push(text);
    }
    texts.reverse();
    texts.join(" / ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a guest's text safe for terminals and logs: escapes control characters and characters that
/// change the writing direction, and cuts the text after about `max_bytes`.
pub(crate) fn escape(text: &str, max_bytes: usize) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if escaped.len() >= max_bytes {
            escaped.push_str(" ...");
            break;
        }
        let is_direction = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || is_direction || matches!(character, '\u{2028}' | '\u{2029}') {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 calls this, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_LOG_WRITE_BYTES {
            let breach = Breach::LogWrite { bytes: bytes.len(), limit: MAX_LOG_WRITE_BYTES };
            return Err(StreamError::Trap(breach.into()));
        }
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LOG_WRITE_BYTES)
    }
}
