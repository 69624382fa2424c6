//! What the columns of a class are called and hold.

/// A named vector that a class declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVector {
    /// Its name, `[_A-Za-z][_0-9A-Za-z]{0,229}` (`object-binary.md` 3).
    pub name: String,
    /// Components of each vector, when known before the rows are read.
    pub dimensions: Option<u32>,
}

/// What one column holds; see `data-type` in `wit/types.wit` for the [`crate::Values`] it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataType {
    /// One bit a row.
    Boolean,
    /// A signed 64-bit integer a row.
    Int64,
    /// An IEEE-754 binary64 a row.
    Float64,
    /// Milliseconds since the Unix epoch, UTC.
    TimestampMillis,
    /// Sixteen bytes a row, in the order of the canonical text.
    Uuid,
    /// UTF-8 text.
    Utf8,
    /// JSON text as it was stored, not parsed.
    Json,
    /// Bytes.
    Binary,
    /// One vector of `f32` a row, with its dimensions when they are known; rows may differ.
    Vector(Option<u32>),
    /// Vectors by name: the names that the class declares.
    NamedVectors(Vec<NamedVector>),
    /// Lists of vectors by name: the names that the class declares.
    NamedMultiVectors(Vec<NamedVector>),
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Column name.
    pub name: String,
    /// What it holds.
    pub data_type: DataType,
    /// Whether a row may lack a value.
    pub nullable: bool,
}

/// The columns of one class, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Exact class name.
    pub class_name: String,
    /// Columns in the order in which every batch carries them.
    pub fields: Vec<Field>,
    /// The collection's definition as Weaviate's REST shows it (JSON), when known.
    pub class_definition: Option<String>,
}

impl Schema {
    /// The columns of a Weaviate class: `id`, `tenant` (multi-tenant classes only),
    /// `creation_time`, `update_time`, `vector`, `named_vectors`, `multi_vectors`, `properties`.
    pub fn of_class(
        class_name: &str,
        multi_tenant: bool,
        class_definition: Option<String>,
    ) -> Schema {
        let mut fields = vec![field("id", DataType::Uuid, false)];
        if multi_tenant {
            fields.push(field("tenant", DataType::Utf8, false));
        }
        fields.extend([
            field("creation_time", DataType::TimestampMillis, false),
            field("update_time", DataType::TimestampMillis, false),
            field("vector", DataType::Vector(None), true),
            field("named_vectors", DataType::NamedVectors(Vec::new()), true),
            field("multi_vectors", DataType::NamedMultiVectors(Vec::new()), true),
            field("properties", DataType::Json, true),
        ]);
        Schema { class_name: class_name.to_owned(), fields, class_definition }
    }

    /// Whether the rows name a tenant.
    pub fn is_multi_tenant(&self) -> bool {
        self.fields.iter().any(|field| field.name == "tenant")
    }
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.to_owned(), data_type, nullable }
}
