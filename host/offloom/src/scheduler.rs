//! Which exports run: takes requests, lets a few run at once, answers how far they are, cancels.
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use offloom_protocol::claim::ClaimError;
use offloom_protocol::manifest::Outcome;
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_sandbox::{ExporterGuest, GuestError, GuestOptions};
use offloom_weaviate_disk::{Class, DataDirectory, Descriptors, DiskError, SchemaFile};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authz::{Action, Authorizer, Principal};
use crate::export::{ClaimedExport, Export, ExportError, Stop, StopReason, Workers};
use crate::index::{Ended, Entry, Index, IndexError};
use crate::lookup::{ExportState, ExportView, LookupError, left_behind, of_entry, of_store};
use crate::plan::{PlanError, plan};
use crate::scope::Scope;
use crate::status::Status;

/// What runs, as the operator says.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Weaviate's data directory, or those of a cluster's nodes, opened anew for every export.
    pub sources: Vec<PathBuf>,
    /// A saved answer of `GET /v1/schema`.
    pub schema: Option<PathBuf>,
    /// Guests that encode at the same time, over all exports.
    pub workers: usize,
    /// Exports that run at the same time.
    pub max_exports: usize,
    /// How long running exports may go on once the server is told to stop.
    pub shutdown_grace: Duration,
}

impl SchedulerConfig {
    /// Opens the data directories as they are now. Blocking.
    ///
    /// # Errors
    /// What makes it, or the schema file, unreadable.
    pub fn open_directory(&self) -> Result<DataDirectory, DiskError> {
        let schema = self.schema.as_deref().map(SchemaFile::read).transpose()?;
        let directory = DataDirectory::open_nodes(&self.sources, schema)?;
        // Every export has files of its own to count on: whoever waits for those of another could
        // wait for one that waits for a worker.
        Ok(directory.with_descriptors(Descriptors::of_process(self.max_exports)))
    }
}

/// What a client asks for.
#[derive(Debug)]
pub struct Request {
    /// Kind of store, as in the path of the request.
    pub backend: String,
    /// The id.
    pub id: ExportId,
    /// Where the folder goes.
    pub destination: Destination,
    /// What it covers of what may be read.
    pub scope: Scope,
    /// Options of the guest.
    pub options: GuestOptions,
}

/// A request that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The principal may not read what it asks for.
    #[error("not allowed to read {0}")]
    Forbidden(String),
    /// The id was used before.
    #[error("export '{0}' exists: choose another id")]
    IdInUse(ExportId),
    /// Nothing can be exported of what was asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The data directory cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The guest refuses its options.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The store refused.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The runtime went away.
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}

/// An export that this process runs.
#[derive(Clone)]
struct Running {
    path: String,
    started_at: DateTime<Utc>,
    status: Arc<Status>,
    stop: Stop,
    transferring: watch::Receiver<bool>,
    ended: watch::Receiver<Option<Ended>>,
}

/// Takes requests and runs exports. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

struct Inner {
    config: SchedulerConfig,
    guest: ExporterGuest,
    authorizer: Arc<dyn Authorizer>,
    index: Index,
    workers: Workers,
    turns: Arc<Semaphore>,
    running: Mutex<HashMap<(String, ExportId), Running>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Scheduler {
    /// Exports that the last process left unfinished are noted as FAILED first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn new(
        config: SchedulerConfig,
        guest: ExporterGuest,
        authorizer: Arc<dyn Authorizer>,
        index: Index,
        workers: Workers,
    ) -> Result<Scheduler, IndexError> {
        let reading = index.clone();
        let unfinished = tokio::task::spawn_blocking(move || reading.unfinished())
            .await
            .map_err(|_stopped| IndexError::Interrupted)??;
        for entry in unfinished {
            let ended = left_behind(&entry).await;
            index.end(entry, ended).await?;
        }
        let turns = Arc::new(Semaphore::new(config.max_exports));
        Ok(Scheduler {
            inner: Arc::new(Inner {
                config,
                guest,
                authorizer,
                index,
                workers,
                turns,
                running: Mutex::default(),
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        })
    }

    /// Takes a request: checks it, takes its id here and on the store, and runs it in its turn.
    ///
    /// # Errors
    /// [`StartError`]; the id is free again unless somebody else has it.
    pub async fn start(
        &self,
        principal: &Principal,
        request: Request,
    ) -> Result<ExportView, StartError> {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() {
            return Err(StartError::ShuttingDown);
        }
        if inner.index.get(&request.backend, &request.id).await?.is_some() {
            return Err(StartError::IdInUse(request.id));
        }
        let config = inner.config.clone();
        let directory = tokio::task::spawn_blocking(move || config.open_directory()).await??;
        let readable = self.readable(principal, &directory, &request)?;
        let Request { backend, id, destination, options, scope } = request;
        let guest = inner.guest.for_export();
        let classes = plan(&directory, &readable, &guest, &options, &scope).await?;
        let allow_partial = scope.allow_partial;
        let export = Export { id, destination, directory, classes, guest, options, allow_partial };
        // A client that goes away must not leave an id that is taken and not run.
        let scheduler = self.clone();
        tokio::spawn(async move { scheduler.take_id(backend, export).await }).await?
    }

    /// Takes the id here and on the store, and has the export run in its turn.
    async fn take_id(&self, backend: String, export: Export) -> Result<ExportView, StartError> {
        let inner = &self.inner;
        let id = export.id.clone();
        let entry = Entry {
            backend: backend.clone(),
            id: id.clone(),
            destination: export.destination.url(),
            started_at: Utc::now(),
            classes: export.classes.iter().map(|class| class.class.name.to_string()).collect(),
            ended: None,
        };
        if !inner.index.insert(entry.clone()).await? {
            return Err(StartError::IdInUse(id));
        }
        let claimed = match export.claim().await {
            Ok(claimed) => claimed,
            Err(error) => {
                inner.index.remove(&backend, &id).await?;
                return Err(match error {
                    ExportError::Claim(ClaimError::IdInUse { .. }) => StartError::IdInUse(id),
                    error => error.into(),
                });
            }
        };
        let status = Arc::new(Status::default());
        claimed.announce(&status);
        let (transfer, transferring) = watch::channel(false);
        let (end, ended) = watch::channel(None);
        let running = Running {
            path: claimed.folder().url().to_owned(),
            started_at: claimed.started_at(),
            status: Arc::clone(&status),
            stop: Stop::default(),
            transferring,
            ended,
        };
        let key = (backend, id.clone());
        self.running().insert(key.clone(), running.clone());
        let scheduler = self.clone();
        let stop = running.stop.clone();
        inner.tasks.spawn(async move {
            let ended = scheduler.run(claimed, status, stop, &transfer).await;
            let noted = scheduler.inner.index.end(entry, ended.clone()).await;
            match noted {
                // From here on its manifest tells.
                Ok(()) => drop(scheduler.running().remove(&key)),
                Err(error) => {
                    tracing::error!(%error, id = %key.1, "the end of an export was not noted");
                }
            }
            end.send_replace(Some(ended));
        });
        Ok(running.view(&id))
    }

    async fn run(
        &self,
        claimed: ClaimedExport,
        status: Arc<Status>,
        stop: Stop,
        transfer: &watch::Sender<bool>,
    ) -> Ended {
        // An export that is told to stop while it waits runs at once, to its own end.
        let turn = tokio::select! {
            turn = Arc::clone(&self.inner.turns).acquire_owned() => turn.ok(),
            _ = stop.asked() => None,
        };
        transfer.send_replace(true);
        let ended = claimed.run(&self.inner.workers, status, &stop).await;
        drop(turn);
        match (ended.manifest, ended.error) {
            (Some(manifest), _) => Ended {
                outcome: manifest.status,
                error: manifest.error,
                completed_at: manifest.completed_at,
            },
            (None, error) => Ended {
                outcome: Outcome::Failed,
                error: error.map(|error| error.to_string()),
                completed_at: Utc::now(),
            },
        }
    }

    /// How far an export is. `elsewhere` is where to look for one that this server does not know.
    /// Of one that has ended the shards are read only if they are few, or with `all_shards`.
    ///
    /// # Errors
    /// [`LookupError::NotFound`], [`LookupError::Forbidden`], and what reading can bring.
    pub async fn view(
        &self,
        principal: &Principal,
        backend: &str,
        id: &ExportId,
        elsewhere: Option<Destination>,
        all_shards: bool,
    ) -> Result<ExportView, LookupError> {
        // Seen while it is among the running: its end is told by its manifest, with all of it.
        let key = (backend.to_owned(), id.clone());
        let running = self.running().get(&key).map(|running| running.view(id));
        let view = match running {
            Some(view) => view,
            None => match (self.inner.index.get(backend, id).await?, elsewhere) {
                (Some(entry), _) => of_entry(&entry, all_shards).await,
                (None, Some(destination)) => of_store(id, &destination, all_shards).await?,
                (None, None) => return Err(LookupError::NotFound(id.clone())),
            },
        };
        self.may_see(principal, &view)?;
        Ok(view)
    }

    /// Cancels an export and waits until it has ended.
    ///
    /// # Errors
    /// [`LookupError::NotFound`], and [`LookupError::Finished`] when it ended otherwise.
    pub async fn cancel(
        &self,
        principal: &Principal,
        backend: &str,
        id: &ExportId,
    ) -> Result<(), LookupError> {
        let running = self.running().get(&(backend.to_owned(), id.clone())).cloned();
        let Some(mut running) = running else {
            let view = self.view(principal, backend, id, None, false).await?;
            return Err(match view.state {
                ExportState::Ended(outcome) => LookupError::Finished(id.clone(), outcome),
                _ => LookupError::NotFound(id.clone()),
            });
        };
        self.may_see(principal, &running.view(id))?;
        let before = running.ended.borrow().clone();
        if let Some(ended) = before {
            return Err(LookupError::Finished(id.clone(), ended.outcome));
        }
        running.stop.ask(StopReason::Canceled);
        let ended = running.ended.wait_for(Option::is_some).await;
        let outcome = ended.ok().and_then(|ended| ended.as_ref().map(|ended| ended.outcome));
        match outcome {
            Some(Outcome::Canceled) => Ok(()),
            outcome => Err(LookupError::Finished(id.clone(), outcome.unwrap_or(Outcome::Failed))),
        }
    }

    /// Takes no more requests, lets running exports go on for the grace time, then ends them as
    /// FAILED, and waits for their tombstones.
    pub async fn shut_down(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        let grace = self.inner.config.shutdown_grace;
        if tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_err() {
            for running in self.running().values() {
                running.stop.ask(StopReason::ServerStopped);
            }
            self.inner.tasks.wait().await;
        }
    }

    /// Whether requests are taken.
    pub fn is_open(&self) -> bool {
        !self.inner.stopping.is_cancelled()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(String, ExportId), Running>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The classes that the principal may read; decided before anything tells whether a class
    /// exists.
    fn readable(
        &self,
        principal: &Principal,
        directory: &DataDirectory,
        request: &Request,
    ) -> Result<Vec<Class>, StartError> {
        let permitted =
            |names: &[String]| self.inner.authorizer.permitted(principal, Action::Read, names);
        let named: Vec<String> = request.scope.named_classes().into_iter().cloned().collect();
        let allowed = permitted(&named);
        if let Some(class) = named.iter().find(|name| !allowed.contains(name)) {
            return Err(StartError::Forbidden(format!("class {class}")));
        }
        let all = directory.classes();
        let names: Vec<String> = all.iter().map(|class| class.name.to_string()).collect();
        let allowed: HashSet<String> = permitted(&names).into_iter().collect();
        if allowed.is_empty() && !all.is_empty() {
            return Err(StartError::Forbidden("any class".to_owned()));
        }
        Ok(all.iter().filter(|class| allowed.contains(&*class.name)).cloned().collect())
    }

    fn may_see(&self, principal: &Principal, view: &ExportView) -> Result<(), LookupError> {
        let classes: Vec<String> = view.classes.iter().map(|class| class.name.clone()).collect();
        let allowed = self.inner.authorizer.permitted(principal, Action::Read, &classes);
        if allowed.len() == classes.len() { Ok(()) } else { Err(LookupError::Forbidden) }
    }
}

impl Running {
    fn view(&self, id: &ExportId) -> ExportView {
        let ended = self.ended.borrow().clone();
        let state = match &ended {
            Some(ended) => ExportState::Ended(ended.outcome),
            None if *self.transferring.borrow() => ExportState::Transferring,
            None => ExportState::Started,
        };
        ExportView {
            id: id.clone(),
            path: self.path.clone(),
            state,
            started_at: self.started_at,
            completed_at: ended.as_ref().map(|ended| ended.completed_at),
            error: ended.and_then(|ended| ended.error),
            missing: Vec::new(),
            classes: self.status.classes(),
        }
    }
}
