//! Composes the server: opens and connects the rooms, and serves until a signal.
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use futures::future::OptionFuture;
use offloom_export::{Scope, Workers};
use offloom_sandbox::Sandbox;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::client_text::ClientText;
use crate::api::server::{Protocol, connection_limit};
use crate::api::tls::Tls;
use crate::api::web_pages::OwnHosts;
use crate::api::{self, ApiState, Connections, DefaultExporter, GuestAdmins, Watches};
use crate::built_in;
use crate::config::ServerConfig;
use crate::export_index::ExportIndex;
use crate::guest::{self, GuestConfig};
use crate::guests::policy;
use crate::guests::signature::TrustedKeys;
use crate::guests::store::GuestStore;
use crate::guests::{Guests, ordered};
use crate::journal_database::JournalDatabase;
use crate::metrics::{self, Collected, ExportMetrics};
use crate::planned_guests::PlannedGuests;
use crate::scheduler::{Rooms, Scheduler};
use crate::signals::{StopSignal, stop_signal};
use crate::state_database::{StateDatabase, StateError};
use crate::terminal::{errln, outln};

/// Serves until a signal asks it to stop. `guest_runtime` is the one on which guests run.
///
/// # Errors
/// Everything that keeps the server from starting.
pub async fn serve(
    config: ServerConfig,
    guest_runtime: tokio::runtime::Handle,
) -> anyhow::Result<()> {
    let (users, sources, listen) =
        (config.users.clone(), config.scheduler.sources.clone(), config.api.listen);
    let users = tokio::task::spawn_blocking(move || users.open(&sources, listen)).await??;
    for warning in &users.opened.warnings {
        errln!("warning: {warning}");
    }
    let tls = Tls::open(&config.tls)?;
    // Opening them here makes a bad path fail at start.
    let directories = Arc::new(config.scheduler.directories());
    let opening = Arc::clone(&directories);
    let directory = tokio::task::spawn_blocking(move || opening.open()).await??;
    for warning in directory.warnings() {
        errln!("warning: {warning}");
    }
    let state_dir = config.index.state_dir();
    let state_dir = state_dir.context("no state directory: give --state-dir, or set HOME")?;
    let opening = state_dir.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let database = StateDatabase::open(&opening)?;
        Ok::<_, StateError>((
            ExportIndex::new(database.clone())?,
            JournalDatabase::new(database.clone())?,
            GuestStore::open(&opening, database)?,
        ))
    });
    let (index, journals, store) = opened.await??;
    for destination in config.backend.defaults()? {
        let checked = destination.check_access().await;
        checked.with_context(|| format!("the backend {}", destination.backend()))?;
    }
    let client_text = client_text(&config, state_dir);
    let sandbox = guest::sandbox(&config.guest)?;
    let rules = &config.rules.guests;
    let keys = TrustedKeys::new(&rules.public_keys)?;
    let default_exporter = default_exporter(&config.guest, &sandbox, &keys).await?;
    let required = match &rules.policy_file {
        Some(path) => policy::load(path, &sandbox, &keys).await?,
        None => Vec::new(),
    };
    let guests = Guests::new(sandbox, store, keys, rules.tenants.clone());
    if let DefaultExporter::Name(name) = &default_exporter {
        // One that is missing then makes the server fail at its start, and is compiled before it is needed.
        let exporter = ordered::exporter(&guests, name, &Scope::default()).await;
        exporter.with_context(|| format!("the exporter {name} of the settings"))?;
    }
    let guest_admins = if users.has_users {
        GuestAdmins::Users(rules.admins.clone().into())
    } else {
        GuestAdmins::Everybody
    };
    let workers = Workers::new(usize::from(config.scheduler.workers), guest_runtime);
    let workers = config.load.limit_reading(workers);
    config.load.limit_traffic();
    let listener = TcpListener::bind(config.api.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.api.listen))?;
    let metrics_listener = metrics::server::listen(config.metrics.metrics_listen).await?;
    let grpc = api::grpc::listen(config.api.grpc_listen, users.has_users).await?;
    let file = match &default_exporter {
        DefaultExporter::File(exporter) => Some(exporter.clone()),
        DefaultExporter::Name(_) => None,
    };
    let (metrics, work) = (ExportMetrics::default(), Arc::clone(workers.counts()));
    let rooms = Rooms {
        directories,
        guests: PlannedGuests { guests: guests.clone(), file, required },
        authorizer: users.opened.authorizer,
        index,
        journals,
        workers,
        quotas: config.quotas.quotas,
        metrics: metrics.clone(),
    };
    let scheduler = Scheduler::new(config.scheduler, rooms).await?;
    let address = listener.local_addr()?;
    let state = ApiState {
        scheduler: scheduler.clone(),
        guests,
        default_exporter,
        guest_admins,
        backend: Arc::new(config.backend),
        quarantine_raw: config.api.quarantine_raw,
        request_timeout: api::server::REQUEST_TIMEOUT,
        own_hosts: OwnHosts::new(address, config.api.allowed_hosts, users.has_users),
        authenticator: users.opened.authenticator,
        client_text,
        watches: Watches::default(),
        open_id: users.opened.oidc.map(Into::into),
    };
    let router = api::router(state)?;
    let stop = stop_signal()?;
    if let Some(grpc) = &grpc {
        outln!("gRPC health checks on {}", grpc.local_addr()?);
    }
    if let Some(metrics) = &metrics_listener {
        outln!("metrics on http://{}/metrics", metrics.local_addr()?);
    }
    outln!("listening on {}://{address}", if tls.is_some() { "https" } else { "http" });
    let (connections, stopped) = (Connections::new(connection_limit()), CancellationToken::new());
    let serve = |listener, protocol: Protocol, tls, router| {
        let stop = stopped.clone().cancelled_owned();
        api::server::serve(listener, protocol, tls, connections.clone(), router, stop)
    };
    let encrypted =
        |protocol: Protocol| tls.as_ref().map(|tls| tls.acceptor(protocol.alpn())).transpose();
    let rest = serve(listener, Protocol::Rest, encrypted(Protocol::Rest)?, router);
    let grpc_tls = encrypted(Protocol::Grpc)?;
    let health = api::grpc::router(scheduler.clone());
    let grpc = grpc.map(|grpc| serve(grpc, Protocol::Grpc, grpc_tls, health));
    let started_at = Utc::now().timestamp_millis().max(0).unsigned_abs();
    let started_at = Duration::from_millis(started_at).as_secs_f64();
    let collected = Collected { scheduler: scheduler.clone(), work, started_at };
    let of_metrics = metrics::server::router(metrics.registry(collected));
    let of_metrics =
        metrics_listener.map(|listener| serve(listener, Protocol::Rest, None, of_metrics));
    let following = tls.clone().map(|tls| tokio::spawn(tls.follow()));
    let stop = async {
        stop_exports(stop, scheduler).await;
        stopped.cancel();
    };
    tokio::join!(rest, OptionFuture::from(grpc), OptionFuture::from(of_metrics), stop);
    if let Some(following) = following {
        following.abort();
    }
    Ok(())
}

/// The exporter of requests that name none.
async fn default_exporter(
    config: &GuestConfig,
    sandbox: &Sandbox,
    keys: &TrustedKeys,
) -> anyhow::Result<DefaultExporter> {
    match (&config.guest, &config.exporter) {
        (Some(_), Some(_)) => {
            anyhow::bail!("guest and exporter are both given: give a file, or a name")
        }
        (Some(path), None) => {
            guest::check_signature(path, keys)?;
            Ok(DefaultExporter::File(guest::load(sandbox, Some(path)).await?))
        }
        (None, name) => {
            let name = name.as_deref().unwrap_or(built_in::PARQUET);
            Ok(DefaultExporter::Name(name.to_owned()))
        }
    }
}

/// Replaces the paths of these settings in what clients read.
fn client_text(config: &ServerConfig, state_dir: PathBuf) -> ClientText {
    let mut named = vec![(state_dir, "the state directory")];
    for (path, name) in [
        (&config.backend.filesystem_root, "the folder of the backend"),
        (&config.scheduler.schema, "the schema file"),
        (&config.guest.guest, "the guest"),
        (&config.rules.guests.policy_file, "the policy of guests"),
        (&config.guest.cache_dir, "the directory of compiled guests"),
    ] {
        named.extend(path.clone().map(|path| (path, name)));
    }
    ClientText::new(&config.scheduler.sources, named)
}

/// After a signal: no further exports are accepted; status requests are answered until the
/// running ones have ended.
async fn stop_exports(stop: impl Future<Output = StopSignal>, scheduler: Scheduler) {
    stop.await;
    errln!("stopping: running exports may continue for the grace time");
    scheduler.shut_down().await;
}
