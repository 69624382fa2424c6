//! The export protocol: the objects of an export, who may write them, and what they promise.
//!
//! Read in this order, which is that of one export: an id is checked ([`names`]), its folder is opened
//! ([`store`]) and checked (`access`), the id is claimed ([`claim`]), files are written ([`upload`]),
//! and the manifest commits the export ([`manifest`]). [`digest`] digests an object that is already
//! stored; [`error`] says why a store failed, and [`named_file`] reads what settings name. Below
//! `store`: `destination` parses, `filesystem` and `bucket` open one (with `s3`, `gcs` and `azure`,
//! which make clients out of `options`, `patience` and `http_client`), `answer` maps their errors,
//! `markers` are no objects of an export. [`cloud`] says what each cloud calls its things.
pub mod access;
pub mod claim;
pub mod cloud;
pub mod digest;
pub mod error;
pub mod manifest;
pub mod named_file;
pub mod names;
pub mod store;
mod timestamp;
pub mod upload;
