//! The export protocol: the objects of an export, who may write them, and what they promise.
//!
//! Read in this order, which is that of one export: an id is checked ([`names`], with `attempt`), its folder is opened
//! ([`store`]) and checked (`access`), the id is claimed ([`claim`]), files are written ([`upload`], with `logged_upload` where [`upload_log`] keeps notes),
//! and the manifest commits the export ([`manifest`], with `listed_file` and `source`); a later attempt takes it up
//! ([`take_over`]). [`digest`] digests an object that is already
//! stored; [`gc`] removes what exports leave; [`error`] says why a store failed, and [`named_file`] reads what settings name. Below
//! `store`: `destination` parses, `filesystem` and `bucket` open one (with `s3`, `gcs` and `azure`,
//! which make clients out of `options`, `patience` and `http_client`), `answer` maps their errors,
//! `markers` are no objects of an export, `traffic` counts and limits (by [`rate`]) what is sent. [`cloud`] says what each cloud calls its things.
pub mod access;
mod attempt;
pub mod claim;
pub mod cloud;
pub mod digest;
pub mod error;
pub mod gc;
mod listed_file;
mod logged_upload;
pub mod manifest;
pub mod named_file;
pub mod names;
pub mod rate;
mod source;
pub mod store;
pub mod take_over;
mod timestamp;
pub mod upload;
pub mod upload_log;
