//! The format of an entry of the RAFT log: MessagePack as hashicorp's library writes it
//! (`data-directory.md` 5.1).
use prost::Message;
use rmp::{
    Marker,
    decode::{RmpRead, read_map_len, read_marker},
};

use crate::raft::command::ApplyRequest;

/// The type of an entry that has a command.
const COMMAND: u64 = 0;

/// The fields of an entry that are read.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub index: u64,
    /// `None` for RAFT's own types of entries: 1 noop, 4 barrier, 5 configuration.
    pub command: Option<ApplyRequest>,
}

/// A value in the map of an entry, which is flat.
#[derive(Debug)]
enum Scalar<'a> {
    Integer(u64),
    /// Bytes or text: in the old "raw" family they share a type.
    Bytes(&'a [u8]),
    Nil,
}

/// The index in a key of the log's bucket: u64, big-endian.
pub(super) fn index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

impl LogEntry {
    /// Reads the value of an entry.
    ///
    /// # Errors
    /// What is wrong with the entry.
    pub fn parse(mut value: &[u8]) -> Result<LogEntry, String> {
        let (mut index, mut kind, mut data) = (None, None, None);
        let fields =
            read_map_len(&mut value).map_err(|error| format!("it is not a map: {error}"))?;
        for _ in 0..fields {
            let name = scalar(&mut value).ok_or("it is truncated, or not a flat map")?;
            let field = scalar(&mut value).ok_or("it is truncated, or not a flat map")?;
            match (name, field) {
                (Scalar::Bytes(b"Index"), Scalar::Integer(stated)) => index = Some(stated),
                (Scalar::Bytes(b"Type"), Scalar::Integer(stated)) => kind = Some(stated),
                (Scalar::Bytes(b"Data"), Scalar::Bytes(stated)) => data = Some(stated),
                _ => {}
            }
        }
        let index = index.ok_or("it has no Index")?;
        if kind.ok_or("it has no Type")? != COMMAND {
            return Ok(LogEntry { index, command: None });
        }
        match ApplyRequest::decode(data.ok_or("it has no Data")?) {
            Ok(command) => Ok(LogEntry { index, command: Some(command) }),
            Err(error) => Err(format!("its Data is not a command: {error}")),
        }
    }
}

/// Takes the next value from `rest`; `None` if it is truncated or of a type that no entry has.
fn scalar<'a>(rest: &mut &'a [u8]) -> Option<Scalar<'a>> {
    let length = match read_marker(rest).ok()? {
        Marker::Null => return Some(Scalar::Nil),
        Marker::FixPos(value) => return Some(Scalar::Integer(value.into())),
        Marker::U8 => return Some(Scalar::Integer(rest.read_data_u8().ok()?.into())),
        Marker::U16 => return Some(Scalar::Integer(rest.read_data_u16().ok()?.into())),
        Marker::U32 => return Some(Scalar::Integer(rest.read_data_u32().ok()?.into())),
        Marker::U64 => return Some(Scalar::Integer(rest.read_data_u64().ok()?)),
        Marker::FixStr(length) => length.into(),
        Marker::Str8 | Marker::Bin8 => rest.read_data_u8().ok()?.into(),
        Marker::Str16 | Marker::Bin16 => rest.read_data_u16().ok()?.into(),
        Marker::Str32 | Marker::Bin32 => rest.read_data_u32().ok()?,
        // Times in the newer format, which is an option of the library: a type byte and the time.
        Marker::FixExt4 => 5,
        Marker::FixExt8 => 9,
        Marker::Ext8 => u32::from(rest.read_data_u8().ok()?).saturating_add(1),
        _ => return None,
    };
    let (bytes, remainder) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = remainder;
    Some(Scalar::Bytes(bytes))
}
