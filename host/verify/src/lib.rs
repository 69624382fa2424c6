//! Proves that an export is whole, and checks the end of a Parquet file while it is being written.
//!
//! Read in this order: `verification` (all steps of a proof), `consistency` (the manifest against
//! itself), `footer` with `schema` (a file's footer against its blocks), `runs` (the rows of every
//! shard), `column` and `ranged` (one column, read through ranges of an object), `difference` (what
//! a proof can find), `progress`.
mod column;
mod consistency;
mod difference;
mod footer;
mod progress;
mod ranged;
mod runs;
mod schema;
mod verification;

pub use difference::Difference;
pub use footer::{FooterError, check_parquet_footer};
pub use progress::{OnProgress, Progress};
pub use verification::{Depth, Report, VerifyError, verify};
