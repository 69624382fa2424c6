//! Composes the server: settings in, rooms wired, requests served until a signal ends it.
use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use crate::api::{self, ApiState};
use crate::authz::{Anonymous, Authorizer};
use crate::config::ServerConfig;
use crate::export::Workers;
use crate::guest;
use crate::index::Index;
use crate::scheduler::Scheduler;
use crate::signals::told_to_stop;

/// Serves until SIGTERM or SIGINT. `guests` is the runtime that guests run on.
///
/// # Errors
/// What keeps the server from starting.
pub async fn serve(config: ServerConfig, guests: tokio::runtime::Handle) -> anyhow::Result<()> {
    let Some(anonymous) = Anonymous::on(config.api.listen) else {
        bail!(
            "{} can be reached by other machines, and this version has no users: listen on 127.0.0.1",
            config.api.listen
        );
    };
    let authorizer: Arc<dyn Authorizer> = Arc::new(anonymous);
    // Every export opens it anew; a mistake is told now.
    let reading = config.scheduler.clone();
    let directory = tokio::task::spawn_blocking(move || reading.open_directory()).await??;
    for warning in directory.warnings() {
        eprintln!("warning: {warning}");
    }
    let state_dir = config.state_dir.clone();
    let index = tokio::task::spawn_blocking(move || Index::open(&state_dir)).await??;
    let backend = Arc::new(config.backend);
    for destination in backend.defaults()? {
        let checked = destination.check_access().await;
        checked.with_context(|| format!("the backend {}", destination.backend()))?;
    }
    let guest = guest::load(config.guest, config.sandbox).await?;
    let workers = Workers::new(config.scheduler.workers, guests);
    let listener = TcpListener::bind(config.api.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.api.listen))?;
    let scheduler =
        Scheduler::new(config.scheduler, guest, Arc::clone(&authorizer), index, workers).await?;
    let address = listener.local_addr()?;
    let quarantine_raw = config.quarantine_raw;
    let state = ApiState { scheduler: scheduler.clone(), backend, quarantine_raw, authorizer };
    let stop = told_to_stop()?;
    println!("listening on http://{address}");
    api::serve(listener, api::router(state), stop_exports(stop, scheduler)).await;
    Ok(())
}

/// SIGTERM or SIGINT: no new exports; status is still told while running ones end.
async fn stop_exports(stop: impl Future<Output = ()>, scheduler: Scheduler) {
    stop.await;
    eprintln!("stopping: running exports get their grace time");
    scheduler.shut_down().await;
}
