//! The format of an entry of the RAFT log: MessagePack as hashicorp's library writes it
//! (`data-directory.md` 5.1).
use crc::{CRC_64_XZ, Crc, Table};
use prost::Message;
use rmp::{
    Marker,
    decode::{RmpRead, read_array_len, read_map_len, read_marker},
};

use crate::{history::Mark, raft::command::ApplyRequest};

/// The types of entries that are read.
const COMMAND: u64 = 0;
const CONFIGURATION: u64 = 5;

static CONTENT: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The fields of an entry that are read.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub index: u64,
    pub mark: Mark,
    pub content: Content,
}

/// What an entry is for.
#[derive(Debug)]
pub(super) enum Content {
    Command(ApplyRequest),
    /// The nodes of the cluster by name.
    Configuration(Vec<String>),
    /// RAFT's own: 1 noop, 4 barrier.
    Other,
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
        let (mut index, mut term, mut kind, mut data) = (None, None, None, None);
        let mut appended_at_s = None;
        let fields =
            read_map_len(&mut value).map_err(|error| format!("it is not a map: {error}"))?;
        for _ in 0..fields {
            let name = scalar(&mut value).ok_or("it is truncated, or not a flat map")?;
            let field = scalar(&mut value).ok_or("it is truncated, or not a flat map")?;
            match (name, field) {
                (Scalar::Bytes(b"Index"), Scalar::Integer(stated)) => index = Some(stated),
                (Scalar::Bytes(b"Term"), Scalar::Integer(stated)) => term = Some(stated),
                (Scalar::Bytes(b"Type"), Scalar::Integer(stated)) => kind = Some(stated),
                (Scalar::Bytes(b"Data"), Scalar::Bytes(stated)) => data = Some(stated),
                (Scalar::Bytes(b"AppendedAt"), Scalar::Bytes(stated)) => {
                    appended_at_s = time_s(stated);
                }
                _ => {}
            }
        }
        let index = index.ok_or("it has no Index")?;
        let kind = kind.ok_or("it has no Type")?;
        let mark = Mark {
            term: term.unwrap_or(0),
            content: (kind != CONFIGURATION).then(|| checksum(kind, data.unwrap_or_default())),
            appended_at_s,
        };
        let content = match kind {
            COMMAND => {
                let command = ApplyRequest::decode(data.ok_or("it has no Data")?);
                Content::Command(
                    command.map_err(|error| format!("its Data is not a command: {error}"))?,
                )
            }
            // Which nodes there are is a hint only.
            CONFIGURATION => {
                servers(data.unwrap_or_default()).map_or(Content::Other, Content::Configuration)
            }
            _ => Content::Other,
        };
        Ok(LogEntry { index, mark, content })
    }
}

fn checksum(kind: u64, data: &[u8]) -> u64 {
    let mut digest = CONTENT.digest();
    digest.update(&kind.to_be_bytes());
    digest.update(data);
    digest.finalize()
}

/// The seconds of a time as Go writes it: a byte for the version, seconds, nanoseconds, and the time
/// zone. `None` for the zero time, which the first entry has, and for any other form.
fn time_s(stated: &[u8]) -> Option<i64> {
    if !matches!(stated.len(), 15 | 16) {
        return None;
    }
    let seconds = i64::from_be_bytes(stated.get(1..9)?.try_into().ok()?);
    Some(seconds).filter(|seconds| *seconds != 0)
}

/// The names in a configuration: a map with the list `Servers`, each a map with `Suffrage`, `ID` and
/// `Address`.
fn servers(mut data: &[u8]) -> Option<Vec<String>> {
    let mut servers = Vec::new();
    for _ in 0..read_map_len(&mut data).ok()? {
        let Scalar::Bytes(b"Servers") = scalar(&mut data)? else {
            scalar(&mut data)?;
            continue;
        };
        for _ in 0..read_array_len(&mut data).ok()? {
            for _ in 0..read_map_len(&mut data).ok()? {
                let (name, field) = (scalar(&mut data)?, scalar(&mut data)?);
                if let (Scalar::Bytes(b"ID"), Scalar::Bytes(id)) = (name, field) {
                    servers.push(String::from_utf8_lossy(id).into_owned());
                }
            }
        }
    }
    Some(servers)
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
