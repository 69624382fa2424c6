//! Runs exports for the API: accepts requests, lets a few run at once, shows and cancels them. Read on
//! with `admission` (who may ask for what), `carried_on` (those that the last process left unfinished), `listing`, `turns`, `running_export`
//! and `refusal`.
mod admission;
mod carried_on;
mod listing;
mod refusal;
mod running_export;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use offloom_authz::{Action, Authorizer, Principal};
use offloom_export::{
    ClaimError, Claimed, Estimate, ExportError, NamedExporter, Planned, Request, Scope, Status,
    Stop, StopReason, TransformStep, Trial, Tried, Workers, authorize, may_act_on_all,
};
use offloom_protocol::access::PassedChecks;
use offloom_protocol::claim::ClaimError as IdClaimError;
use offloom_protocol::manifest::Outcome;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::GuestOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::directory_cache::DirectoryCache;
use crate::export_index::{ExportEnd, ExportIndex, IndexEntry, Inserted};
use crate::journal_database::JournalDatabase;
use crate::lookup::{ExportState, ExportView, LookupError, view_of_entry, view_of_store};
use crate::metrics::{ExportMetrics, Refused};
use crate::planned_guests::PlannedGuests;
use crate::quotas::{QuotaConfig, Quotas};
use crate::scheduler_config::SchedulerConfig;
use crate::state_database::StateError;
pub use admission::Admitted;
pub use listing::{Listed, Page};
pub use refusal::{StartError, TryError};
use running_export::{Key, RunningExport, export_span, log_end};
use turns::Turns;

/// How long exports that are asked to stop may take. A store that cannot be reached is tried for a
/// minute.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// How long the answer to a cancel waits for the end, which needs the store.
const CANCEL_PATIENCE: Duration = Duration::from_millis(4_500);

/// What a request orders besides its scope.
pub struct Ordered {
    /// Id of the export, also the name of its folder.
    pub id: ExportId,
    /// Where the folder is created.
    pub destination: Destination,
    /// The exporter.
    pub exporter: NamedExporter,
    /// Its options.
    pub options: GuestOptions,
    /// The name of the format that the files must have; any if it is absent.
    pub file_format: Option<String>,
    /// What rows pass before they are encoded.
    pub transforms: Vec<TransformStep>,
}

/// What a scheduler uses.
pub struct Rooms {
    /// Opens what is exported: that of the settings.
    pub directories: Arc<DirectoryCache>,
    /// Finds the guests of exports that are carried on; it has what rows of every export pass.
    pub guests: PlannedGuests,
    /// Says who may read what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Remembers the exports.
    pub index: ExportIndex,
    /// Has what carries them on.
    pub journals: JournalDatabase,
    /// Do the work.
    pub workers: Workers,
    /// How many exports each user may have.
    pub quotas: QuotaConfig,
    /// Counts.
    pub metrics: ExportMetrics,
}

/// Accepts requests and runs exports. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    config: SchedulerConfig,
    directories: Arc<DirectoryCache>,
    passed_checks: PassedChecks,
    /// Finds the guests of exports that are carried on; it has what rows of every export pass.
    guests: PlannedGuests,
    authorizer: Arc<dyn Authorizer>,
    index: ExportIndex,
    journals: JournalDatabase,
    workers: Workers,
    quotas: Quotas,
    metrics: ExportMetrics,
    /// One permit for each export that may run or wait.
    places: Arc<Semaphore>,
    turns: Turns,
    running: Mutex<HashMap<Key, RunningExport>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Scheduler {
    /// Carries the exports on that the last process left unfinished.
    ///
    /// # Errors
    /// [`StateError`].
    pub async fn new(config: SchedulerConfig, rooms: Rooms) -> Result<Scheduler, StateError> {
        let Rooms { directories, guests, authorizer, index, journals, workers, quotas, metrics } =
            rooms;
        let running = usize::from(config.max_exports);
        let waiting = usize::try_from(config.max_waiting).unwrap_or(usize::MAX);
        let places = running.saturating_add(waiting).min(Semaphore::MAX_PERMITS);
        let quotas = Quotas::new(quotas, config.max_exports);
        let (turns, places) =
            (Turns::new(running, quotas.running()), Semaphore::new(places).into());
        let scheduler = Scheduler {
            inner: Arc::new(Inner {
                config,
                directories,
                passed_checks: PassedChecks::default(),
                guests,
                authorizer,
                index,
                journals,
                workers,
                quotas,
                metrics,
                places,
                turns,
                running: Mutex::default(),
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        };
        scheduler.carry_on().await?;
        Ok(scheduler)
    }

    /// Tries guests on the first rows of a class, after the transforms that the operator requires.
    ///
    /// # Errors
    /// [`TryError`].
    pub async fn try_guests(&self, principal: &Principal, trial: Trial) -> Result<Tried, TryError> {
        let (directories, policy) =
            (Arc::clone(&self.inner.directories), self.inner.authorizer.policy());
        let (principal, scope) = (principal.clone(), trial.scope.clone());
        let authorizing = move || {
            let directory = directories.open()?;
            Ok::<_, TryError>(authorize(&*policy, &principal, directory, &scope)?)
        };
        let authorized = tokio::task::spawn_blocking(authorizing).await??;
        let transforms =
            self.inner.guests.required.iter().cloned().chain(trial.transforms).collect();
        Ok(Trial { transforms, ..trial }.run(authorized, &self.inner.workers).await?)
    }

    /// What an export would read and write. No id is taken, and the store is not touched.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn estimate(
        &self,
        admitted: Admitted,
        ordered: Ordered,
    ) -> Result<Estimate, StartError> {
        let Admitted { authorized, scope, .. } = admitted;
        let exporter = ordered.exporter.clone();
        let request = self.request(scope, ordered);
        let planned = request.plan_only(authorized, &exporter, &self.inner.workers).await?;
        Ok(planned.estimate())
    }

    /// What is ordered, with what rows of every export pass.
    fn request(&self, scope: Scope, ordered: Ordered) -> Request {
        let Ordered { id, destination, exporter: _, options, file_format, transforms } = ordered;
        let digest = self.inner.config.digest;
        let transforms = self.inner.guests.required.iter().cloned().chain(transforms).collect();
        Request { id, destination, scope, options, transforms, digest, file_format }
    }

    /// Accepts a request: checks and plans it, takes its id here and on the store, and runs the
    /// export when it has its turn.
    ///
    /// # Errors
    /// [`StartError`]. The id then is free, unless another export uses it.
    pub async fn start(
        &self,
        admitted: Admitted,
        ordered: Ordered,
    ) -> Result<ExportView, StartError> {
        let inner = &self.inner;
        if inner.index.get(ordered.destination.backend(), &ordered.id).await?.is_some() {
            return Err(StartError::IdInUse(ordered.id));
        }
        let Admitted { place, authorized, scope } = admitted;
        let asked = Instant::now();
        // The manifest has only those that concern the classes of the export.
        for warning in authorized.directory().warnings() {
            tracing::info!(id = %ordered.id, %warning, "the data directory");
        }
        let exporter = ordered.exporter.clone();
        let request = self.request(scope, ordered);
        let passed = &inner.passed_checks;
        let span = export_span(&request.id, authorized.principal());
        let planning = request.plan(authorized, &exporter, passed, &inner.workers);
        let planned = planning.instrument(span.clone()).await?;
        // A client that disconnects must not leave an id that is taken without an export that runs.
        let scheduler = self.clone();
        let taking = async move { scheduler.take_id(planned, place, asked).await };
        tokio::spawn(taking.instrument(span)).await?
    }

    /// Takes the id here and on the store, and starts the task of the export.
    async fn take_id(
        &self,
        planned: Planned,
        place: Option<OwnedSemaphorePermit>,
        asked: Instant,
    ) -> Result<ExportView, StartError> {
        let inner = &self.inner;
        // Planning takes a while, and nobody would wait for this export's end.
        if inner.stopping.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        let (backend, id) = (planned.destination.backend().to_owned(), planned.id.clone());
        let entry = IndexEntry {
            backend: backend.clone(),
            id: id.clone(),
            destination: planned.destination.url(),
            started_at: Utc::now(),
            principal: planned.principal.clone(),
            classes: planned.class_names(),
            tenants: planned.tenants.clone(),
            ended: None,
        };
        match inner.index.insert(entry.clone(), &inner.quotas).await? {
            Inserted::Yes => {}
            Inserted::IdInUse => return Err(StartError::IdInUse(id)),
            Inserted::OverQuota(over) => {
                inner.metrics.refused(Refused::Quota);
                return Err(StartError::OverQuota(over));
            }
        }
        let (principal, tenants) = (planned.principal.clone(), planned.tenants.clone());
        let journal = inner.journals.of(&backend, &id);
        let status = Arc::new(Status::default());
        let claimed = match planned.claim(&status, Some(Arc::clone(&journal))).await {
            Ok(claimed) => claimed,
            Err(error) => {
                inner.index.remove(&backend, &id).await?;
                journal.remove_all().await?;
                return Err(match error {
                    ClaimError::Id(IdClaimError::IdInUse { .. }) => StartError::IdInUse(id),
                    error => error.into(),
                });
            }
        };
        inner.metrics.claimed(asked.elapsed());
        // As in the claim and the manifest.
        let entry = IndexEntry { started_at: claimed.started_at(), ..entry };
        let (end, ended) = watch::channel(None);
        let running = RunningExport {
            path: claimed.folder().url().to_owned(),
            started_at: claimed.started_at(),
            principal,
            tenants,
            classes: entry.classes.clone(),
            status: Arc::clone(&status),
            stop: Stop::default(),
            ended,
            held_up: watch::channel(None).1,
        };
        let principal = running.principal.as_deref();
        tracing::info!(%id, backend, principal, classes = entry.classes.len(), "an export begins");
        let key = (backend, id);
        self.running().insert(key.clone(), running.clone());
        let view = running.view(&key);
        let scheduler = self.clone();
        let task = async move {
            let principal = entry.principal.as_deref();
            let ended = scheduler.run(claimed, principal, status, running.stop).await;
            drop(place);
            scheduler.record_end(entry, ended, &end).await;
        };
        inner.tasks.spawn(task.in_current_span());
        Ok(view)
    }

    /// Records how an export ended, and removes its journal; nothing of one that the next process carries
    /// on.
    async fn record_end(
        &self,
        entry: IndexEntry,
        ended: Option<ExportEnd>,
        end: &watch::Sender<Option<ExportEnd>>,
    ) {
        let Some(ended) = ended else { return };
        self.inner.metrics.ended(entry.started_at, &ended);
        let key = (entry.backend.clone(), entry.id.clone());
        let recorded = self.inner.index.end(entry, ended.clone()).await;
        if let Err(error) = recorded {
            tracing::error!(%error, id = %key.1, "the end of an export was not recorded");
        } else {
            // From now on its manifest answers.
            self.running().remove(&key);
            if let Err(error) = self.inner.journals.of(&key.0, &key.1).remove_all().await {
                tracing::error!(%error, id = %key.1, "the journal of an export was not removed");
            }
        }
        end.send_replace(Some(ended));
    }

    /// `None` if the next process carries it on.
    async fn run(
        &self,
        mut claimed: Claimed,
        principal: Option<&str>,
        status: Arc<Status>,
        stop: Stop,
    ) -> Option<ExportEnd> {
        let id = claimed.id().clone();
        let turn = async {
            // A tenant that waits for its own guests takes no turn from others.
            claimed.reserve(&self.inner.workers).await;
            self.inner.turns.next(principal).await
        };
        // An export that is asked to stop while it waits needs no turn to end.
        let turn = tokio::select! {
            turn = turn => turn,
            _ = stop.asked() => None,
        };
        let ended = claimed.run(&self.inner.workers, status, &stop).await;
        drop(turn);
        log_end(&id, &ended);
        match (ended.manifest, ended.error) {
            (Some(manifest), _) => Some(ExportEnd::of_manifest(&manifest)),
            (None, Some(ExportError::Suspended)) => None,
            (None, error) => Some(ExportEnd::failed(error.map(|error| error.to_string()))),
        }
    }

    /// What is known of an export. One that this server does not know is looked for in `elsewhere`.
    /// The shards of one that has ended are read if they are few, or with `all_shards`.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn view(
        &self,
        principal: &Principal,
        backend: &str,
        id: &ExportId,
        elsewhere: Option<Destination>,
        all_shards: bool,
    ) -> Result<ExportView, LookupError> {
        // An export is among the running ones until its manifest can answer.
        let key = (backend.to_owned(), id.clone());
        let running = self.running().get(&key).map(|running| running.view(&key));
        let view = match running {
            Some(view) => view,
            None => self.view_of_ended(&key, elsewhere, all_shards).await?,
        };
        self.refuse_others(principal, Action::Status, &view).await?;
        self.refuse_held_up(&key)?;
        Ok(view)
    }

    /// What is known of an export that this process does not run.
    async fn view_of_ended(
        &self,
        key: &Key,
        elsewhere: Option<Destination>,
        all_shards: bool,
    ) -> Result<ExportView, LookupError> {
        let (backend, id) = key;
        match (self.inner.index.get(backend, id).await?, elsewhere) {
            (Some(entry), _) => Ok(view_of_entry(&entry, all_shards).await),
            (None, Some(destination)) => view_of_store(id, &destination, all_shards).await,
            (None, None) => Err(LookupError::NotFound(id.clone())),
        }
    }

    /// Cancels an export and waits until it has ended. One that this server does not know is looked
    /// for in `elsewhere`.
    ///
    /// # Errors
    /// [`LookupError::NotFound`]; [`LookupError::Finished`] when it ended otherwise;
    /// [`LookupError::OfAnotherServer`]; [`LookupError::Canceling`] while the store does not answer.
    pub async fn cancel(
        &self,
        principal: &Principal,
        backend: &str,
        id: &ExportId,
        elsewhere: Option<Destination>,
    ) -> Result<(), LookupError> {
        let key = (backend.to_owned(), id.clone());
        let running = self.running().get(&key).cloned();
        let Some(mut running) = running else {
            let view = self.view_of_ended(&key, elsewhere, false).await?;
            self.refuse_others(principal, Action::Cancel, &view).await?;
            return Err(match view.state {
                ExportState::Ended { end, .. } => LookupError::Finished(id.clone(), end.outcome),
                ExportState::Started | ExportState::Transferring => {
                    LookupError::OfAnotherServer(id.clone())
                }
            });
        };
        self.refuse_others(principal, Action::Cancel, &running.view(&key)).await?;
        self.refuse_held_up(&key)?;
        let before = running.ended.borrow().clone();
        if let Some(ended) = before {
            return Err(LookupError::Finished(id.clone(), ended.outcome));
        }
        tracing::info!(%id, backend, %principal, "an export is canceled");
        running.stop.ask(StopReason::Canceled);
        let waiting = running.ended.wait_for(Option::is_some);
        let Ok(ended) = tokio::time::timeout(CANCEL_PATIENCE, waiting).await else {
            return Err(LookupError::Canceling(id.clone()));
        };
        let outcome = ended.ok().and_then(|ended| ended.as_ref().map(|ended| ended.outcome));
        match outcome {
            Some(Outcome::Canceled) => Ok(()),
            outcome => Err(LookupError::Finished(id.clone(), outcome.unwrap_or(Outcome::Failed))),
        }
    }

    /// Refuses further requests, lets running exports continue for the grace time, then stops them: the
    /// next process carries them on.
    pub async fn shut_down(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        let grace = Duration::from_secs(self.inner.config.shutdown_grace_seconds);
        if tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_err() {
            for running in self.running().values() {
                running.stop.ask(StopReason::ServerStopped);
            }
            if tokio::time::timeout(STOP_PATIENCE, self.inner.tasks.wait()).await.is_err() {
                tracing::error!(
                    "exports are left that do not end: a read or write does not return"
                );
            }
        }
    }

    /// Whether requests are accepted.
    pub fn is_open(&self) -> bool {
        !self.inner.stopping.is_cancelled()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, RunningExport>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While an export of the last process cannot be carried on, nobody knows how far it is.
    fn refuse_held_up(&self, key: &Key) -> Result<(), LookupError> {
        let running = self.running();
        let reason = running.get(key).and_then(|running| running.held_up.borrow().clone());
        reason.map_or(Ok(()), |reason| Err(LookupError::HeldUp(reason)))
    }

    /// Lets the creator of an export pass, and who may read all of its classes today. For others there
    /// is no such export.
    async fn refuse_others(
        &self,
        principal: &Principal,
        action: Action,
        view: &ExportView,
    ) -> Result<(), LookupError> {
        if is_creator(principal, view) {
            return Ok(());
        }
        let (policy, classes) = (self.inner.authorizer.policy(), view.class_names());
        let caller = principal.clone();
        // Many roles and classes take a while.
        let deciding = move || may_act_on_all(&*policy, &caller, action, classes.as_deref());
        if tokio::task::spawn_blocking(deciding).await? {
            return Ok(());
        }
        tracing::info!(id = %view.id, %principal, ?action, "an export is not shown");
        Err(LookupError::NotFound(view.id.clone()))
    }
}

/// Whether a principal has asked for an export. It may always see and cancel it.
fn is_creator(principal: &Principal, view: &ExportView) -> bool {
    view.principal.as_deref() == Some(principal.to_string().as_str())
}
