//! The export protocol: what lies under an export's id, who may write it, and what it promises.
//!
//! In the order of one export: an id is checked ([`names`]), its folder is opened ([`store`]) and
//! claimed ([`claim`]), files stream into it ([`upload`]), the manifest commits it ([`manifest`]),
//! and anybody proves it whole ([`verify`]). [`error`] is what a store answers when it cannot.
mod access;
pub mod claim;
pub mod digest;
pub mod error;
pub mod manifest;
pub mod names;
pub mod store;
mod timestamp;
pub mod upload;
