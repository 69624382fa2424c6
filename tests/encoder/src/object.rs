//! The binary form of one object, in every generation that servers have written.

use rmp::Marker;
use rmp::encode::{ValueWriteError, write_str, write_uint};

use crate::error::{EncodeError, length_as};

/// Which fields end an object (`object-binary.md 1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Before 1.24: the object ends after field 16, it has no named or multi vectors.
    V1_20,
    /// 1.24 to 1.27, 1.28.5 to 1.28.16: ends after field 20, it has no multi vectors.
    V1_24,
    /// 1.29 and later: all 24 fields.
    Current,
}

/// How the offsets of the named vectors are written (`object-binary.md 2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegerEncoding {
    /// Always `uint32`, as every server seen does.
    U32,
    /// The shortest encoding that holds the value.
    Shortest,
    /// Always `uint64`.
    U64,
    /// Always `int32`.
    I32,
    /// Always `int64`.
    I64,
}

/// How an object is written.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// Which fields the object has.
    pub generation: Generation,
    /// How vector offsets are written.
    pub integers: IntegerEncoding,
    /// Use the widest MessagePack headers (map32, str32) in place of the shortest.
    pub wide_headers: bool,
    /// In which order the named vectors lie in their segment, as indexes into
    /// `Object::named_vectors`; empty means the order of the map.
    pub named_order: Vec<usize>,
    /// The same for `Object::multi_vectors`.
    pub multi_order: Vec<usize>,
}

impl Default for ObjectOptions {
    /// What a server of today writes.
    fn default() -> Self {
        Self {
            generation: Generation::Current,
            integers: IntegerEncoding::U32,
            wide_headers: false,
            named_order: Vec::new(),
            multi_order: Vec::new(),
        }
    }
}

impl From<Generation> for ObjectOptions {
    fn from(generation: Generation) -> Self {
        Self { generation, ..Self::default() }
    }
}

/// One object, before it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Id, in the byte order of its text form.
    pub uuid: [u8; 16],
    /// Number of the object within its shard.
    pub doc_id: u64,
    /// Creation time, Unix milliseconds.
    pub created_ms: i64,
    /// Time of the last update, Unix milliseconds.
    pub updated_ms: i64,
    /// The unnamed vector; empty when there is none.
    pub vector: Vec<f32>,
    /// Class name; empty if the server is configured to omit it.
    pub class_name: String,
    /// JSON text of the properties; `None` is written as `null`.
    pub properties: Option<Vec<u8>>,
    /// JSON text of the additional information; `None` is written as `null`.
    pub meta: Option<Vec<u8>>,
    /// JSON text of the vector weights; `None` is written as `null`.
    pub vector_weights: Option<Vec<u8>>,
    /// Named vectors in the order of their map.
    pub named_vectors: Vec<(String, Vec<f32>)>,
    /// Named multi vectors in the order of their map.
    pub multi_vectors: Vec<(String, Vec<Vec<f32>>)>,
}

impl Object {
    /// An object with the given id and class, and nothing else.
    pub fn new(uuid: [u8; 16], class_name: &str) -> Self {
        Self {
            uuid,
            doc_id: 0,
            created_ms: 0,
            updated_ms: 0,
            vector: Vec::new(),
            class_name: class_name.to_owned(),
            properties: None,
            meta: None,
            vector_weights: None,
            named_vectors: Vec::new(),
            multi_vectors: Vec::new(),
        }
    }

    /// The value of the object's node, `object-binary.md 1`. Vectors that the generation does not
    /// know are left out, as an old server would never have stored them.
    ///
    /// # Errors
    /// A vector of more than 65,535 dimensions, another length that its field cannot hold, or an
    /// order in `options` that is not a permutation.
    pub fn encode(&self, options: &ObjectOptions) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(128 + self.vector.len() * 4);
        out.push(1); // marshaller version
        out.extend(self.doc_id.to_le_bytes());
        out.push(1); // kind
        out.extend(self.uuid);
        out.extend(self.created_ms.to_le_bytes());
        out.extend(self.updated_ms.to_le_bytes());
        put_vector(&mut out, &self.vector)?;
        let class_bytes: u16 = length_as("class name", self.class_name.len(), u16::MAX.into())?;
        out.extend(class_bytes.to_le_bytes());
        out.extend(self.class_name.as_bytes());
        put_blob(&mut out, "properties", self.properties.as_deref().unwrap_or(b"null"))?;
        put_blob(&mut out, "meta", self.meta.as_deref().unwrap_or(b"null"))?;
        put_blob(&mut out, "vector weights", self.vector_weights.as_deref().unwrap_or(b"null"))?;
        if options.generation == Generation::V1_20 {
            return Ok(out);
        }
        put_section(
            &mut out,
            &self.named_vectors,
            &options.named_order,
            options,
            |run, vector| put_vector(run, vector),
        )?;
        if options.generation == Generation::V1_24 {
            return Ok(out);
        }
        put_section(
            &mut out,
            &self.multi_vectors,
            &options.multi_order,
            options,
            |run, vectors| {
                let count: u32 = length_as("multi vector", vectors.len(), u32::MAX.into())?;
                run.extend(count.to_le_bytes());
                vectors.iter().try_for_each(|vector| put_vector(run, vector))
            },
        )?;
        Ok(out)
    }
}

/// `u16 dimensions`, then the floats.
fn put_vector(out: &mut Vec<u8>, vector: &[f32]) -> Result<(), EncodeError> {
    let dimensions: u16 = length_as("vector", vector.len(), u16::MAX.into())?;
    out.extend(dimensions.to_le_bytes());
    out.extend(vector.iter().flat_map(|float| float.to_le_bytes()));
    Ok(())
}

/// `u32 length`, then the bytes.
fn put_blob(out: &mut Vec<u8>, field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    let length: u32 = length_as(field, bytes.len(), u32::MAX.into())?;
    out.extend(length.to_le_bytes());
    out.extend(bytes);
    Ok(())
}

/// Fields 17 to 20, or 21 to 24: the map of offsets, then the segment with the vectors.
fn put_section<V>(
    out: &mut Vec<u8>,
    vectors: &[(String, V)],
    order: &[usize],
    options: &ObjectOptions,
    put_run: impl Fn(&mut Vec<u8>, &V) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    if vectors.is_empty() {
        out.extend([0; 8]);
        return Ok(());
    }
    let in_map_order: Vec<usize> = (0..vectors.len()).collect();
    let order = if order.is_empty() { &in_map_order } else { order };
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if sorted != in_map_order {
        return Err(EncodeError::VectorOrder { order: order.to_vec(), vectors: vectors.len() });
    }

    let mut segment = Vec::new();
    let mut offsets = vec![0_u32; vectors.len()];
    for &index in order {
        let (Some((_, vector)), Some(offset)) = (vectors.get(index), offsets.get_mut(index)) else {
            continue; // checked above: `order` is a permutation of the indexes
        };
        *offset = length_as("vector segment", segment.len(), u32::MAX.into())?;
        put_run(&mut segment, vector)?;
    }

    let mut map = Vec::new();
    put_map_header(&mut map, vectors.len(), options)?;
    for ((name, _), offset) in vectors.iter().zip(offsets) {
        put_name(&mut map, name, options)?;
        put_integer(&mut map, offset, options.integers);
    }
    put_blob(out, "vector offsets", &map)?;
    put_blob(out, "vector segment", &segment)
}

fn put_map_header(
    map: &mut Vec<u8>,
    entries: usize,
    options: &ObjectOptions,
) -> Result<(), EncodeError> {
    let entries: u32 = length_as("vector map", entries, u32::MAX.into())?;
    if options.wide_headers {
        map.push(Marker::Map32.to_u8());
        map.extend(entries.to_be_bytes());
    } else {
        rmp::encode::write_map_len(map, entries).map_err(to_io)?;
    }
    Ok(())
}

fn put_name(map: &mut Vec<u8>, name: &str, options: &ObjectOptions) -> Result<(), EncodeError> {
    if options.wide_headers {
        let length: u32 = length_as("vector name", name.len(), u32::MAX.into())?;
        map.push(Marker::Str32.to_u8());
        map.extend(length.to_be_bytes());
        map.extend(name.as_bytes());
    } else {
        write_str(map, name).map_err(to_io)?;
    }
    Ok(())
}

fn put_integer(map: &mut Vec<u8>, value: u32, integers: IntegerEncoding) {
    match (integers, i32::try_from(value)) {
        (IntegerEncoding::Shortest, _) => {
            // Writing to a vector does not fail.
            let _ = write_uint(map, value.into());
        }
        (IntegerEncoding::U64, _) => {
            map.push(Marker::U64.to_u8());
            map.extend(u64::from(value).to_be_bytes());
        }
        (IntegerEncoding::I32, Ok(signed)) => {
            map.push(Marker::I32.to_u8());
            map.extend(signed.to_be_bytes());
        }
        (IntegerEncoding::I64, _) => {
            map.push(Marker::I64.to_u8());
            map.extend(i64::from(value).to_be_bytes());
        }
        // An int32 that does not hold the value falls back to what servers write.
        (IntegerEncoding::U32 | IntegerEncoding::I32, _) => {
            map.push(Marker::U32.to_u8());
            map.extend(value.to_be_bytes());
        }
    }
}

fn to_io(error: ValueWriteError) -> EncodeError {
    EncodeError::Io(error.into())
}
