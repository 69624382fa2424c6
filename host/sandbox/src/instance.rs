//! One instance of a guest, and how its calls end.
use std::sync::Arc;

use wasmtime::Store;

use crate::error::{Breach, GuestError, explain};
use crate::limits::SandboxLimits;
use crate::log::GuestLog;
use crate::state::{CpuClock, State};
use crate::v0_1::bindings::exports::offloom::export::exporter as wit;
use crate::v0_1::bindings::{ExporterGuest as Bindings, ExporterGuestPre};
use crate::v0_1::convert;

/// One instance of a guest, with everything that it holds.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) bindings: Bindings,
    pub(crate) limits: Arc<SandboxLimits>,
}

impl Instance {
    /// Every limit is in force before the guest's first instruction.
    pub(crate) async fn new(
        pre: &ExporterGuestPre<State>,
        limits: &Arc<SandboxLimits>,
        log: GuestLog,
    ) -> Result<Instance, GuestError> {
        let mut store = Store::new(pre.engine(), State::new(limits, log));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_max_component_handles(limits.handles);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(CpuClock::tick);
        let answer = within(limits, pre.instantiate_async(&mut store)).await;
        let bindings = answer.map_err(|stopped| stopped.explain(&store.data().log, limits))?;
        Ok(Instance { store, bindings, limits: limits.clone() })
    }
}

/// Why a call did not return.
pub(crate) enum Stopped {
    Wall,
    Error(wasmtime::Error),
}

impl Stopped {
    pub(crate) fn explain(self, log: &GuestLog, limits: &SandboxLimits) -> GuestError {
        match self {
            Stopped::Wall => Breach::Wall(limits.wall_per_call).into(),
            Stopped::Error(error) => explain(error, log, limits),
        }
    }
}

/// Waits for a call, at most [`SandboxLimits::wall_per_call`].
pub(crate) async fn within<T>(
    limits: &SandboxLimits,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Stopped> {
    match tokio::time::timeout(limits.wall_per_call, call).await {
        Ok(answer) => answer.map_err(Stopped::Error),
        Err(_) => Err(Stopped::Wall),
    }
}

/// Maps a trap, a limit and the guest's own error to one error type.
pub(crate) fn settle<T>(
    log: &GuestLog,
    limits: &SandboxLimits,
    answer: Result<Result<T, wit::Error>, Stopped>,
) -> Result<T, GuestError> {
    answer.map_err(|stopped| stopped.explain(log, limits))?.map_err(convert::error)
}
