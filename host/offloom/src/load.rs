//! The settings of what an export may cost the machine, its disk and the line to the store.
use std::io;
use std::num::NonZeroU64;

use bytesize::ByteSize;
use clap::Args;
use offloom_export::Workers;
use offloom_protocol::rate::Rate;
use offloom_protocol::store::traffic::{TrafficLimits, traffic};
use serde::{Deserialize, Serialize};

use crate::terminal::errln;

/// How much load exports may cause.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct LoadConfig {
    /// Bytes of objects that are read a second, such as 100MiB, by all exports together [default: no limit]
    #[arg(long, env = "OFFLOOM_MAX_READ_RATE", value_name = "SIZE")]
    pub max_read_rate: Option<ByteSize>,
    /// Bytes of files that are written a second, such as 20MiB, by all exports together [default: no limit]
    #[arg(long, env = "OFFLOOM_MAX_WRITE_RATE", value_name = "SIZE")]
    pub max_write_rate: Option<ByteSize>,
    /// Requests to stores a second, by all exports together [default: no limit]
    #[arg(long, env = "OFFLOOM_MAX_REQUEST_RATE", value_name = "N")]
    pub max_request_rate: Option<NonZeroU64>,
    /// Read and write the disk only when no other program does (ionice -c 3) [default: false]
    #[arg(long, env = "OFFLOOM_IDLE_IO", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub idle_io: Option<bool>,
}

impl LoadConfig {
    /// Lowers the priority of this thread's input and output, and of the threads that it starts from now on.
    pub fn lower_priority(&self) {
        if self.idle_io.unwrap_or_default()
            && let Err(error) = set_idle_io()
        {
            errln!("warning: the disk is used with the usual priority (--idle-io): {error}");
        }
    }

    /// Limits what this process sends to stores. It comes before the first request.
    pub fn limit_traffic(&self) {
        traffic().limit(TrafficLimits {
            bytes: Rate::of_bytes(bytes(self.max_write_rate)),
            requests: Rate::of_times(self.max_request_rate),
        });
    }

    /// The workers, which read no faster than they may.
    pub fn limit_reading(&self, workers: Workers) -> Workers {
        workers.with_read_rate(Rate::of_bytes(bytes(self.max_read_rate)))
    }
}

/// A rate of nothing would wait for ever: it is 1 KiB then, the least.
fn bytes(rate: Option<ByteSize>) -> Option<NonZeroU64> {
    rate.map(|rate| NonZeroU64::new(rate.as_u64()).unwrap_or(NonZeroU64::MIN))
}

/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h: a thread, by its number.
const OF_THREAD: libc::c_int = 1;

/// `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)` of linux/ioprio.h.
const IDLE: libc::c_int = 3 << 13;

#[expect(unsafe_code)]
fn set_idle_io() -> io::Result<()> {
    // SAFETY: ioprio_set takes three integers and touches no memory of this process; 0 is the calling
    // thread.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, OF_THREAD, 0, IDLE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
