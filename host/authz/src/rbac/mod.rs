//! Weaviate's roles: a policy file, evaluated by casbin with upstream's model.
//!
//! Read in this order: `pattern` (what a rule matches), `lines` (what a file has), `policy` (who may do
//! what), `source` (from which files), `watch` (at which time).
mod lines;
mod pattern;
mod policy;
mod source;
mod watch;

pub use lines::LineError;
pub(crate) use policy::backup_verb;
pub use source::PolicyError;
pub(crate) use source::{PolicySource, READ_ONLY, ROOT};
pub(crate) use watch::Rbac;
