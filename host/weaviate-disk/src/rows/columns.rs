//! Builds the flat columns of a batch from decoded objects; each field is copied once.
use std::collections::HashMap;

use offloom_rows::{
    Batch, Column, MultiVectorMap, ObjectLimit, RowBatch, ShardRun, Values, VariableWidth,
    VectorMap,
};

use offloom_weaviate_lsm::{
    ObjectFault,
    object::{Object, VectorEntries},
};

/// Bytes of a row besides its variable values: id, two times, and the offsets and null bits of its
/// columns.
const FIXED_ROW_BYTES: u64 = 64;
/// Bytes of a batch without rows: its offset columns start at 0.
const FIXED_BATCH_BYTES: u64 = 32;
/// Bytes of a named or multi vector besides its name and components.
const ENTRY_BYTES: u64 = 10;

/// A validity bitmap, lowest bit first, and whether it has a null.
#[derive(Debug, Default)]
struct Validity {
    bits: Vec<u8>,
    rows: u32,
    nulls: bool,
}

impl Validity {
    fn push(&mut self, valid: bool) {
        let bit = self.rows % 8;
        if bit == 0 {
            self.bits.push(0);
        }
        if valid && let Some(last) = self.bits.last_mut() {
            *last |= 1 << bit;
        }
        self.nulls |= !valid;
        self.rows = self.rows.saturating_add(1);
    }

    fn finish(self) -> Option<Vec<u8>> {
        self.nulls.then_some(self.bits)
    }
}

/// The names table of a batch.
#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    index: HashMap<String, u16>,
}

impl Names {
    /// How many of `names` are not in the table.
    fn missing<'a>(&self, names: impl Iterator<Item = &'a str>) -> usize {
        names.filter(|name| !self.index.contains_key(*name)).count()
    }

    fn index(&mut self, name: &str) -> u16 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        // `RowBuilder::fits` keeps the table within 65,536 names.
        let index = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        index
    }
}

/// The number of names that a `u16` can index.
const MAX_NAMES: usize = 1 << 16;

/// An offset column's entry. `RowBuilder::fits` keeps batches far below 4 GiB.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn starting_at_zero(capacity: usize) -> Vec<u32> {
    let mut offsets = Vec::with_capacity(capacity);
    offsets.push(0);
    offsets
}

/// Sizes of the buffers of a finished batch: the next one starts with them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capacity {
    rows: usize,
    vector_bytes: usize,
    named_bytes: usize,
    multi_bytes: usize,
    properties_bytes: usize,
}

impl Capacity {
    /// Limits the sizes, which a single large row may have inflated.
    pub fn at_most(self, max_bytes: u32) -> Capacity {
        let most = max_bytes as usize;
        Capacity {
            rows: self.rows,
            vector_bytes: self.vector_bytes.min(most),
            named_bytes: self.named_bytes.min(most),
            multi_bytes: self.multi_bytes.min(most),
            properties_bytes: self.properties_bytes.min(most),
        }
    }
}

/// A batch that is being filled.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    row_count: u32,
    bytes: u64,
    runs: Vec<ShardRun>,
    ids: Vec<u8>,
    /// Multi-tenant classes only.
    tenants: Option<VariableWidth>,
    creation_times: Vec<i64>,
    update_times: Vec<i64>,
    vectors: VariableWidth,
    vectors_valid: Validity,
    named: VectorMap,
    named_names: Names,
    named_valid: Validity,
    multi: MultiVectorMap,
    multi_names: Names,
    multi_valid: Validity,
    properties: VariableWidth,
    properties_valid: Validity,
}

/// The shard of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Its name.
    pub shard: &'a str,
    /// Its index in the class's shards.
    pub shard_index: u32,
}

impl RowBuilder {
    pub fn new(multi_tenant: bool, capacity: Capacity) -> RowBuilder {
        let offsets = || starting_at_zero(capacity.rows.saturating_add(1));
        let variable =
            |bytes| VariableWidth { offsets: offsets(), bytes: Vec::with_capacity(bytes) };
        RowBuilder {
            row_count: 0,
            bytes: FIXED_BATCH_BYTES,
            runs: Vec::new(),
            ids: Vec::with_capacity(capacity.rows.saturating_mul(16)),
            tenants: multi_tenant.then(|| variable(0)),
            creation_times: Vec::with_capacity(capacity.rows),
            update_times: Vec::with_capacity(capacity.rows),
            vectors: variable(capacity.vector_bytes),
            vectors_valid: Validity::default(),
            named: VectorMap {
                row_offsets: offsets(),
                vector_offsets: starting_at_zero(1),
                components: Vec::with_capacity(capacity.named_bytes),
                ..VectorMap::default()
            },
            named_names: Names::default(),
            named_valid: Validity::default(),
            multi: MultiVectorMap {
                row_offsets: offsets(),
                list_offsets: starting_at_zero(1),
                vector_offsets: starting_at_zero(1),
                components: Vec::with_capacity(capacity.multi_bytes),
                ..MultiVectorMap::default()
            },
            multi_names: Names::default(),
            multi_valid: Validity::default(),
            properties: variable(capacity.properties_bytes),
            properties_valid: Validity::default(),
        }
    }

    pub fn row_count(&self) -> u32 {
        self.row_count
    }

    /// Bytes of a row in the columns, offsets and names included. Against `limit`, components of named
    /// and multi vectors count one and a half times: exporters write them as text, for which a guest
    /// needs that much more memory than for other columns.
    pub fn row_bytes(
        &self,
        object: &Object<'_>,
        entries: &VectorEntries,
        origin: Origin<'_>,
        limit: ObjectLimit,
    ) -> Result<u64, ObjectFault> {
        let mut bytes = FIXED_ROW_BYTES
            .saturating_add(object.vector.len() as u64)
            .saturating_add(object.properties.map_or(0, <[u8]>::len) as u64);
        if self.tenants.is_some() {
            bytes = bytes.saturating_add(origin.shard.len() as u64).saturating_add(4);
        }
        let mut text_bytes = 0_u64;
        for (name, components) in entries.named(object) {
            text_bytes = text_bytes.saturating_add(components.len() as u64);
            let entry = (name.len() as u64).saturating_add(components.len() as u64);
            bytes = bytes.saturating_add(entry).saturating_add(ENTRY_BYTES);
        }
        for (name, list) in entries.multi(object) {
            bytes = bytes.saturating_add(name.len() as u64).saturating_add(ENTRY_BYTES);
            for vector in list {
                text_bytes = text_bytes.saturating_add(vector.len() as u64);
                bytes = bytes.saturating_add(vector.len() as u64).saturating_add(4);
            }
        }
        let row_bytes = bytes.saturating_add(text_bytes / 2);
        if row_bytes > limit.row_bytes() {
            return Err(ObjectFault::TooLarge { row_bytes, limit });
        }
        Ok(bytes)
    }

    /// Whether a row of `row_bytes` still fits; the first one always fits.
    pub fn fits(
        &self,
        row_bytes: u64,
        max_bytes: u32,
        object: &Object<'_>,
        entries: &VectorEntries,
    ) -> bool {
        let room =
            |table: &Names, missing: usize| table.names.len().saturating_add(missing) <= MAX_NAMES;
        self.row_count == 0
            || (self.bytes.saturating_add(row_bytes) <= u64::from(max_bytes)
                && room(
                    &self.named_names,
                    self.named_names.missing(entries.named(object).map(|(name, _)| name)),
                )
                && room(
                    &self.multi_names,
                    self.multi_names.missing(entries.multi(object).map(|(name, _)| name)),
                ))
    }

    /// Appends a row of `row_bytes`.
    pub fn push(
        &mut self,
        object: &Object<'_>,
        entries: &VectorEntries,
        origin: Origin<'_>,
        row_bytes: u64,
    ) {
        self.bytes = self.bytes.saturating_add(row_bytes);
        self.row_count = self.row_count.saturating_add(1);
        let row = ShardRun {
            shard: origin.shard_index,
            rows: 1,
            first_id: object.id,
            last_id: object.id,
        };
        ShardRun::append(&mut self.runs, row);
        self.ids.extend_from_slice(&object.id);
        if let Some(tenants) = &mut self.tenants {
            tenants.bytes.extend_from_slice(origin.shard.as_bytes());
            tenants.offsets.push(offset(tenants.bytes.len()));
        }
        self.creation_times.push(object.creation_time);
        self.update_times.push(object.update_time);
        self.vectors.bytes.extend_from_slice(object.vector);
        self.vectors.offsets.push(offset(self.vectors.bytes.len() / 4));
        self.vectors_valid.push(!object.vector.is_empty());
        self.push_named(object, entries);
        self.push_multi(object, entries);
        self.properties.bytes.extend_from_slice(object.properties.unwrap_or_default());
        self.properties.offsets.push(offset(self.properties.bytes.len()));
        self.properties_valid.push(object.properties.is_some());
    }

    fn push_named(&mut self, object: &Object<'_>, entries: &VectorEntries) {
        let before = self.named.name_index.len();
        for (name, components) in entries.named(object) {
            self.named.name_index.push(self.named_names.index(name));
            self.named.components.extend_from_slice(components);
            self.named.vector_offsets.push(offset(self.named.components.len() / 4));
        }
        let after = self.named.name_index.len();
        self.named.row_offsets.push(offset(after));
        self.named_valid.push(after > before);
    }

    fn push_multi(&mut self, object: &Object<'_>, entries: &VectorEntries) {
        let before = self.multi.name_index.len();
        for (name, list) in entries.multi(object) {
            self.multi.name_index.push(self.multi_names.index(name));
            for vector in list {
                self.multi.components.extend_from_slice(vector);
                self.multi.vector_offsets.push(offset(self.multi.components.len() / 4));
            }
            let vectors = self.multi.vector_offsets.len().saturating_sub(1);
            self.multi.list_offsets.push(offset(vectors));
        }
        let after = self.multi.name_index.len();
        self.multi.row_offsets.push(offset(after));
        self.multi_valid.push(after > before);
    }

    /// The batch, and the sizes of its buffers.
    pub fn finish(self) -> (Batch, Capacity) {
        let capacity = Capacity {
            rows: self.row_count as usize,
            vector_bytes: self.vectors.bytes.len(),
            named_bytes: self.named.components.len(),
            multi_bytes: self.multi.components.len(),
            properties_bytes: self.properties.bytes.len(),
        };
        let required = |values| Column { validity: None, values };
        let optional = |validity: Validity, values| Column { validity: validity.finish(), values };
        let mut columns = vec![required(Values::FixedWidth(self.ids))];
        columns.extend(self.tenants.map(|tenants| required(Values::VariableWidth(tenants))));
        let named = VectorMap { names: self.named_names.names, ..self.named };
        let multi = MultiVectorMap { names: self.multi_names.names, ..self.multi };
        columns.extend([
            required(Values::Int64(self.creation_times)),
            required(Values::Int64(self.update_times)),
            optional(self.vectors_valid, Values::Vector(self.vectors)),
            optional(self.named_valid, Values::NamedVectors(named)),
            optional(self.multi_valid, Values::NamedMultiVectors(multi)),
            optional(self.properties_valid, Values::VariableWidth(self.properties)),
        ]);
        let rows = RowBatch { row_count: self.row_count, columns };
        (Batch { rows, runs: self.runs }, capacity)
    }
}
