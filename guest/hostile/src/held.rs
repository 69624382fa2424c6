//! Misbehaviour with buffers that the host holds, and the honest use that it is compared with.
use crate::bindings::offloom::export::codec::{Algorithm, pack};
use crate::bindings::offloom::export::held::{Buffer, Range};
use crate::bindings::offloom::export::sink::Output;
use crate::bindings::offloom::export::source::Cursor;
use crate::bindings::offloom::export::types::{Error, RowBatch, Values};
use crate::{MIB, dump};

/// Does what `behaviour` says with a buffer of a MiB, if it says anything about buffers.
pub fn misbehave(behaviour: &str, rows: &Cursor, block: &Output) -> Result<(), Error> {
    if !["held-", "splice-", "read-beyond", "pack-"].iter().any(|kind| behaviour.starts_with(kind))
    {
        return Ok(());
    }
    let buffer = random_buffer(MIB)?;
    let whole = buffer.length();
    match behaviour {
        "held-hoard" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(random_buffer(16 * MIB)?);
            }
        }
        "held-many" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(pack(Algorithm::Zstd, 1, b"x", &[])?);
            }
        }
        "splice-flood" => loop {
            block.splice(&Range { buffer: &buffer, offset: 0, length: whole })?;
        },
        "splice-single-bytes" => {
            for _ in 0..3_000_000 {
                block.splice(&Range { buffer: &buffer, offset: 7, length: 1 })?;
            }
        }
        "splice-nothing-flood" => loop {
            block.splice(&Range { buffer: &buffer, offset: whole, length: 0 })?;
        },
        "splice-beyond" => block.splice(&Range { buffer: &buffer, offset: 1, length: whole })?,
        "splice-overflow" => {
            block.splice(&Range { buffer: &buffer, offset: u64::MAX, length: 2 })?;
        }
        "read-beyond" => {
            buffer.read(whole, 1);
        }
        "pack-beyond" => {
            let beyond = Range { buffer: &buffer, offset: 0, length: u64::MAX };
            pack(Algorithm::Zstd, 1, &[], &[beyond])?;
        }
        "pack-huge" => {
            let part = || Range { buffer: &buffer, offset: 0, length: whole };
            let ranges: Vec<Range<'_>> = (0..40).map(|_| part()).collect();
            pack(Algorithm::Zstd, 1, &[], &ranges)?;
        }
        "pack-flood" => loop {
            pack(Algorithm::Zstd, 9, &[0; 64 * 1024], &[])?;
        },
        "pack-brotli" => {
            pack(Algorithm::Brotli, 10, b"ids", &[])?;
        }
        // SAFETY of the next three: there is none. A handle that is forged, dropped before or of another
        // kind is what the host must not fall for.
        "held-forged" => {
            let forged = unsafe { Buffer::from_handle(4711) };
            block.splice(&Range { buffer: &forged, offset: 0, length: 1 })?;
        }
        "held-dropped" => {
            let handle = buffer.handle();
            drop(buffer);
            let dropped = unsafe { Buffer::from_handle(handle) };
            dropped.read(0, 1);
        }
        "held-foreign" => {
            let foreign = unsafe { Buffer::from_handle(rows.handle()) };
            block.splice(&Range { buffer: &foreign, offset: 0, length: 1 })?;
        }
        _ => return Err(Error::Unsupported(format!("no behaviour `{behaviour}`"))),
    }
    Ok(())
}

/// Bytes that do not shrink, made of a few that are handed over.
fn random_buffer(bytes: usize) -> Result<Buffer, Error> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = Vec::with_capacity(bytes);
    while random.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        random.extend_from_slice(&state.to_le_bytes());
    }
    pack(Algorithm::Zstd, 1, &random, &[])
}

/// Writes what the behaviour `dump` writes of the rows, from batches of which every column is held that
/// can be. Returns how many rows there were.
pub fn dump_held(rows: &Cursor, block: &Output) -> Result<u64, Error> {
    let hold: Vec<u32> = (0..100).rev().collect();
    let mut read = 0;
    while let Some(batch) = rows.next_held(u32::MAX, 1 << 16, &hold)? {
        let mut whole: RowBatch = batch.rows;
        for held in batch.held {
            let length = held.bytes.length();
            // In two pieces, one of them without bytes where there is one byte.
            let mut bytes = held.bytes.read(0, length / 2);
            bytes.extend(held.bytes.read(length / 2, length - length / 2));
            let values =
                whole.columns.get_mut(held.column as usize).map(|column| &mut column.values);
            let empty = match values {
                Some(Values::VariableWidth(values) | Values::Vector(values)) => &mut values.bytes,
                Some(Values::NamedVectors(map)) => &mut map.components,
                Some(Values::NamedMultiVectors(map)) => &mut map.components,
                _ => return Err(Error::Other("a column was held that cannot be".to_owned())),
            };
            if !empty.is_empty() {
                return Err(Error::Other("a held column came with bytes".to_owned()));
            }
            *empty = bytes;
        }
        read += u64::from(whole.row_count);
        block.write(format!("{:?}\n", rows.schema()).as_bytes())?;
        block.write(&dump::rows(&whole))?;
    }
    Ok(read)
}
