//! The signals that ask the program to end, as one future.
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks a command to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGHUP: the terminal was closed.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl StopSignal {
    /// The exit status of a command that it stopped: 128 and its number.
    pub fn exit_status(self) -> u8 {
        match self {
            StopSignal::Hangup => 129,
            StopSignal::Interrupt => 130,
            StopSignal::Terminate => 143,
        }
    }
}

/// Completes at the first of these signals. From this call on none of them ends the process, even
/// before the future is polled; after the first, SIGINT ends it at once. SIGHUP stays ignored where
/// the program was started so, as by `nohup`.
///
/// # Errors
/// If the system refuses the handlers.
pub fn stop_signal() -> std::io::Result<impl Future<Output = StopSignal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            _ = terminate.recv() => StopSignal::Terminate,
            _ = interrupt.recv() => StopSignal::Interrupt,
            _ = hung_up => StopSignal::Hangup,
        };
        tokio::spawn(end_at_once(interrupt));
        first
    })
}

/// The user does not want to wait for the orderly end.
async fn end_at_once(mut interrupt: Signal) {
    interrupt.recv().await;
    std::process::exit(i32::from(StopSignal::Interrupt.exit_status()));
}

/// Whether SIGHUP is ignored, by Linux's list of ignored signals. Elsewhere it is heard.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1, SIGHUP.
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) an I/O error, not the end of the process.
///
/// # Errors
/// If the system refuses the handler.
pub fn survive_file_size_limit() -> std::io::Result<()> {
    let reached = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, reached).map(drop)
}
