//! Decodes stored objects of every version, borrowing from the bytes that were read.
//!
//! The format is described in `object-binary.md`. All integers are little-endian.
use std::ops::Range;

use offloom_rows::ObjectLimit;
use uuid::Uuid;

use crate::error::ObjectFault;

/// The only marshaller version (`object-binary.md` 1).
const MARSHALLER_VERSION: u8 = 1;
/// Length of the fixed header, which ends with the update time (`object-binary.md` 1).
pub(crate) const HEADER_BYTES: usize = 42;

/// The update time of a stored object, Unix milliseconds. `value` is at least its first
/// [`HEADER_BYTES`] bytes.
pub(crate) fn update_time(value: &[u8]) -> Option<i64> {
    let time = value.get(..HEADER_BYTES)?.last_chunk()?;
    Some(i64::from_le_bytes(*time))
}

/// The fields of an object that become a row. Nothing is copied.
#[derive(Debug)]
pub struct Object<'a> {
    /// In the order of the canonical text.
    pub id: [u8; 16],
    /// Unix milliseconds.
    pub creation_time: i64,
    /// Unix milliseconds.
    pub update_time: i64,
    /// Little-endian `f32`; empty for none.
    pub vector: &'a [u8],
    /// UTF-8, unchecked; empty if the server was configured not to write it.
    pub class_name: &'a [u8],
    /// JSON text; `None` if the object has no properties.
    pub properties: Option<&'a [u8]>,
    /// The section that the named vectors of [`VectorEntries`] lie in.
    named_section: &'a [u8],
    /// The section that the multi vectors of [`VectorEntries`] lie in.
    multi_section: &'a [u8],
    /// Number of bytes after the last field, which no version writes.
    pub trailing_bytes: u64,
}

/// What is wrong with a value, and where.
#[derive(Debug)]
pub struct FaultAt {
    /// Offset in the value.
    pub offset: u64,
    /// What is wrong there.
    pub fault: ObjectFault,
}

/// The vectors of an object by name; its memory is reused from object to object.
#[derive(Debug, Default)]
pub struct VectorEntries {
    names: String,
    named: Vec<Entry>,
    multi: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The name, in `VectorEntries::names`.
    name: Range<usize>,
    /// In the section: the components of a vector, or a list of vectors with their prefixes.
    body: Range<usize>,
}

/// The vectors of one multi vector, each as little-endian `f32`.
#[derive(Debug, Clone)]
pub struct VectorList<'a>(&'a [u8]);

impl<'a> Iterator for VectorList<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (vector, rest) = split_vector(self.0)?;
        self.0 = rest;
        Some(vector)
    }
}

/// Splits after a vector: a `u16` number of dimensions, then that many `f32`. Returns the components
/// and the rest.
fn split_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (dimensions, rest) = bytes.split_first_chunk()?;
    // In `usize`: 16 bits would overflow from 16,384 dimensions (`object-binary.md` 3).
    rest.split_at_checked(usize::from(u16::from_le_bytes(*dimensions)).saturating_mul(4))
}

impl VectorEntries {
    /// Named vectors as little-endian `f32`, sorted by name.
    pub fn named<'a>(&'a self, object: &Object<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let section = object.named_section;
        self.named.iter().map(move |entry| {
            let body = section.get(entry.body.clone()).unwrap_or_default();
            (self.name(entry), body)
        })
    }

    /// Multi vectors, sorted by name.
    pub fn multi<'a>(
        &'a self,
        object: &Object<'a>,
    ) -> impl Iterator<Item = (&'a str, VectorList<'a>)> {
        let section = object.multi_section;
        self.multi.iter().map(move |entry| {
            let body = section.get(entry.body.clone()).unwrap_or_default();
            (self.name(entry), VectorList(body))
        })
    }

    /// Drops the vectors for whose names `keeps` is false.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        let VectorEntries { names, named, multi } = self;
        let kept = |entry: &Entry| names.get(entry.name.clone()).is_some_and(&keeps);
        named.retain(kept);
        multi.retain(kept);
    }

    fn name(&self, entry: &Entry) -> &str {
        self.names.get(entry.name.clone()).unwrap_or_default()
    }
}

/// Reads a value field by field.
struct Fields<'a> {
    rest: &'a [u8],
    value_bytes: usize,
}

impl<'a> Fields<'a> {
    fn fault(&self, fault: ObjectFault) -> FaultAt {
        FaultAt { offset: self.value_bytes.saturating_sub(self.rest.len()) as u64, fault }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FaultAt> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.fault(ObjectFault::Truncated { field }));
        };
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], FaultAt> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.fault(ObjectFault::Truncated { field }));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// A `u32` length, then that many bytes.
    fn blob(&mut self, field: &'static str) -> Result<&'a [u8], FaultAt> {
        let length = u32::from_le_bytes(self.array(field)?);
        self.bytes(length as usize, field)
    }
}

/// Decodes the value stored under `key`, and writes the names and places of its vectors to `entries`.
///
/// # Errors
/// When the value violates the format, or belongs to another key; when its vectors alone exceed
/// `limit`.
// Over 60 lines: it names the fields of the format in their order, once.
pub fn decode<'a>(
    value: &'a [u8],
    key: u128,
    limit: ObjectLimit,
    entries: &mut VectorEntries,
) -> Result<Object<'a>, FaultAt> {
    entries.names.clear();
    entries.named.clear();
    entries.multi.clear();
    let mut fields = Fields { rest: value, value_bytes: value.len() };
    if value.is_empty() {
        return Err(fields.fault(ObjectFault::Empty));
    }
    let at_start = Fields { rest: value, value_bytes: value.len() };
    let [version] = fields.array("the version")?;
    if version != MARSHALLER_VERSION {
        return Err(at_start.fault(ObjectFault::Version { version }));
    }
    let _doc_id: [u8; 8] = fields.array("the document id")?;
    let _kind: [u8; 1] = fields.array("the kind")?;
    let at_id = Fields { rest: fields.rest, value_bytes: value.len() };
    let id: [u8; 16] = fields.array("the id")?;
    if u128::from_be_bytes(id) != key {
        return Err(at_id.fault(ObjectFault::Id { id: Uuid::from_bytes(id) }));
    }
    let creation_time = i64::from_le_bytes(fields.array("the creation time")?);
    let update_time = i64::from_le_bytes(fields.array("the update time")?);
    let dimensions = u16::from_le_bytes(fields.array("the dimensions of the vector")?);
    let vector = fields.bytes(usize::from(dimensions).saturating_mul(4), "the vector")?;
    let class_bytes = u16::from_le_bytes(fields.array("the length of the class name")?);
    let class_name = fields.bytes(usize::from(class_bytes), "the class name")?;
    let properties_length = u32::from_le_bytes(fields.array("the length of the properties")?);
    let at_properties = Fields { rest: fields.rest, value_bytes: value.len() };
    let properties = fields.bytes(properties_length as usize, "the properties")?;
    let properties = Some(properties).filter(|text| !text.is_empty() && *text != b"null");
    if let Some(text) = properties
        && let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(text)
    {
        let reason = error.to_string();
        return Err(at_properties.fault(ObjectFault::Properties { reason }));
    }
    fields.blob("the meta field")?;
    fields.blob("the vector weights")?;
    let mut object = Object {
        id,
        creation_time,
        update_time,
        vector,
        class_name,
        properties,
        named_section: &[],
        multi_section: &[],
        trailing_bytes: 0,
    };
    // Objects written before 1.24 end here.
    if fields.rest.is_empty() {
        return Ok(object);
    }
    let VectorEntries { names, named, multi } = entries;
    object.named_section = NAMED.read(&mut fields, limit, names, named)?;
    // Those of 1.24 to 1.27, and of 1.28.5 to 1.28.16, end here.
    if fields.rest.is_empty() {
        return Ok(object);
    }
    let at_multi = Fields { rest: fields.rest, value_bytes: value.len() };
    object.multi_section = match MULTI.read(&mut fields, limit, names, multi) {
        Ok(section) => section,
        Err(_) if is_form_of_1_28_0(at_multi.rest) => {
            return Err(at_multi.fault(ObjectFault::MultiVectorsOf1280));
        }
        Err(error) => return Err(error),
    };
    object.trailing_bytes = fields.rest.len() as u64;
    Ok(object)
}

/// Whether the bytes are multi vectors as 1.28.0 - 1.28.4 wrote them: a number of names, a length,
/// and a MessagePack map of that many names that fills the rest.
fn is_form_of_1_28_0(bytes: &[u8]) -> bool {
    let Some((count, rest)) = bytes.split_first_chunk() else { return false };
    let Some((length, mut map)) = rest.split_first_chunk() else { return false };
    let (count, length) = (u32::from_le_bytes(*count), u32::from_le_bytes(*length));
    count > 0
        && map.len() == length as usize
        && rmp::decode::read_map_len(&mut map).is_ok_and(|names| names == count)
}

/// The format of one of the two sections of vectors by name.
struct Section {
    name: &'static str,
    offsets_field: &'static str,
    segment_field: &'static str,
    /// Finds the range of the entry at an offset, without its prefix.
    body: fn(&[u8], usize) -> Option<Range<usize>>,
}

const NAMED: Section = Section {
    name: "named vectors",
    offsets_field: "the offsets of named vectors",
    segment_field: "the named vectors",
    body: |section, offset| {
        let (vector, _) = split_vector(section.get(offset..)?)?;
        let start = offset.checked_add(2)?;
        Some(start..start.checked_add(vector.len())?)
    },
};

const MULTI: Section = Section {
    name: "multi vectors",
    offsets_field: "the offsets of multi vectors",
    segment_field: "the multi vectors",
    body: |section, offset| {
        let (count, vectors) = section.get(offset..)?.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        if count > vectors.len() / 2 {
            return None;
        }
        let mut rest = vectors;
        for _ in 0..count {
            (_, rest) = split_vector(rest)?;
        }
        let start = offset.checked_add(4)?;
        Some(start..start.checked_add(vectors.len().checked_sub(rest.len())?)?)
    },
};

impl Section {
    /// Reads offsets and vectors, and writes the place of each name's vectors to `entries`.
    fn read<'a>(
        &self,
        fields: &mut Fields<'a>,
        limit: ObjectLimit,
        names: &mut String,
        entries: &mut Vec<Entry>,
    ) -> Result<&'a [u8], FaultAt> {
        let mut at_offsets = Fields { rest: fields.rest, value_bytes: fields.value_bytes };
        let offsets = fields.blob(self.offsets_field)?;
        at_offsets.bytes(4, self.offsets_field)?;
        let mut at_segment = Fields { rest: fields.rest, value_bytes: fields.value_bytes };
        let segment = fields.blob(self.segment_field)?;
        at_segment.bytes(4, self.segment_field)?;
        let mut row_bytes = 0_u64;
        let mut map = Offsets::new(offsets)
            .ok_or_else(|| at_offsets.fault(ObjectFault::Offsets { section: self.name }))?;
        while map.left > 0 {
            let Some((name, offset)) = map.next() else {
                return Err(at_offsets.fault(ObjectFault::Offsets { section: self.name }));
            };
            let body = (self.body)(segment, offset).ok_or_else(|| {
                // The stored offset itself may be outside of the section, and of the file.
                let within = offset.min(segment.len()) as u64;
                let FaultAt { offset, fault } =
                    at_segment.fault(ObjectFault::Truncated { field: self.segment_field });
                FaultAt { offset: offset.saturating_add(within), fault }
            })?;
            // Several names may point at the same bytes, so the row could exceed the value by far.
            let entry_bytes = (body.len() as u64).saturating_add(name.len() as u64);
            row_bytes = row_bytes.saturating_add(entry_bytes);
            if row_bytes > limit.row_bytes() {
                return Err(at_segment.fault(ObjectFault::TooLarge { row_bytes, limit }));
            }
            if entries.len() > usize::from(u16::MAX) {
                return Err(at_offsets.fault(ObjectFault::TooManyNames));
            }
            let name_start = names.len();
            names.push_str(name);
            entries.push(Entry { name: name_start..names.len(), body });
        }
        sort_by_name(entries, names);
        Ok(segment)
    }
}

/// Sorts bytewise by name; of equal names the last one is kept, as in upstream's map.
fn sort_by_name(entries: &mut Vec<Entry>, names: &str) {
    let name = |entry: &Entry| names.get(entry.name.clone()).unwrap_or_default();
    if entries.is_sorted_by(|left, right| name(left) < name(right)) {
        return;
    }
    entries.reverse();
    entries.sort_by(|left, right| name(left).cmp(name(right)));
    entries.dedup_by(|later, kept| name(later) == name(kept));
}

/// A MessagePack map of names to offsets (`object-binary.md` 2).
struct Offsets<'a> {
    rest: &'a [u8],
    /// Number of entries left according to the header. Never used to allocate.
    left: u32,
}

impl<'a> Offsets<'a> {
    /// `None` if the blob is not a map. An empty blob and nil are empty maps.
    fn new(blob: &'a [u8]) -> Option<Offsets<'a>> {
        let mut rest = blob;
        let nil = blob.first() == Some(&rmp::Marker::Null.to_u8());
        let left =
            if blob.is_empty() || nil { 0 } else { rmp::decode::read_map_len(&mut rest).ok()? };
        Some(Offsets { rest, left })
    }

    /// The next entry; `None` if it is malformed.
    fn next(&mut self) -> Option<(&'a str, usize)> {
        let (name, rest) = rmp::decode::read_str_from_slice(self.rest).ok()?;
        self.rest = rest;
        let offset: u32 = rmp::decode::read_int(&mut self.rest).ok()?;
        self.left = self.left.saturating_sub(1);
        Some((name, usize::try_from(offset).ok()?))
    }
}
