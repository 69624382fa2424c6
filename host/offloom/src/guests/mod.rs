//! The guests of the server, and the rules for them.
//!
//! Read in this order: `config` (their settings), `policy` (transforms that the operator requires).
pub mod config;
pub mod policy;
