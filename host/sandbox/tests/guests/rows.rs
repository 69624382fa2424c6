//! Rows made in memory, one object at a time, for the guests to encode.
use std::collections::BTreeMap;

use offloom_rows::{
    Batch, BatchLimits, Column, Cursor, CursorError, MultiVectorMap, RowBatch, Schema, ShardRun,
    Values, VariableWidth, VectorMap,
};

/// One object of a class.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub id: u128,
    pub tenant: String,
    pub creation_time: i64,
    pub update_time: i64,
    pub vector: Option<Vec<f32>>,
    pub named: BTreeMap<String, Vec<f32>>,
    pub multi: BTreeMap<String, Vec<Vec<f32>>>,
    pub properties: Option<Vec<u8>>,
}

impl Object {
    pub fn new(id: u128) -> Object {
        Object {
            id,
            creation_time: 1_700_000_000_000,
            update_time: 1_700_000_000_001,
            ..Object::default()
        }
    }

    fn bytes(&self) -> usize {
        let named: usize = self.named.values().map(|vector| vector.len() * 4).sum();
        let multi: usize = self.multi.values().flatten().map(|vector| vector.len() * 4).sum();
        32 + self.tenant.len()
            + self.vector.as_ref().map_or(0, |vector| vector.len() * 4)
            + named
            + multi
            + self.properties.as_ref().map_or(0, Vec::len)
    }
}

/// Hands out objects as one shard would.
pub struct ObjectCursor {
    schema: Schema,
    objects: std::vec::IntoIter<Object>,
    next: Option<Object>,
    /// The error that comes instead of the end.
    error: Option<CursorError>,
}

impl ObjectCursor {
    pub fn boxed(schema: &Schema, objects: Vec<Object>) -> Box<dyn Cursor> {
        Box::new(ObjectCursor::new(schema, objects, None))
    }

    pub fn new(schema: &Schema, objects: Vec<Object>, error: Option<CursorError>) -> ObjectCursor {
        let mut objects = objects.into_iter();
        let next = objects.next();
        ObjectCursor { schema: schema.clone(), objects, next, error }
    }
}

impl Cursor for ObjectCursor {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch>, CursorError> {
        assert!((1..=10_000).contains(&limits.max_rows), "{limits:?}");
        assert!(limits.max_bytes <= 8 * 1024 * 1024, "{limits:?}");
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(object) = self.next.take() {
            bytes += object.bytes();
            let full = taken.len() as u64 >= u64::from(limits.max_rows)
                || bytes as u64 > u64::from(limits.max_bytes);
            if full && !taken.is_empty() {
                self.next = Some(object);
                break;
            }
            taken.push(object);
            self.next = self.objects.next();
        }
        if taken.is_empty() {
            return self.error.take().map_or(Ok(None), Err);
        }
        Ok(Some(batch(&self.schema, &taken)))
    }
}

fn batch(schema: &Schema, objects: &[Object]) -> Batch {
    let columns = schema.fields.iter().map(|field| column(&field.name, objects)).collect();
    let run = ShardRun {
        shard: 0,
        rows: objects.len() as u64,
        first_id: objects[0].id.to_be_bytes(),
        last_id: objects[objects.len() - 1].id.to_be_bytes(),
    };
    let row_count = objects.len() as u32;
    Batch { rows: RowBatch { row_count, columns }, runs: vec![run] }
}

fn column(name: &str, objects: &[Object]) -> Column {
    let all = |values| Column { validity: None, values };
    match name {
        "id" => all(Values::FixedWidth(objects.iter().flat_map(|o| o.id.to_be_bytes()).collect())),
        "tenant" => {
            all(Values::VariableWidth(variable(objects, 1, |o| o.tenant.as_bytes().to_vec())))
        }
        "creation_time" => all(Values::Int64(objects.iter().map(|o| o.creation_time).collect())),
        "update_time" => all(Values::Int64(objects.iter().map(|o| o.update_time).collect())),
        "vector" => Column {
            validity: Some(bits(objects.iter().map(|o| o.vector.is_some()))),
            values: Values::Vector(variable(objects, 4, |o| {
                floats(o.vector.as_deref().unwrap_or_default())
            })),
        },
        "named_vectors" => Column {
            validity: Some(bits(objects.iter().map(|o| !o.named.is_empty()))),
            values: Values::NamedVectors(named(objects)),
        },
        "multi_vectors" => Column {
            validity: Some(bits(objects.iter().map(|o| !o.multi.is_empty()))),
            values: Values::NamedMultiVectors(multi(objects)),
        },
        "properties" => Column {
            validity: Some(bits(objects.iter().map(|o| o.properties.is_some()))),
            values: Values::VariableWidth(variable(objects, 1, |o| {
                o.properties.clone().unwrap_or_default()
            })),
        },
        other => panic!("no column {other}"),
    }
}

fn bits(flags: impl Iterator<Item = bool>) -> Vec<u8> {
    let flags: Vec<bool> = flags.collect();
    flags
        .chunks(8)
        .map(|eight| {
            eight.iter().enumerate().fold(0, |byte, (bit, flag)| byte | (u8::from(*flag) << bit))
        })
        .collect()
}

fn variable(
    objects: &[Object],
    unit_bytes: u32,
    value: impl Fn(&Object) -> Vec<u8>,
) -> VariableWidth {
    let mut column = VariableWidth { offsets: vec![0], bytes: Vec::new() };
    for object in objects {
        column.bytes.extend(value(object));
        column.offsets.push(column.bytes.len() as u32 / unit_bytes);
    }
    column
}

fn floats(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn named(objects: &[Object]) -> VectorMap {
    let names: Vec<String> = names(objects.iter().flat_map(|o| o.named.keys()));
    let mut map = VectorMap { names, ..VectorMap::default() };
    map.row_offsets.push(0);
    map.vector_offsets.push(0);
    for object in objects {
        for (name, vector) in &object.named {
            map.name_index.push(map.names.iter().position(|known| known == name).unwrap() as u16);
            map.components.extend(floats(vector));
            map.vector_offsets.push(map.components.len() as u32 / 4);
        }
        map.row_offsets.push(map.name_index.len() as u32);
    }
    map
}

fn multi(objects: &[Object]) -> MultiVectorMap {
    let names: Vec<String> = names(objects.iter().flat_map(|o| o.multi.keys()));
    let mut map = MultiVectorMap { names, ..MultiVectorMap::default() };
    map.row_offsets.push(0);
    map.list_offsets.push(0);
    map.vector_offsets.push(0);
    for object in objects {
        for (name, list) in &object.multi {
            map.name_index.push(map.names.iter().position(|known| known == name).unwrap() as u16);
            for vector in list {
                map.components.extend(floats(vector));
                map.vector_offsets.push(map.components.len() as u32 / 4);
            }
            map.list_offsets.push(map.vector_offsets.len() as u32 - 1);
        }
        map.row_offsets.push(map.name_index.len() as u32);
    }
    map
}

/// In the order of their first use, which need not be that of the alphabet.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
