//! SIGTERM and SIGINT as one future.
use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// A signal that asks a command to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Completes at the first of the two signals. From this call on neither of them ends the process,
/// even before the future is polled.
///
/// # Errors
/// If the system refuses the handlers.
pub fn stop_signal() -> std::io::Result<impl Future<Output = StopSignal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => StopSignal::Terminate,
            _ = interrupt.recv() => StopSignal::Interrupt,
        }
    })
}
