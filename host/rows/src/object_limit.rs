//! How large one object may be that is exported.
use std::fmt;

/// The largest object that is exported, in bytes of the columns of its row: what filters leave out does
/// not count, and named and multi vectors, which exporters write as text, count one and a half times. It
/// bounds memory: a batch holds at least one whole row, and a guest holds it several
/// times. The default is [`ObjectLimit::DEFAULT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectLimit(u64);

/// A limit that no export can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes are out of range: the largest object may have {} to {}",
    ObjectLimit::LEAST,
    ObjectLimit::LARGEST
)]
pub struct OutOfRange {
    /// What was asked for.
    pub bytes: u64,
}

const MIB: u64 = 1024 * 1024;

impl ObjectLimit {
    /// 1 MiB.
    pub const LEAST: ObjectLimit = ObjectLimit(MIB);

    /// 32 MiB.
    pub const DEFAULT: ObjectLimit = ObjectLimit(32 * MIB);

    /// 512 MiB. The columns of Arrow and the pages of Parquet count bytes in 31 bits (2 GiB), and
    /// vectors become text of up to four times their bytes. The memory of a guest, which grows by
    /// eight times the limit, then just ends at the 4 GiB that wasm32 can address.
    pub const LARGEST: ObjectLimit = ObjectLimit(512 * MIB);

    /// A limit of `bytes`.
    ///
    /// # Errors
    /// [`OutOfRange`] below [`ObjectLimit::LEAST`] and above [`ObjectLimit::LARGEST`].
    pub fn new(bytes: u64) -> Result<ObjectLimit, OutOfRange> {
        let limit = ObjectLimit(bytes);
        if (ObjectLimit::LEAST..=ObjectLimit::LARGEST).contains(&limit) {
            Ok(limit)
        } else {
            Err(OutOfRange { bytes })
        }
    }

    /// Bytes of the columns of a row.
    pub const fn row_bytes(self) -> u64 {
        self.0
    }

    /// Bytes of a stored value that is read: twice those of the row, because some fields are not
    /// exported.
    pub const fn value_bytes(self) -> u64 {
        self.0.saturating_mul(2)
    }
}

impl Default for ObjectLimit {
    fn default() -> ObjectLimit {
        ObjectLimit::DEFAULT
    }
}

impl fmt::Display for ObjectLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(MIB) {
            write!(formatter, "{} MiB", self.0 / MIB)
        } else {
            write!(formatter, "{} bytes", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_outside_of_the_range_is_refused_with_the_range() {
        let (least, largest) = (1 << 20, 512 << 20);
        for bytes in [least, 32 << 20, 64_000_000, largest] {
            assert_eq!(ObjectLimit::new(bytes).unwrap().row_bytes(), bytes);
        }
        for bytes in [0, least - 1, largest + 1, u64::MAX] {
            let refused = ObjectLimit::new(bytes).unwrap_err().to_string();
            assert!(refused.contains("1 MiB to 512 MiB"), "{refused}");
        }
        assert_eq!(ObjectLimit::default(), ObjectLimit::new(32 << 20).unwrap());
        assert_eq!(ObjectLimit::new(64_000_000).unwrap().to_string(), "64000000 bytes");
    }
}
