//! Stands in for the `zstd` crate inside a guest: compresses by the host's `codec` import.
//!
//! Only what the `parquet` crate uses is here. The frames are those that the real crate would make,
//! a third faster and without C in the guest. Nothing is ever decompressed.
pub mod bulk;
pub mod zstd_safe;
