//! Progress of a long command: a bar on a terminal, plain lines elsewhere, on standard error.
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::terminal::errln;
use clap::ValueEnum;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use offloom_export::{Status, Totals};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// One line every two seconds
    Plain,
    /// Nothing
    None,
}

/// Redraws until it is dropped or finished.
pub struct Shown {
    task: Option<tokio::task::JoinHandle<()>>,
    bar: Option<ProgressBar>,
    plain: bool,
    status: Arc<Status>,
    started: Instant,
}

const BAR_TICK: Duration = Duration::from_millis(100);
const LINE_TICK: Duration = Duration::from_secs(2);

impl Progress {
    /// Starts to show `status`.
    pub fn show(self, status: Arc<Status>) -> Shown {
        let started = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        let bar = (self == Progress::Auto && terminal).then(bar);
        let plain = self == Progress::Plain || (self == Progress::Auto && !terminal);
        let task = match &bar {
            Some(bar) => {
                let (bar, status) = (bar.clone(), Arc::clone(&status));
                Some(tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(BAR_TICK).await;
                        draw(&bar, status.totals(), started);
                    }
                }))
            }
            None if plain => {
                let status = Arc::clone(&status);
                Some(tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(LINE_TICK).await;
                        errln!("{}", line(status.totals(), started.elapsed()));
                    }
                }))
            }
            None => None,
        };
        Shown { task, bar, plain, status, started }
    }
}

impl Shown {
    /// Shows the final state and stops.
    pub fn finish(mut self) {
        self.stop();
        if let Some(bar) = &self.bar {
            draw(bar, self.status.totals(), self.started);
            bar.finish();
        } else if self.plain {
            errln!("{}", line(self.status.totals(), self.started.elapsed()));
        }
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop();
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn draw(bar: &ProgressBar, totals: Totals, started: Instant) {
    bar.set_length(totals.raw_bytes_total.max(1));
    bar.set_position(if totals.raw_bytes_total == 0 && totals.finished() {
        1
    } else {
        totals.raw_bytes_done
    });
    bar.set_message(figures(totals, started.elapsed()));
}

/// One plain line: `42 %  12,345 rows  61,725 rows/s  8.1 MiB  3 of 7 classes  9 seconds left`.
fn line(totals: Totals, elapsed: Duration) -> String {
    format!("{:>3} %  {}", totals.percent(), figures(totals, elapsed))
}

fn figures(totals: Totals, elapsed: Duration) -> String {
    let rows_per_second = (totals.rows as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let mut text = format!(
        "{} rows  {} rows/s  {}  {} of {} classes",
        HumanCount(totals.rows),
        HumanCount(rows_per_second),
        HumanBytes(totals.file_bytes),
        totals.classes_done,
        totals.classes_total,
    );
    if let Some(left) = time_left(totals, elapsed) {
        text.push_str(&format!("  {} left", HumanDuration(left)));
    }
    text
}

fn time_left(totals: Totals, elapsed: Duration) -> Option<Duration> {
    if totals.raw_bytes_done == 0 || totals.finished() {
        return None;
    }
    let left = totals.raw_bytes_total.saturating_sub(totals.raw_bytes_done) as f64;
    Some(elapsed.mul_f64(left / totals.raw_bytes_done as f64))
}
