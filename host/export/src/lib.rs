//! The story of one export, from a request to its one outcome. Nothing here knows of HTTP or of the
//! command line. Both callers use these types, in this order:
//!
//! [`authorize`] (what may be read) -> [`Request`] (what is asked for) -> [`Planned`] (store checked,
//! classes chosen) -> [`Claimed`] (the id is taken) -> [`Ended`] (one outcome is committed).
//!
//! Read the files in this order: `scope` (what a request covers), `authorize` (what may be
//! read of it), `request`, `unreadable` (classes that cannot be), `plan` (which classes are exported) with
//! `transforms` (what their rows pass), `estimate` (what it would read and write) and `lease`, `claim` (the id is taken, and the
//! steps from there to the end), `transfer` with `workers`, `work_counts`, `cutter`, `worker` and `transformed_rows` (units become blocks),
//! `file` with `quarantine` (blocks become files, bad objects are set aside, `refused` by transforms too), `outcome` (how the export and its shards ended), `definitions`
//! (`schema.json`), `commit` (the manifest), `journal` with `ended_class` (what is written down meanwhile),
//! `resume` (an interrupted export is carried on), `progress` (events, and what is shown of them). `trial` with `row_json` is the other
//! story: guests are tried on a few rows.
mod authorize;
mod claim;
mod commit;
mod definitions;
mod ended_class;
mod estimate;
mod file;
mod journal;
mod lease;
mod outcome;
mod plan;
mod progress;
mod quarantine;
mod refused;
mod request;
mod resume;
mod row_json;
mod scope;
mod transfer;
mod transforms;
mod trial;
mod unreadable;
mod work_counts;
mod workers;

pub use authorize::{Authorized, Forbidden, authorize, may_act_on_all};
pub use claim::{ClaimError, Claimed};
pub use commit::CommitError;
pub use estimate::{Estimate, EstimatedClass};
pub use file::FileError;
pub use journal::{Change, JOURNAL_FORMAT, JournalError, JournalPlan, JournalStore, PlannedGuest};
pub use lease::Lease;
pub use outcome::{Ended, ExportError};
pub use plan::{PlanError, Planned, PlannedClass};
pub use progress::{ClassView, Event, ShardView, Status, Totals};
pub use quarantine::QuarantineError;
pub use request::{NamedExporter, Request, RequestError};
pub use resume::{Interrupted, Means, ResumeError};
pub use scope::{ClassSelection, Scope, ScopeError};
pub use transfer::TransferError;
pub use transfer::stop::{Stop, StopReason};
pub use transfer::transformed_rows::TransformError;
pub use transfer::worker::WorkerError;
pub use transforms::{StepReach, TransformPlanError, TransformStep, TransformsError};
pub use trial::{MAX_TRIAL_ROWS, Trial, TrialError, Tried, TriedFile};
pub use unreadable::UnreadableClasses;
pub use work_counts::WorkCounts;
pub use workers::{Workers, default_workers};
