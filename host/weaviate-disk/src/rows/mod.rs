//! The rows of a unit: merged, decoded, filtered, in flat columns.
//!
//! Reading order, each file using only those before it: `filter`, `faults`, `columns`, `cursor`.
mod columns;
pub(crate) mod cursor;
pub(crate) mod faults;
pub(crate) mod filter;
