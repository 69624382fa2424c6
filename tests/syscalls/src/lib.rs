//! Stops a program at chosen system calls, so that a test sees their order, acts between two of them, or
//! lets one fail.
//!
//! The kernel does it: a seccomp filter with user notification (Linux 5.5). It needs no rights, and
//! nothing in the watched program. Not every file operation is known here, only what tests ask for.
//!
//! Reading order: `call`, `filter`, `notification`, and [`watch`] below, which joins them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "only tests use this crate, and there a failed expectation is a failed test"
)]
mod call;
mod filter;
mod notification;

use std::{sync::mpsc, thread};

pub use call::{Call, Event};

/// Runs `work` on a thread of its own. Each of the `calls` that the thread makes, or a thread or process
/// that it starts, waits until `on_call` has returned; then the kernel makes it, unchanged.
///
/// Returns when `work` and all that it started have ended.
///
/// # Panics
/// When the kernel has no such filters, and when `work` panics.
pub fn watch<T: Send>(
    calls: &[Call],
    work: impl FnOnce() -> T + Send,
    mut on_call: impl FnMut(&Event),
) -> T {
    watch_and_hold(calls, work, |event| {
        on_call(event);
        false
    })
}

/// As [`watch`], but a call for which `holds` returns `true` waits as long as its process lives, and the other
/// calls are made.
///
/// # Panics
/// As [`watch`].
pub fn watch_and_hold<T: Send>(
    calls: &[Call],
    work: impl FnOnce() -> T + Send,
    mut holds: impl FnMut(&Event) -> bool,
) -> T {
    watch_and_answer(calls, work, |event| if holds(event) { Answer::Hold } else { Answer::Make })
}

/// As [`watch`], but a call for which `error` returns the number of an error, such as `EIO`, is not made
/// and fails with it.
///
/// # Panics
/// As [`watch`].
pub fn watch_and_fail<T: Send>(
    calls: &[Call],
    work: impl FnOnce() -> T + Send,
    mut error: impl FnMut(&Event) -> Option<i32>,
) -> T {
    watch_and_answer(calls, work, |event| error(event).map_or(Answer::Make, Answer::Fail))
}

/// What becomes of a call.
enum Answer {
    Make,
    Hold,
    Fail(i32),
}

fn watch_and_answer<T: Send>(
    calls: &[Call],
    work: impl FnOnce() -> T + Send,
    mut answer: impl FnMut(&Event) -> Answer,
) -> T {
    thread::scope(|scope| {
        let (to_watcher, from_work) = mpsc::channel();
        let work = scope.spawn(move || {
            to_watcher.send(filter::install(calls)).expect("the watcher waits");
            work()
        });
        if let Ok(listener) = from_work.recv() {
            while let Some(notification) = notification::next(&listener) {
                // Nobody waits for the answer to a caller that has just died.
                let Some(event) = notification.event(&listener) else { continue };
                match answer(&event) {
                    Answer::Make => notification.resume(&listener),
                    Answer::Fail(error) => notification.fail(&listener, error),
                    Answer::Hold => {}
                }
            }
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
