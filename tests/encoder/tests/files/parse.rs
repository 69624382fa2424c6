//! Takes real files apart, for the tests only: it trusts them and panics where it should not.

use std::collections::BTreeMap;

use offloom_encoder::{Generation, Node, Object, ObjectOptions, SegmentOptions, TreeOrder};

/// A cursor over bytes that are known to be there.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take(2).try_into().unwrap())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    /// A `u32` length and as many bytes.
    pub fn blob(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        self.take(length)
    }

    fn vector(&mut self) -> Vec<f32> {
        let dimensions = usize::from(self.u16());
        let floats = self.take(4 * dimensions).chunks(4);
        floats.map(|float| f32::from_le_bytes(float.try_into().unwrap())).collect()
    }

    fn uuid(&mut self) -> [u8; 16] {
        self.take(16).try_into().unwrap()
    }

    /// A node with `secondary_keys` slots, or with all that the bytes hold.
    pub fn node(&mut self, secondary_keys: Option<u16>) -> Node {
        let tombstone = self.u8();
        let value_bytes = self.u64() as usize;
        let value = self.take(value_bytes).to_vec();
        let key = self.blob().to_vec();
        let mut secondary = Vec::new();
        while secondary_keys.map_or(!self.is_empty(), |slots| secondary.len() < slots.into()) {
            secondary.push(self.blob().to_vec());
        }
        Node { tombstone, value, key, secondary_keys: secondary }
    }
}

/// A segment's header and nodes; the order of its trees is the caller's knowledge.
pub fn segment(file: &[u8], tree_order: TreeOrder) -> (SegmentOptions, Vec<Node>) {
    let mut header = Bytes(&file[..16]);
    let (level, version, secondary_keys) = (header.u16(), header.u16(), header.u16());
    assert_eq!(header.u16(), 0, "strategy");
    let mut data = Bytes(&file[16..header.u64() as usize]);
    let mut nodes = Vec::new();
    while !data.is_empty() {
        nodes.push(data.node(Some(secondary_keys)));
    }
    (SegmentOptions { level, version, secondary_keys, tree_order }, nodes)
}

/// The file with the places of empty secondary keys blanked out. Servers sort a tree's keys with an
/// unstable sort, so which of several empty keys comes first is chance.
pub fn without_ties(file: &[u8]) -> Vec<u8> {
    let mut header = Bytes(&file[..16]);
    let (_level, version, secondary_keys) = (header.u16(), header.u16(), header.u16());
    header.take(2);
    let index_start = header.u64() as usize;
    let end = file.len() - 4 * usize::from(version);
    let mut blanked = file.to_vec();
    let mut trees = Bytes(&file[index_start..]);
    let starts: Vec<usize> = (0..secondary_keys).map(|_| trees.u64() as usize).collect();
    let mut at = starts.first().copied().unwrap_or(end);
    while at < end {
        let key_bytes = Bytes(&file[at..]).u32() as usize;
        if key_bytes == 0 {
            blanked[at + 4..at + 20].fill(0);
        }
        at += 36 + key_bytes;
    }
    blanked
}

/// An object, and how it was written.
pub fn object(value: &[u8]) -> (Object, ObjectOptions) {
    let mut bytes = Bytes(value);
    assert_eq!(bytes.u8(), 1, "marshaller version");
    let doc_id = bytes.u64();
    assert_eq!(bytes.u8(), 1, "kind");
    let uuid = bytes.uuid();
    let (created_ms, updated_ms) = (bytes.u64() as i64, bytes.u64() as i64);
    let vector = bytes.vector();
    let class_bytes = bytes.u16().into();
    let class_name = String::from_utf8(bytes.take(class_bytes).to_vec()).unwrap();
    let mut text = || Some(bytes.blob().to_vec());
    let (properties, meta, vector_weights) = (text(), text(), text());

    let mut options = ObjectOptions::from(Generation::V1_20);
    let (mut named_vectors, mut multi_vectors) = (Vec::new(), Vec::new());
    if !bytes.is_empty() {
        options.generation = Generation::V1_24;
        (named_vectors, options.named_order) = section(&mut bytes, |run| run.vector());
    }
    if !bytes.is_empty() {
        options.generation = Generation::Current;
        (multi_vectors, options.multi_order) = section(&mut bytes, |run| {
            let vectors = run.u32();
            (0..vectors).map(|_| run.vector()).collect()
        });
    }
    assert!(bytes.is_empty(), "trailing bytes");
    let object = Object {
        uuid,
        doc_id,
        created_ms,
        updated_ms,
        vector,
        class_name,
        properties,
        meta,
        vector_weights,
        named_vectors,
        multi_vectors,
    };
    (object, options)
}

/// Named values in the order of their map, and the order in which they lie in the segment.
fn section<V>(
    bytes: &mut Bytes,
    value: impl Fn(&mut Bytes) -> V,
) -> (Vec<(String, V)>, Vec<usize>) {
    let mut map = Bytes(bytes.blob());
    let segment = bytes.blob();
    let (mut values, mut by_offset) = (Vec::new(), BTreeMap::new());
    let entries = if map.is_empty() { 0 } else { map.u8() & 0x0f };
    for index in 0..entries.into() {
        let name_bytes = match map.u8() {
            0xd9 => map.u8().into(),
            short => usize::from(short & 0x1f),
        };
        let name = String::from_utf8(map.take(name_bytes).to_vec()).unwrap();
        assert_eq!(map.u8(), 0xce, "uint32");
        let offset = u32::from_be_bytes(map.take(4).try_into().unwrap());
        by_offset.insert(offset, index);
        values.push((name, value(&mut Bytes(&segment[offset as usize..]))));
    }
    (values, by_offset.into_values().collect())
}
