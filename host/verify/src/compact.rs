//! Thrift's compact protocol, read with bounds: from a slice, without recursion beyond a depth, and
//! without memory for what it says that it has.

/// Structs and lists in values that are skipped.
const MAX_DEPTH: usize = 32;

/// Wire types of the compact protocol.
pub(crate) mod wire {
    pub(crate) const TRUE: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const BYTE: u8 = 3;
    pub(crate) const I16: u8 = 4;
    pub(crate) const I32: u8 = 5;
    pub(crate) const I64: u8 = 6;
    pub(crate) const DOUBLE: u8 = 7;
    pub(crate) const BINARY: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const SET: u8 = 10;
    pub(crate) const STRUCT: u8 = 12;
}

/// Bytes that are not of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CompactError {
    #[error("it ends early")]
    End,
    #[error("it is more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("it has the wire type {found} in field {field}")]
    WireType { field: i64, found: u8 },
}

/// A reader of Thrift's compact protocol.
#[derive(Clone)]
pub(crate) struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { rest: bytes }
    }

    /// Bytes that follow.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Result<u8, CompactError> {
        let (&byte, rest) = self.rest.split_first().ok_or(CompactError::End)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<&'a [u8], CompactError> {
        let length = usize::try_from(length).map_err(|_| CompactError::End)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CompactError::End)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Seven bits a byte, lowest first.
    pub(crate) fn varint(&mut self) -> Result<u64, CompactError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CompactError::End)
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, CompactError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    /// Id and wire type of the next field of a struct, or `None` at its end.
    pub(crate) fn field(&mut self, last_id: i64) -> Result<Option<(i64, u8)>, CompactError> {
        let header = self.byte()?;
        match (header >> 4, header & 0x0F) {
            (_, 0) => Ok(None),
            (0, wire_type) => Ok(Some((self.zigzag()?, wire_type))),
            (delta, wire_type) => Ok(Some((last_id.saturating_add(i64::from(delta)), wire_type))),
        }
    }

    /// Wire type and number of the elements of a list.
    pub(crate) fn list(&mut self) -> Result<(u8, u64), CompactError> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Ok((header & 0x0F, count))
    }

    /// Skips a value.
    pub(crate) fn skip(&mut self, wire_type: u8) -> Result<(), CompactError> {
        self.skip_within(wire_type, MAX_DEPTH)
    }

    fn skip_within(&mut self, wire_type: u8, depth: usize) -> Result<(), CompactError> {
        let depth = depth.checked_sub(1).ok_or(CompactError::TooDeep)?;
        match wire_type {
            wire::TRUE | wire::FALSE => {}
            wire::BYTE => drop(self.byte()?),
            wire::I16 | wire::I32 | wire::I64 => drop(self.varint()?),
            wire::DOUBLE => drop(self.bytes(8)?),
            wire::BINARY => {
                let length = self.varint()?;
                self.bytes(length)?;
            }
            wire::LIST | wire::SET => {
                let (element_type, count) = self.list()?;
                // A boolean takes a byte in a list and none in a field. The `parquet` crate (60.1)
                // skips none, so that it would read on at another place, for any number of them.
                if count > 0 && matches!(element_type, wire::TRUE | wire::FALSE) {
                    return Err(CompactError::WireType { field: 0, found: element_type });
                }
                for _ in 0..count {
                    self.skip_within(element_type, depth)?;
                }
            }
            wire::STRUCT => {
                while let Some((_, wire_type)) = self.field(0)? {
                    self.skip_within(wire_type, depth)?;
                }
            }
            found => return Err(CompactError::WireType { field: 0, found }),
        }
        Ok(())
    }
}
