//! How a running export is asked to stop.
use tokio::sync::watch;

/// Why an export is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody canceled it: it ends CANCELED.
    Canceled,
    /// The server stops: it ends FAILED.
    ServerStopped,
}

/// Asks an export to stop. The first reason counts. Clones share one request.
#[derive(Debug, Clone, Default)]
pub struct Stop(watch::Sender<Option<StopReason>>);

impl Stop {
    /// Asks the export to stop. It may have ended already.
    pub fn ask(&self, reason: StopReason) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(reason);
            first
        });
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) -> StopReason {
        let mut asked = self.0.subscribe();
        loop {
            if let Some(reason) = *asked.borrow_and_update() {
                return reason;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
