//! A data node, the unit of segments and logs (`lsm-segment.md 1.3`).

use std::io::Write;

use crate::error::{EncodeError, length_as};
use crate::object::{Object, ObjectOptions};

/// One entry of a segment or a log: an object, or the record of its deletion.
///
/// The fields are public so that tests can also write nodes that no server would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// 0 for a live object, 1 for a tombstone.
    pub tombstone: u8,
    /// The object's bytes, or what a tombstone carries.
    pub value: Vec<u8>,
    /// The object's id.
    pub key: Vec<u8>,
    /// Secondary keys; a segment fills missing slots with empty keys.
    pub secondary_keys: Vec<Vec<u8>>,
}

impl Node {
    /// A live object with its document id as the one secondary key (`lsm-segment.md 1.4`).
    ///
    /// # Errors
    /// As `Object::encode`.
    pub fn live(object: &Object, options: &ObjectOptions) -> Result<Self, EncodeError> {
        Ok(Self {
            tombstone: 0,
            value: object.encode(options)?,
            key: object.uuid.to_vec(),
            secondary_keys: vec![object.doc_id.to_le_bytes().to_vec()],
        })
    }

    /// A tombstone with the time of the deletion (9 bytes), or without one (empty), and with an
    /// empty secondary key, as servers wrote before 1.35.15.
    pub fn tombstone(uuid: [u8; 16], deleted_ms: Option<i64>) -> Self {
        let value = deleted_ms.map_or_else(Vec::new, |time| {
            let mut value = vec![1];
            value.extend(time.to_le_bytes());
            value
        });
        Self { tombstone: 1, value, key: uuid.to_vec(), secondary_keys: vec![Vec::new()] }
    }

    /// The same node with other secondary keys.
    #[must_use]
    pub fn with_secondary_keys(mut self, secondary_keys: Vec<Vec<u8>>) -> Self {
        self.secondary_keys = secondary_keys;
        self
    }

    /// The node's bytes with exactly the secondary keys that it has, as a log stores them.
    ///
    /// # Errors
    /// A key of 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(64 + self.value.len());
        out.push(self.tombstone);
        out.extend(length_as::<u64>("value", self.value.len(), u64::MAX)?.to_le_bytes());
        out.write_all(&self.value)?;
        for key in std::iter::once(&self.key).chain(&self.secondary_keys) {
            let length: u32 = length_as("key", key.len(), u32::MAX.into())?;
            out.extend(length.to_le_bytes());
            out.extend(key);
        }
        Ok(out)
    }
}
