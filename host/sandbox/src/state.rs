//! The state of one instance of a guest: its resources and its memory.
use std::sync::Arc;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::clock::{CpuClock, ExportUse};
use crate::compressor::Compressor;
use crate::error::Breach;
use crate::limits::SandboxLimits;
use crate::log::GuestLog;

/// The data of a wasmtime store.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    pub(crate) clock: CpuClock,
    pub(crate) compressor: Compressor,
    pub(crate) max_compress_bytes: usize,
    /// Bytes of the buffers that the guest has handles of.
    pub(crate) held_bytes: u64,
    pub(crate) max_held_bytes: u64,
    pub(crate) log: GuestLog,
    wasi: WasiCtx,
}

impl State {
    pub(crate) fn new(limits: &SandboxLimits, log: GuestLog, time: Arc<ExportUse>) -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        State {
            table,
            memory: MemoryLimiter { limits: limits.clone(), memory_bytes: 0, table_elements: 0 },
            clock: CpuClock::new(limits, time),
            compressor: Compressor::default(),
            max_compress_bytes: limits.compress_bytes,
            held_bytes: 0,
            max_held_bytes: limits.held_bytes,
            wasi: empty_wasi(&log),
            log,
        }
    }
}

/// A WASI without variables, arguments or input. Output becomes the log. The seed of hash maps is
/// fixed, so that a guest does the same every time.
fn empty_wasi(log: &GuestLog) -> WasiCtx {
    WasiCtxBuilder::new().stdout(log.clone()).stderr(log.clone()).insecure_random_seed(0).build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Limits the sums over all memories and over all tables of a store.
pub(crate) struct MemoryLimiter {
    limits: SandboxLimits,
    memory_bytes: usize,
    table_elements: usize,
}

impl MemoryLimiter {
    /// Bytes of all memories.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // wasmtime would refuse it after it was counted here.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let limit = self.limits.memory_bytes;
        if wanted > limit {
            return Err(Breach::Memory { wanted, limit }.into());
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        let limit = self.limits.table_elements;
        if wanted > limit {
            return Err(Breach::TableElements { wanted, limit }.into());
        }
        self.table_elements = wanted;
        Ok(true)
    }

    /// The system has no memory, or the size is not even one: what was counted for it is unknown here,
    /// so the instance ends.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}
