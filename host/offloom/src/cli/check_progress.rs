//! How far `inspect --check` is: a bar on a terminal, plain lines elsewhere, on standard error.
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::terminal::errln;
use indicatif::{ProgressBar, ProgressStyle};

/// The time between two plain lines.
const LINE_TICK: Duration = Duration::from_secs(2);

/// The progress through one class.
pub struct CheckProgress {
    class: String,
    total_bytes: u64,
    done_bytes: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl CheckProgress {
    /// Begins a class of which `total_bytes` will be read.
    pub fn new(class: &str, total_bytes: u64) -> CheckProgress {
        CheckProgress {
            class: class.to_owned(),
            total_bytes,
            done_bytes: 0,
            bar: std::io::stderr().is_terminal().then(|| bar(class, total_bytes)),
            last_line: Instant::now(),
        }
    }

    /// Counts bytes that were read.
    pub fn add(&mut self, bytes: u64) {
        self.done_bytes = self.done_bytes.saturating_add(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done_bytes);
        } else if self.last_line.elapsed() >= LINE_TICK {
            self.last_line = Instant::now();
            errln!("{}", self.line());
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self) -> String {
        let percent = u128::from(self.done_bytes.min(self.total_bytes))
            .saturating_mul(100)
            .checked_div(u128::from(self.total_bytes))
            .unwrap_or(100);
        format!("checking {}: {percent} %", self.class)
    }
}

fn bar(class: &str, total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_bytes);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent:>3}%  {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(format!("checking {class}"));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_class_and_how_much_of_it_was_read() {
        let mut progress = CheckProgress::new("Note", 200);
        assert_eq!(progress.line(), "checking Note: 0 %");
        progress.add(199);
        assert_eq!(progress.line(), "checking Note: 99 %");
        // A log that has grown since.
        progress.add(5);
        assert_eq!(progress.line(), "checking Note: 100 %");
        assert_eq!(CheckProgress::new("Empty", 0).line(), "checking Empty: 100 %");
    }
}
