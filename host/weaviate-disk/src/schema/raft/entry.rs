//! One entry of the RAFT log: MessagePack as hashicorp's library writes it (`data-directory.md`
//! 5.1).
use prost::Message;
use rmpv::{ValueRef, decode::read_value_ref_with_max_depth};

use super::command::ApplyRequest;

/// The only type of entry that carries a command.
const COMMAND: u64 = 0;
/// An entry is one flat map.
const MAX_DEPTH: usize = 16;

/// What matters of an entry.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub index: u64,
    /// `None` for an entry of RAFT's own: 1 noop, 4 barrier, 5 configuration.
    pub command: Option<ApplyRequest>,
}

/// The index that a key of the log's bucket is: u64, big-endian.
pub(super) fn index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

impl LogEntry {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(mut value: &[u8]) -> Result<LogEntry, String> {
        let fields = match read_value_ref_with_max_depth(&mut value, MAX_DEPTH) {
            Ok(ValueRef::Map(fields)) => fields,
            Ok(_) => return Err("no MessagePack map".to_owned()),
            Err(error) => return Err(format!("no MessagePack: {error}")),
        };
        let field = |name: &str| {
            let named = |(key, _): &&(ValueRef<'_>, _)| bytes(key) == Some(name.as_bytes());
            fields.iter().find(named).map(|(_, value)| value)
        };
        let number = |name: &str| {
            field(name).and_then(ValueRef::as_u64).ok_or_else(|| format!("no {name} in it"))
        };
        let index = number("Index")?;
        if number("Type")? != COMMAND {
            return Ok(LogEntry { index, command: None });
        }
        let data = field("Data").and_then(bytes).ok_or("no Data in it")?;
        match ApplyRequest::decode(data) {
            Ok(command) => Ok(LogEntry { index, command: Some(command) }),
            Err(error) => Err(format!("its Data are no command: {error}")),
        }
    }
}

/// Bytes share their MessagePack type with text: the old "raw" family.
fn bytes<'v>(value: &'v ValueRef<'_>) -> Option<&'v [u8]> {
    match value {
        ValueRef::String(text) => Some(text.as_bytes()),
        ValueRef::Binary(bytes) => Some(bytes),
        _ => None,
    }
}
