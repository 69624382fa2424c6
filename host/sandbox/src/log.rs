//! A guest's standard output and standard error: escaped, bounded lines of the host's log.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::limits::SandboxLimits;

/// Bytes of the last lines that an error carries.
const LAST_LINES_BYTES: usize = 512;

/// How much a guest may still write in one export, shared by its instances.
pub(crate) struct LogBudget {
    left_bytes: usize,
    dropped_lines: u64,
}

impl LogBudget {
    pub(crate) fn new(limits: &SandboxLimits) -> Arc<Mutex<LogBudget>> {
        Arc::new(Mutex::new(LogBudget { left_bytes: limits.log_bytes, dropped_lines: 0 }))
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
    last: Vec<String>,
}

impl GuestLog {
    pub(crate) fn new(budget: Arc<Mutex<LogBudget>>, limits: &SandboxLimits) -> GuestLog {
        GuestLog { budget, lines: Arc::default(), line_bytes: limits.log_line_bytes }
    }

    /// The last lines, escaped, for an error message.
    pub(crate) fn last_lines(&self) -> String {
        let mut lines = lock(&self.lines);
        if !lines.open.is_empty() {
            self.end_line(&mut lines);
        }
        escape(&lines.last.join(" / "), LAST_LINES_BYTES)
    }

    fn append(&self, bytes: &[u8]) {
        let mut lines = lock(&self.lines);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
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
        {
            let mut budget = lock(&self.budget);
            match budget.left_bytes.checked_sub(text.len()) {
                Some(left) => budget.left_bytes = left,
                None => {
                    budget.left_bytes = 0;
                    budget.dropped_lines = budget.dropped_lines.saturating_add(1);
                    return;
                }
            }
        }
        tracing::info!(target: "offloom::guest", cut_bytes, "{text}");
        lines.last.push(text);
        if lines.last.len() > 3 {
            lines.last.remove(0);
        }
    }
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
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}
