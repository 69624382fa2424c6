//! The guests of the server, and the rules for them.
//!
//! Read in this order: `config` (their settings), `policy` (transforms that the operator requires),
//! `ordered` (the guests of a request), `details` (what a guest says of itself), `catalog` (which guests there are), `store` (those that were pushed, on disk), `signature`, `name`.
pub mod catalog;
pub mod config;
pub mod details;
pub mod name;
pub mod ordered;
pub mod policy;
pub mod signature;
pub mod store;

pub use catalog::{Guests, GuestsError, Pushed, Resolved};
