//! How the columns of a class lie in the file: names, Parquet types, encodings, pages.
use std::rc::Rc;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr,
    WriterVersion,
};
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};

use crate::Settings;
use crate::bindings::offloom::export::types::{DataType, Error, Field, Schema, Values};
use crate::held::{Batch, Held, Part};
use crate::held_column::Shape;
use crate::options::{LayoutKind, Pages, VectorCompression};
use crate::typed::{self, Typed};

/// What the footer names as its writer.
pub(crate) const CREATED_BY: &str = concat!("offloom ", env!("CARGO_PKG_VERSION"));

/// Name of the column that this exporter makes itself.
pub(crate) const CLASS_NAME: &str = "class_name";

/// Where the values of a column of the file come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The class name, in every row.
    ClassName,
    /// The column of this index in every batch.
    Batch(u32, DataType),
    /// The column of this index that [`Typed`] makes of every batch.
    Typed(usize),
}

/// Who writes the pages of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// The `parquet` crate, from Arrow arrays.
    Arrow,
    /// This crate. The values stay in the host.
    Held {
        /// How its values lie in pages.
        shape: Shape,
        /// Bytes of values that a page should have.
        page_bytes: u64,
    },
    /// This crate. It is the class name in every row.
    Constant,
}

/// A column of the file.
pub(crate) struct FileColumn {
    pub(crate) origin: Origin,
    pub(crate) field: ArrowField,
    pub(crate) writing: Writing,
    /// A schema that has this column alone.
    pub(crate) schema: SchemaDescPtr,
}

/// The columns of the file and how they are written.
pub(crate) struct Layout {
    pub(crate) class_name: String,
    /// In order.
    pub(crate) columns: Vec<FileColumn>,
    /// Columns of every batch that the host holds.
    pub(crate) held: Vec<u32>,
    pub(crate) parquet: SchemaDescPtr,
    /// Of a block whose vectors are compressed as the other columns are.
    properties: WriterPropertiesPtr,
    /// Of a block whose vectors are not.
    plain_vectors: WriterPropertiesPtr,
    pub(crate) settings: Settings,
    pub(crate) key_values: Vec<KeyValue>,
    /// What takes rows apart, if that is asked for.
    pub(crate) typed: Option<Typed>,
}

/// Data pages of columns that hold vectors: small pages are 1.2 to 1.3 times faster there.
const VECTOR_PAGE_BYTES: usize = 256 * 1024;
/// Data pages of other columns: large pages take 5 % less room.
const PAGE_BYTES: usize = 1024 * 1024;

impl Layout {
    /// Lays out a class: the columns in the order of its schema, `class_name` after `id`; or those of the
    /// typed layout.
    pub(crate) fn new(schema: &Schema, settings: &Settings) -> Result<Layout, Error> {
        let (typed, columns) = match settings.layout {
            LayoutKind::Weaviate => (None, columns(schema)?),
            LayoutKind::Typed => typed_columns(schema)?,
        };
        let columns = columns
            .into_iter()
            .map(|(origin, field)| {
                let schema = parquet_schema(vec![field.clone()])?;
                let writing = writing(&origin, &field, settings);
                Ok(FileColumn { writing, origin, field, schema })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut properties = WriterProperties::builder()
            .set_writer_version(match settings.pages {
                Pages::V1 => WriterVersion::PARQUET_1_0,
                Pages::V2 => WriterVersion::PARQUET_2_0,
            })
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(settings.compression)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(settings.page_bytes.unwrap_or(PAGE_BYTES))
            // A page index would hold offsets from the block's beginning, not from the file's.
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true);
        for column in &columns {
            for leaf in column.schema.columns() {
                properties = leaf_properties(properties, column, leaf, settings);
            }
        }
        let mut plain_vectors = properties.clone();
        for column in columns.iter().filter(|column| column.is_vector()) {
            for leaf in column.schema.columns() {
                let compression = match settings.columns.get(column.field.name()) {
                    Some(compression) => *compression,
                    None => Compression::UNCOMPRESSED,
                };
                let path = leaf.path().clone();
                plain_vectors = plain_vectors.set_column_compression(path, compression);
            }
        }
        let fields: Vec<ArrowField> = columns.iter().map(|column| column.field.clone()).collect();
        let held = columns.iter().filter(|column| matches!(column.writing, Writing::Held { .. }));
        let index = |column: &FileColumn| match column.origin {
            Origin::ClassName | Origin::Typed(_) => None,
            Origin::Batch(index, _) => Some(index),
        };
        Ok(Layout {
            class_name: schema.class_name.clone(),
            held: held.filter_map(index).collect(),
            columns,
            parquet: parquet_schema(fields)?,
            properties: Arc::new(properties.build()),
            plain_vectors: Arc::new(plain_vectors.build()),
            settings: settings.clone(),
            key_values: key_values(schema),
            typed,
        })
    }

    /// Whether the vectors of a block that begins with `batch` are written without compression: decided
    /// by that batch alone, so that the same block is written the same way each time.
    pub(crate) fn plain_vectors<H: Held>(&self, batch: &Batch<H>) -> Result<bool, Error> {
        Ok(match self.settings.vector_compression {
            VectorCompression::Same => false,
            VectorCompression::Plain => true,
            VectorCompression::Auto => !self.vectors_shrink(batch)?,
        })
    }

    /// How a column of a block is compressed, and the properties that say so to the `parquet` crate.
    pub(crate) fn of_block(
        &self,
        column: &FileColumn,
        plain_vectors: bool,
    ) -> (Compression, &WriterPropertiesPtr) {
        let name = column.field.name();
        let is_plain = plain_vectors && column.is_vector();
        if is_plain && !self.settings.columns.contains_key(name) {
            (Compression::UNCOMPRESSED, &self.plain_vectors)
        } else {
            (self.settings.of_column(name), &self.properties)
        }
    }

    /// Whether the first vectors of a batch lose a tenth of their size or more; true without any.
    fn vectors_shrink<H: Held>(&self, batch: &Batch<H>) -> Result<bool, Error> {
        let compression = self.settings.compression;
        if compression == Compression::UNCOMPRESSED {
            return Ok(true);
        }
        let columns = (0_u32..).zip(&batch.rows.columns);
        let vectors = columns.filter_map(|(index, column)| match &column.values {
            Values::Vector(values) => Some((index, &values.bytes)),
            Values::NamedVectors(map) if self.typed.is_some() => Some((index, &map.components)),
            _ => None,
        });
        for (index, bytes) in vectors {
            let held = batch.held.iter().find(|(column, _)| *column == index);
            let (frame, sample_bytes) = match (held, bytes.as_slice()) {
                (Some((_, buffer)), _) => {
                    let length = buffer.length().min(SAMPLE_BYTES as u64);
                    let start = Part { buffer: Rc::clone(buffer), offset: 0, length };
                    (H::pack(compression, &[], &[start])?, length)
                }
                (None, []) => continue,
                (None, bytes) => {
                    let sample = bytes.get(..SAMPLE_BYTES).unwrap_or(bytes);
                    (H::pack(compression, sample, &[])?, sample.len() as u64)
                }
            };
            return Ok(frame.length() <= sample_bytes / 10 * 9);
        }
        Ok(true)
    }
}

impl FileColumn {
    /// Whether it holds one vector a row.
    fn is_vector(&self) -> bool {
        match &self.origin {
            Origin::Batch(_, DataType::Vector(_)) => true,
            Origin::Typed(_) => *self.field.data_type() == typed::vector_type(),
            _ => false,
        }
    }
}

/// Pages of version 1 have the length of each value before it, so the host cannot splice them.
fn writing(origin: &Origin, field: &ArrowField, settings: &Settings) -> Writing {
    let held = |shape, default| {
        let page_bytes = settings.page_bytes.unwrap_or(default) as u64;
        Writing::Held { shape, page_bytes }
    };
    match (origin, settings.pages) {
        (Origin::Batch(_, DataType::Vector(_)), Pages::V2) => {
            let is_list = matches!(field.data_type(), ArrowType::List(_));
            held(if is_list { Shape::Floats } else { Shape::Bytes }, VECTOR_PAGE_BYTES)
        }
        (Origin::ClassName, Pages::V2) => Writing::Constant,
        (Origin::Batch(_, DataType::Json | DataType::Binary), Pages::V2) => {
            held(Shape::Bytes, PAGE_BYTES)
        }
        _ => Writing::Arrow,
    }
}

fn parquet_schema(fields: Vec<ArrowField>) -> Result<SchemaDescPtr, Error> {
    ArrowSchemaConverter::new()
        .schema_root("row")
        .convert(&ArrowSchema::new(fields))
        .map(Arc::new)
        .map_err(|error| Error::Unsupported(error.to_string()))
}

/// What the file says about itself: the class's name, as upstream's files do (`export-api.md` 5.1), and
/// its definition, from which the class can be created again.
fn key_values(schema: &Schema) -> Vec<KeyValue> {
    let name = KeyValue::new("collection".to_owned(), schema.class_name.clone());
    let definition = schema.class_definition.clone();
    let definition = definition.map(|json| KeyValue::new("weaviate.class".to_owned(), json));
    [name].into_iter().chain(definition).collect()
}

/// The columns of the file, in order.
fn columns(schema: &Schema) -> Result<Columns, Error> {
    let class_name_at = schema
        .fields
        .iter()
        .position(|field| field.name == "id")
        .map_or(0, |index| index.saturating_add(1));
    let mut columns: Vec<(Origin, ArrowField)> = Vec::new();
    for (index, field) in schema.fields.iter().enumerate() {
        if field.name == CLASS_NAME {
            return Err(Error::Unsupported(format!(
                "column `{CLASS_NAME}` is made by this exporter, but the rows have one too"
            )));
        }
        let data_type = arrow_type(field);
        let index =
            u32::try_from(index).map_err(|_| Error::Unsupported("too many columns".to_owned()))?;
        columns.push((
            Origin::Batch(index, field.data_type.clone()),
            ArrowField::new(&field.name, data_type, field.nullable),
        ));
    }
    columns.insert(
        class_name_at,
        (Origin::ClassName, ArrowField::new(CLASS_NAME, ArrowType::Utf8, false)),
    );
    Ok(columns)
}

/// The columns of a file, in order.
type Columns = Vec<(Origin, ArrowField)>;

/// The columns of the typed layout, in order: those of the schema that stay, those that are made of others,
/// and the vectors before what is left over.
fn typed_columns(schema: &Schema) -> Result<(Option<Typed>, Columns), Error> {
    let (typed, made) = Typed::new(schema)?;
    let mut columns = Vec::new();
    let mut vectors = Vec::new();
    for (at, field) in schema.fields.iter().enumerate() {
        if typed.takes(at) {
            continue;
        }
        let index =
            u32::try_from(at).map_err(|_| Error::Unsupported("too many columns".to_owned()))?;
        let origin = Origin::Batch(index, field.data_type.clone());
        let (data_type, into) = match &field.data_type {
            // The host may leave a vector out of any row, and the pages of lists here allow for it.
            DataType::Vector(_) => (typed::vector_type(), &mut vectors),
            DataType::TimestampMillis => (timestamp(), &mut columns),
            _ => (arrow_type(field), &mut columns),
        };
        let nullable = field.nullable || matches!(field.data_type, DataType::Vector(_));
        into.push((origin, ArrowField::new(&field.name, data_type, nullable)));
    }
    let properties = typed.properties();
    let made = made.into_iter().enumerate();
    let (of_properties, others): (Vec<_>, Vec<_>) = made.partition(|(at, _)| *at < properties);
    let origin = |(at, field)| (Origin::Typed(at), field);
    columns.extend(of_properties.into_iter().map(origin));
    columns.append(&mut vectors);
    columns.extend(others.into_iter().map(origin));
    Ok((Some(typed), columns))
}

fn timestamp() -> ArrowType {
    ArrowType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// So many bytes of vectors are tried out.
const SAMPLE_BYTES: usize = 64 * 1024;

/// Columns are mapped by type, so that those of a transform work too. The two times of an object are
/// plain integers, as upstream writes them (`export-api.md` 5.1).
fn arrow_type(field: &Field) -> ArrowType {
    match &field.data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::TimestampMillis if is_object_time(&field.name) => ArrowType::Int64,
        DataType::TimestampMillis => timestamp(),
        DataType::Uuid | DataType::Utf8 => ArrowType::Utf8,
        DataType::Json
        | DataType::Binary
        | DataType::Vector(_)
        | DataType::NamedVectors(_)
        | DataType::NamedMultiVectors(_) => ArrowType::Binary,
    }
}

fn is_object_time(name: &str) -> bool {
    name == "creation_time" || name == "update_time"
}

/// How the values of one leaf of a column are written.
fn leaf_properties(
    properties: WriterPropertiesBuilder,
    column: &FileColumn,
    leaf: &ColumnDescPtr,
    settings: &Settings,
) -> WriterPropertiesBuilder {
    let path = leaf.path().clone();
    let own = settings.columns.get(column.field.name());
    let properties = match (own, &column.origin, settings.compression) {
        (Some(own), ..) => properties.set_column_compression(path.clone(), *own),
        // Digits of ids gain nothing from a search for repetitions: level 1 is faster, and even smaller.
        (None, Origin::Batch(_, DataType::Uuid), Compression::ZSTD(_)) => {
            let fastest = Compression::ZSTD(ZstdLevel::default());
            properties.set_column_compression(path.clone(), fastest)
        }
        _ => properties,
    };
    let bytes = match settings.pages {
        Pages::V1 => Encoding::PLAIN,
        Pages::V2 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
    };
    let has_statistics = |properties: WriterPropertiesBuilder| {
        properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk)
    };
    let vectors = |properties: WriterPropertiesBuilder| {
        let page_bytes = settings.page_bytes.unwrap_or(VECTOR_PAGE_BYTES);
        // Plain: one copy less, which a row of 32 MiB of vectors as text needs to fit in memory.
        properties
            .set_column_encoding(path.clone(), Encoding::PLAIN)
            .set_column_data_page_size_limit(path.clone(), page_bytes)
    };
    if matches!(column.origin, Origin::ClassName) || column.field.name() == "tenant" {
        let dictionary = properties.set_column_dictionary_enabled(path.clone(), true);
        return has_statistics(dictionary.set_column_encoding(path.clone(), bytes));
    }
    match &column.origin {
        Origin::ClassName => properties,
        Origin::Batch(_, data_type) => match data_type {
            DataType::Vector(_) | DataType::NamedVectors(_) | DataType::NamedMultiVectors(_) => {
                vectors(properties)
            }
            DataType::Uuid => has_statistics(properties.set_column_encoding(path.clone(), bytes)),
            DataType::Utf8 | DataType::Json | DataType::Binary => {
                properties.set_column_encoding(path.clone(), bytes)
            }
            DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::TimestampMillis => {
                has_statistics(properties)
            }
        },
        Origin::Typed(_) => match leaf.physical_type() {
            PhysicalType::FLOAT => vectors(properties),
            PhysicalType::BYTE_ARRAY => properties.set_column_encoding(path.clone(), bytes),
            _ => has_statistics(properties),
        },
    }
}
