//! One instance of a guest, and how its calls end.
use std::sync::{Arc, Mutex};

use wasmtime::{CallHook, Engine, Store, UpdateDeadline};

use crate::clock::{CpuClock, ExportUse};
use crate::error::{Breach, GuestError, explain};
use crate::limits::SandboxLimits;
use crate::log::{GuestLog, LogBudget};
use crate::state::State;
use crate::v0_1::bindings::offloom::export::types::Error;
use crate::v0_1::bindings::transform::{TransformGuest, TransformGuestPre};
use crate::v0_1::bindings::{ExporterGuest, ExporterGuestPre};
use crate::v0_1::convert;

/// One instance of a guest of the world that `B` are the bindings of, with everything that it holds.
pub(crate) struct Instance<B> {
    pub(crate) store: Store<State>,
    pub(crate) clock: CpuClock,
    pub(crate) bindings: B,
    pub(crate) limits: Arc<SandboxLimits>,
    pub(crate) spent: Arc<ExportUse>,
}

/// What the instances of a guest in one export share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) limits: Arc<SandboxLimits>,
    pub(crate) spent: Arc<ExportUse>,
    log_budget: Arc<Mutex<LogBudget>>,
}

impl Shared {
    /// Of a new export.
    pub(crate) fn new(limits: &Arc<SandboxLimits>) -> Shared {
        let (limits, spent) = (Arc::clone(limits), Arc::default());
        Shared { log_budget: LogBudget::new(&limits), limits, spent }
    }
}

/// A component whose imports are linked.
pub(crate) trait Linked: Sync {
    /// The bindings of its world.
    type Bindings;

    fn engine(&self) -> &Engine;

    fn instantiate(
        &self,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Self::Bindings>> + Send;
}

impl Linked for ExporterGuestPre<State> {
    type Bindings = ExporterGuest;

    fn engine(&self) -> &Engine {
        ExporterGuestPre::engine(self)
    }

    async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<ExporterGuest> {
        self.instantiate_async(store).await
    }
}

impl Linked for TransformGuestPre<State> {
    type Bindings = TransformGuest;

    fn engine(&self) -> &Engine {
        TransformGuestPre::engine(self)
    }

    async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<TransformGuest> {
        self.instantiate_async(store).await
    }
}

impl<B> Instance<B> {
    /// Every limit is in force before the guest's first instruction.
    pub(crate) async fn new(
        linked: &impl Linked<Bindings = B>,
        shared: &Shared,
    ) -> Result<Instance<B>, GuestError> {
        let Shared { limits, spent, log_budget } = shared;
        let log = GuestLog::new(Arc::clone(log_budget), limits);
        let state = State::new(limits, log, Arc::clone(spent));
        let mut store = Store::new(linked.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        // Stops the guest at its limit of time, and otherwise lets other tasks run.
        store.epoch_deadline_callback(|store| {
            store.data().clock.tick()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store.call_hook(|store, hook| match hook {
            CallHook::CallingHost => Ok(store.data().clock.host_call()?),
            _ => Ok(()),
        });
        let clock = store.data().clock.clone();
        let answer = within(limits, &clock, linked.instantiate(&mut store)).await;
        let bindings = answer.map_err(|stopped| stopped.explain(&store.data().log, limits))?;
        let (limits, spent) = (Arc::clone(limits), Arc::clone(spent));
        Ok(Instance { store, clock, bindings, limits, spent })
    }
}

/// Why a call did not return. Only the functions below make one, so that no call is left uncounted.
pub(crate) struct Stopped(Reason);

enum Reason {
    Wall,
    Error(wasmtime::Error),
}

impl Stopped {
    pub(crate) fn explain(self, log: &GuestLog, limits: &SandboxLimits) -> GuestError {
        match self.0 {
            Reason::Wall => Breach::Wall(limits.wall_per_call).into(),
            Reason::Error(error) => explain(error, log, limits),
        }
    }
}

/// Waits for a call, at most [`SandboxLimits::wall_per_call`], and counts its processor time.
pub(crate) async fn within<T>(
    limits: &SandboxLimits,
    clock: &CpuClock,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stopped> {
    match tokio::time::timeout(limits.wall_per_call, counted(clock, call)).await {
        Ok(answer) => answer,
        Err(_) => Err(Stopped(Reason::Wall)),
    }
}

/// Waits for a call, however long it takes, and counts its processor time.
pub(crate) async fn counted<T>(
    clock: &CpuClock,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stopped> {
    clock.count(call).await.map_err(|error| Stopped(Reason::Error(error)))
}

/// Maps a trap, a limit and the guest's own error to one error type.
pub(crate) fn settle<T>(
    log: &GuestLog,
    limits: &SandboxLimits,
    answer: Result<Result<T, Error>, Stopped>,
) -> Result<T, GuestError> {
    answer.map_err(|stopped| stopped.explain(log, limits))?.map_err(convert::error)
}
