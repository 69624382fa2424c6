//! An independent writer of bbolt files (`data-directory.md` 5.3).
use std::collections::BTreeMap;

/// The pairs and buckets of a bucket.
pub type Tree = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Value(Vec<u8>),
    Bucket(Tree),
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub page_bytes: usize,
    /// Elements of a leaf or branch: few make a deep tree.
    pub elements: usize,
    /// Buckets without buckets in them lie within their leaf up to this many pairs.
    pub inline_pairs: usize,
}

pub const SHAPE: Shape = Shape { page_bytes: 4096, elements: 40, inline_pairs: 3 };

/// A file that holds `tree` as its transaction 7.
pub fn write(tree: &Tree, shape: Shape) -> Vec<u8> {
    let mut pages = Pages { shape, first: 2, bytes: Vec::new() };
    let root = pages.bucket(tree);
    let end = pages.next();
    let mut file = meta(shape, 0, root, end, 6);
    file.extend(meta(shape, 1, root, end, 7));
    file.extend(pages.bytes);
    file
}

/// The pages of `tree` from page `first` on, and the page of its root.
pub fn pages(tree: &Tree, shape: Shape, first: u64) -> (Vec<u8>, u64) {
    let mut pages = Pages { shape, first, bytes: Vec::new() };
    let root = pages.bucket(tree);
    (pages.bytes, root)
}

/// A meta page.
pub fn meta(shape: Shape, id: u64, root: u64, end: u64, transaction: u64) -> Vec<u8> {
    let mut page = header(id, 4, 0, 0);
    let start = page.len();
    page.extend(0xED0C_DAEDu32.to_le_bytes());
    page.extend(2u32.to_le_bytes());
    page.extend(u32::try_from(shape.page_bytes).unwrap().to_le_bytes());
    page.extend(0u32.to_le_bytes());
    for field in [root, 0, u64::MAX, end, transaction] {
        page.extend(field.to_le_bytes());
    }
    let checksum = page[start..].iter().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    page.extend(checksum.to_le_bytes());
    page.resize(shape.page_bytes, 0);
    page
}

fn header(id: u64, flags: u16, count: usize, overflow: usize) -> Vec<u8> {
    let mut page = id.to_le_bytes().to_vec();
    page.extend(flags.to_le_bytes());
    page.extend(u16::try_from(count).unwrap().to_le_bytes());
    page.extend(u32::try_from(overflow).unwrap().to_le_bytes());
    page
}

struct Pages {
    shape: Shape,
    first: u64,
    bytes: Vec<u8>,
}

impl Pages {
    fn next(&self) -> u64 {
        self.first + u64::try_from(self.bytes.len() / self.shape.page_bytes).unwrap()
    }

    fn bucket(&mut self, tree: &Tree) -> u64 {
        let pairs: Vec<(u32, Vec<u8>, Vec<u8>)> = tree
            .iter()
            .map(|(key, node)| match node {
                Node::Value(value) => (0, key.clone(), value.clone()),
                Node::Bucket(tree) => (1, key.clone(), self.nested(tree)),
            })
            .collect();
        let elements = self.shape.elements;
        let mut level: Vec<(Vec<u8>, u64)> = pairs
            .chunks(elements)
            .map(|pairs| (pairs[0].1.clone(), self.add(|id, overflow| leaf(id, overflow, pairs))))
            .collect();
        if level.is_empty() {
            return self.add(|id, overflow| leaf(id, overflow, &[]));
        }
        while level.len() > 1 {
            level = level
                .chunks(elements.max(2))
                .map(|children| {
                    let page = self.add(|id, overflow| branch(id, overflow, children));
                    (children[0].0.clone(), page)
                })
                .collect();
        }
        level[0].1
    }

    /// The value of a nested bucket: root page and sequence, followed by an inline page if any.
    fn nested(&mut self, tree: &Tree) -> Vec<u8> {
        let values: Option<Vec<_>> = tree
            .iter()
            .map(|(key, node)| match node {
                Node::Value(value) => Some((0, key.clone(), value.clone())),
                Node::Bucket(_) => None,
            })
            .collect();
        let inline = values.filter(|values| values.len() <= self.shape.inline_pairs);
        let root = if inline.is_some() { 0 } else { self.bucket(tree) };
        let mut value = root.to_le_bytes().to_vec();
        value.extend(0u64.to_le_bytes());
        value.extend(inline.map(|pairs| leaf(0, 0, &pairs)).unwrap_or_default());
        value
    }

    fn add(&mut self, page: impl Fn(u64, usize) -> Vec<u8>) -> u64 {
        let id = self.next();
        let overflow = page(id, 0).len().div_ceil(self.shape.page_bytes) - 1;
        self.bytes.extend(page(id, overflow));
        self.bytes.resize(self.bytes.len().next_multiple_of(self.shape.page_bytes), 0);
        id
    }
}

fn leaf(id: u64, overflow: usize, pairs: &[(u32, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut page = header(id, 2, pairs.len(), overflow);
    let mut data = Vec::new();
    for (number, (flags, key, value)) in pairs.iter().enumerate() {
        let position = (pairs.len() - number) * 16 + data.len();
        for field in [*flags as usize, position, key.len(), value.len()] {
            page.extend(u32::try_from(field).unwrap().to_le_bytes());
        }
        data.extend_from_slice(key);
        data.extend_from_slice(value);
    }
    page.extend(data);
    page
}

fn branch(id: u64, overflow: usize, children: &[(Vec<u8>, u64)]) -> Vec<u8> {
    let mut page = header(id, 1, children.len(), overflow);
    let mut data = Vec::new();
    for (number, (key, child)) in children.iter().enumerate() {
        let position = (children.len() - number) * 16 + data.len();
        page.extend(u32::try_from(position).unwrap().to_le_bytes());
        page.extend(u32::try_from(key.len()).unwrap().to_le_bytes());
        page.extend(child.to_le_bytes());
        data.extend_from_slice(key);
    }
    page.extend(data);
    page
}
