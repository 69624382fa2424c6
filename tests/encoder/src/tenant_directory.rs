//! A data directory with very many tenants of one small object each, in logs alone.

use std::path::Path;

use crate::directory::DirectoryWriter;
use crate::error::EncodeError;
use crate::node::Node;
use crate::object::{Object, ObjectOptions};
use crate::wal::WalVersion;

/// Name of the one class.
const CLASS: &str = "Shelf";
/// Id of every log, Unix nanoseconds.
const LOG_ID: u64 = 1_795_000_000_000_000_000;
/// When all objects were written, Unix milliseconds.
const WRITTEN_MS: i64 = 1_795_000_000_000;

/// Writes a multi-tenant class with `tenants` tenants of one small object each to
/// `destination/data`, and its schema to `destination/schema.json`. Nothing of them was ever
/// flushed, as with a server since 1.31 (`wal.md 2`).
///
/// # Errors
/// The directory cannot be written.
pub fn write_tenants(tenants: u64, destination: &Path) -> Result<(), EncodeError> {
    let mut directory = DirectoryWriter::create(&destination.join("data"))?;
    let class = directory.class(CLASS, true)?;
    for tenant in 0..tenants {
        let mut log = class.shard(&format!("tenant_{tenant:06}"))?.wal(LOG_ID)?;
        log.append(&Node::live(&small_object(tenant), &ObjectOptions::default())?, WalVersion::V1)?;
        log.finish()?;
    }
    directory.write_schema(&destination.join("schema.json"))
}

/// The object of a tenant: an id of its own, a short text and a short vector.
fn small_object(tenant: u64) -> Object {
    let mut uuid = [0x40; 16];
    let spread = tenant.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    for (byte, value) in uuid.iter_mut().zip(spread) {
        *byte = value;
    }
    let mut object = Object::new(uuid, CLASS);
    object.created_ms = WRITTEN_MS;
    object.updated_ms = WRITTEN_MS;
    object.vector = (0..16_u8).map(f32::from).collect();
    object.properties = Some(format!(r#"{{"title":"object of tenant {tenant}"}}"#).into_bytes());
    object
}
