//! Everything that the program prints: lines on standard output and standard error, and its log.
//!
//! Printing never decides what happens: a reader that has gone away is no error, and the first other
//! fault of standard output is reported once, at the end. Names on disk, manifests and arguments are
//! not trusted: their control characters reach neither a terminal nor a log.
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

/// Prints a line on standard output, like `println!`. A newline within it is escaped.
macro_rules! outln {
    ($($arg:tt)*) => { $crate::terminal::print(format_args!($($arg)*)) };
}

/// Prints a line on standard error, like `eprintln!`. A newline within it is escaped.
macro_rules! errln {
    ($($arg:tt)*) => { $crate::terminal::print_error(format_args!($($arg)*)) };
}

pub(crate) use {errln, outln};

/// The first fault of standard output but a closed pipe.
static FAULT: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output; see [`outln`].
pub fn print(line: fmt::Arguments<'_>) {
    keep_fault(write_line(&mut io::stdout().lock(), &line.to_string()));
}

/// Prints a line on standard error; see [`errln`].
pub fn print_error(line: fmt::Arguments<'_>) {
    // There is no place left that could be read.
    let _ = write_line(&mut io::stderr().lock(), &line.to_string());
}

/// Prints a text of this program on standard output as it is.
pub fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    keep_fault(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints a JSON document on standard output. Control characters in strings are written as `\u....`.
pub fn print_json(document: &serde_json::Value) {
    let mut text = String::new();
    for c in format!("{document:#}\n").chars() {
        if c == '\n' || !is_unsafe(c) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    let mut out = io::stdout().lock();
    keep_fault(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints help or a usage error of the command line, which repeats arguments.
pub fn print_usage(error: &clap::Error) {
    let mut text = error.render().to_string();
    for argument in std::env::args_os() {
        let argument = argument.to_string_lossy();
        // `--option=value` is repeated in parts.
        for part in argument.split('=').chain([&*argument]) {
            if part.chars().any(is_unsafe) {
                text = text.replace(part, &escaped(part));
            }
        }
    }
    let text: String = text.lines().map(|line| escaped(line) + "\n").collect();
    if error.use_stderr() {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    } else {
        keep_fault(io::stdout().lock().write_all(text.as_bytes()));
    }
}

/// Says that standard output lacks something, if so.
pub fn report_fault() {
    if let Some(error) = FAULT.get() {
        errln!("warning: standard output is not complete: {error}");
    }
}

fn keep_fault(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // Only the first one counts.
            let _ = FAULT.set(error);
        }
        _ => {}
    }
}

fn write_line(out: &mut impl Write, line: &str) -> io::Result<()> {
    let mut line = escaped(line);
    line.push('\n');
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// The text with its control characters in the form of Rust's string literals.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a character acts on a terminal, or changes the order in which others are shown.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The writer of the log: standard error, one line each event.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event);
        // The log's reader may have gone; the program goes on.
        let _ = write_line(&mut io::stderr().lock(), line.trim_end_matches('\n'));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        let hostile = "a\n\u{1b}[2Jb\u{9b}c\u{202e}d\u{7f}\te";
        assert_eq!(escaped(hostile), "a\\n\\u{1b}[2Jb\\u{9b}c\\u{202e}d\\u{7f}\\te");
        assert_eq!(escaped("Müller — 日本 'x' \\n"), "Müller — 日本 'x' \\n");
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault() {
        keep_fault(Err(io::ErrorKind::BrokenPipe.into()));
        assert!(FAULT.get().is_none());
        keep_fault(Err(io::ErrorKind::StorageFull.into()));
        assert!(FAULT.get().is_some());
    }
}
