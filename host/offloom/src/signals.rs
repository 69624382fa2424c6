//! SIGTERM and SIGINT as one future.
use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first of the two. From this call on neither ends the process by itself, also before
/// the future is polled.
///
/// # Errors
/// When the system refuses.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
