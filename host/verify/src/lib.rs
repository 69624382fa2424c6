//! Proves that an export is whole, and checks the end of a Parquet file while it is being written.
//!
//! Read in this order: `verification` (all steps of a proof), `consistency` (the manifest against
//! itself), `footer` with `schema` and `metadata` (a file's footer against its blocks) and `file_columns` (what it names), `runs` (the rows
//! of every shard), `column`, `pages` and `ranged` (one column, its pages, and ranges of an object),
//! `unpacked` (pages that the library would unpack without a bound),
//! `compact` (the encoding of footers and page headers), `difference` (what a proof can find), `unproved`
//! (what it could not check), `progress`.
mod column;
mod compact;
mod consistency;
mod difference;
mod file_columns;
mod footer;
mod metadata;
mod pages;
mod progress;
mod ranged;
mod runs;
mod schema;
mod unpacked;
mod unproved;
mod verification;

pub use difference::Difference;
pub use file_columns::{FileColumn, columns_of_empty_file};
pub use footer::{FooterError, check_parquet_footer};
pub use progress::{OnProgress, Progress};
pub use unproved::Unproved;
pub use verification::{Depth, Report, VerifyError, verify};
