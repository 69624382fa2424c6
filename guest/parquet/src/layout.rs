//! How the columns of a class lie in the file: names, Parquet types, encodings, pages.
use std::io::Cursor;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema, TimeUnit};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use crate::Settings;
use crate::bindings::offloom::export::types::{DataType, Error, Field, RowBatch, Schema, Values};
use crate::options::{Pages, VectorCompression};

/// Name of the column that this exporter makes itself.
pub(crate) const CLASS_NAME: &str = "class_name";

/// Where the values of a column of the file come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The class name, in every row.
    ClassName,
    /// The column of this index in every batch.
    Batch(usize, DataType),
}

/// The columns of the file and how they are written.
pub(crate) struct Layout {
    pub(crate) class_name: String,
    /// One a column of the file, in order.
    pub(crate) origins: Vec<Origin>,
    pub(crate) arrow: Arc<ArrowSchema>,
    pub(crate) parquet: Arc<SchemaDescriptor>,
    /// Of a block whose vectors are compressed as the other columns are.
    pub(crate) properties: Arc<WriterProperties>,
    /// Of a block whose vectors are not.
    plain_vectors: Arc<WriterProperties>,
    pub(crate) settings: Settings,
    pub(crate) key_values: Vec<KeyValue>,
}

/// Data pages of columns that hold vectors: small pages are 1.2 to 1.3 times faster there.
const VECTOR_PAGE_BYTES: usize = 256 * 1024;
/// Data pages of other columns: large pages take 5 % less room.
const PAGE_BYTES: usize = 1024 * 1024;

impl Layout {
    /// Lays out a class: the columns in the order of its schema, `class_name` after `id`.
    pub(crate) fn new(schema: &Schema, settings: &Settings) -> Result<Layout, Error> {
        let columns = columns(schema)?;
        let mut properties = WriterProperties::builder()
            .set_writer_version(match settings.pages {
                Pages::V1 => WriterVersion::PARQUET_1_0,
                Pages::V2 => WriterVersion::PARQUET_2_0,
            })
            .set_created_by(concat!("offloom ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(settings.compression)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(PAGE_BYTES)
            // A page index would hold offsets from the block's beginning, not from the file's.
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true);
        for (origin, field) in &columns {
            let path = ColumnPath::from(field.name().as_str());
            properties = column_properties(properties, path, origin, field, settings.pages);
        }
        let mut plain_vectors = properties.clone();
        for (origin, field) in &columns {
            if matches!(origin, Origin::Batch(_, DataType::Vector(_))) {
                let path = ColumnPath::from(field.name().as_str());
                plain_vectors =
                    plain_vectors.set_column_compression(path, Compression::UNCOMPRESSED);
            }
        }

        let (origins, fields): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let arrow = Arc::new(ArrowSchema::new(fields));
        let parquet = ArrowSchemaConverter::new()
            .schema_root("row")
            .convert(&arrow)
            .map_err(|error| Error::Unsupported(error.to_string()))?;
        Ok(Layout {
            class_name: schema.class_name.clone(),
            origins,
            arrow,
            parquet: Arc::new(parquet),
            properties: Arc::new(properties.build()),
            plain_vectors: Arc::new(plain_vectors.build()),
            settings: *settings,
            key_values: key_values(schema),
        })
    }
}

impl Layout {
    /// How a block is written that begins with `batch`: by that alone, so that the same block is
    /// written the same way each time.
    pub(crate) fn properties_of_block(
        &self,
        batch: &RowBatch,
    ) -> Result<&Arc<WriterProperties>, Error> {
        let compressed = match self.settings.vector_compression {
            VectorCompression::Same => true,
            VectorCompression::Plain => false,
            VectorCompression::Auto => vectors_shrink(batch, self.settings.compression)?,
        };
        Ok(if compressed { &self.properties } else { &self.plain_vectors })
    }
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
fn columns(schema: &Schema) -> Result<Vec<(Origin, ArrowField)>, Error> {
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

/// So many bytes of vectors are tried out.
const SAMPLE_BYTES: usize = 64 * 1024;

/// Whether the first vectors of a batch lose a tenth of their size or more; true without any.
fn vectors_shrink(batch: &RowBatch, compression: Compression) -> Result<bool, Error> {
    let Compression::ZSTD(level) = compression else { return Ok(true) };
    let vectors = batch.columns.iter().find_map(|column| match &column.values {
        Values::Vector(values) => values.bytes.get(..values.bytes.len().min(SAMPLE_BYTES)),
        _ => None,
    });
    let Some(sample) = vectors.filter(|sample| !sample.is_empty()) else { return Ok(true) };
    let failed = |error: std::io::Error| Error::Other(error.to_string());
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(sample.len()));
    zstd::bulk::Compressor::new(level.compression_level())
        .and_then(|mut zstd| zstd.compress_to_buffer(sample, &mut Cursor::new(&mut frame)))
        .map_err(failed)?;
    Ok(frame.len() <= sample.len() / 10 * 9)
}

/// Columns are mapped by type, so that those of a transform work too. The two times of an object are
/// plain integers, as upstream writes them (`export-api.md` 5.1).
fn arrow_type(field: &Field) -> ArrowType {
    match &field.data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::TimestampMillis if is_object_time(&field.name) => ArrowType::Int64,
        DataType::TimestampMillis => {
            ArrowType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
        }
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

fn column_properties(
    properties: WriterPropertiesBuilder,
    path: ColumnPath,
    origin: &Origin,
    field: &ArrowField,
    pages: Pages,
) -> WriterPropertiesBuilder {
    let bytes = match pages {
        Pages::V1 => Encoding::PLAIN,
        Pages::V2 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
    };
    let repeats = matches!(origin, Origin::ClassName) || field.name() == "tenant";
    if repeats {
        return properties
            .set_column_dictionary_enabled(path.clone(), true)
            .set_column_encoding(path.clone(), bytes)
            .set_column_statistics_enabled(path, EnabledStatistics::Chunk);
    }
    let Origin::Batch(_, data_type) = origin else { return properties };
    match data_type {
        // Plain: one copy less, which a row of 32 MiB of vectors as text needs to fit in memory.
        DataType::Vector(_) | DataType::NamedVectors(_) | DataType::NamedMultiVectors(_) => {
            properties
                .set_column_encoding(path.clone(), Encoding::PLAIN)
                .set_column_data_page_size_limit(path, VECTOR_PAGE_BYTES)
        }
        DataType::Uuid => properties
            .set_column_encoding(path.clone(), bytes)
            .set_column_statistics_enabled(path, EnabledStatistics::Chunk),
        DataType::Utf8 | DataType::Json | DataType::Binary => {
            properties.set_column_encoding(path, bytes)
        }
        DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::TimestampMillis => {
            properties.set_column_statistics_enabled(path, EnabledStatistics::Chunk)
        }
    }
}
