//! Why the scheduler does not do what it is asked for.
use offloom_export::{ClaimError, Forbidden, RequestError, TrialError};
use offloom_protocol::names::ExportId;
use offloom_protocol::upload_log::LogError;
use offloom_weaviate_disk::DiskError;

use crate::quotas::OverQuota;
use crate::state_database::StateError;

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// As many exports wait as may.
    #[error("{0} exports wait for their turn already: try again later")]
    QueueFull(u32),
    /// The user has too many.
    #[error("too many exports: {0}")]
    OverQuota(OverQuota),
    /// The id was used before.
    #[error("export '{0}' exists: choose another id")]
    IdInUse(ExportId),
    /// The data directory cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The principal may not read what it asks for.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The request was refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The id could not be claimed.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] StateError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] LogError),
    /// A task panicked or its runtime stopped.
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Why guests could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// The data directory cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The principal may not read the class.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The trial failed.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// A task panicked or its runtime stopped.
    #[error("interrupted")]
    Stopped(#[from] tokio::task::JoinError),
}
