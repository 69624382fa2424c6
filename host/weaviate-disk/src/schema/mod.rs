//! Where the exact names of classes come from.
pub(crate) mod file;
pub(crate) mod objects;
