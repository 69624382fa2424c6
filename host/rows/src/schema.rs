//! Names and types of the columns of a class.

/// A named vector that a class declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVector {
    /// Its name, `[_A-Za-z][_0-9A-Za-z]{0,229}` (`object-binary.md` 3).
    pub name: String,
    /// Number of components of each vector, if known before the rows are read.
    pub dimensions: Option<u32>,
}

/// The type of a column; see `data-type` in `wit/types.wit` for the [`crate::Values`] it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataType {
    /// One bit per row.
    Boolean,
    /// A signed 64-bit integer per row.
    Int64,
    /// An IEEE-754 binary64 per row.
    Float64,
    /// Milliseconds since the Unix epoch, UTC.
    TimestampMillis,
    /// Sixteen bytes per row, in the order of the canonical text.
    Uuid,
    /// UTF-8 text.
    Utf8,
    /// JSON text as it is stored, not parsed.
    Json,
    /// Bytes.
    Binary,
    /// One vector of `f32` per row, with the number of dimensions if known; rows may differ.
    Vector(Option<u32>),
    /// Vectors by name, with the names that the class declares.
    NamedVectors(Vec<NamedVector>),
    /// Lists of vectors by name, with the names that the class declares.
    NamedMultiVectors(Vec<NamedVector>),
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Column name.
    pub name: String,
    /// Its type.
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
    /// The class's definition as in Weaviate's REST API (JSON), if known and at most
    /// [`crate::MAX_CLASS_DEFINITION_BYTES`] long.
    pub class_definition: Option<String>,
}

impl Schema {
    /// The columns of a Weaviate class: `id`, `tenant` (multi-tenant classes only),
    /// `creation_time`, `update_time`, `vector`, `named_vectors`, `multi_vectors`, `properties`. A
    /// definition that is too long is left out.
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
        let fits = |definition: &String| definition.len() <= crate::MAX_CLASS_DEFINITION_BYTES;
        let class_definition = class_definition.filter(fits);
        Schema { class_name: class_name.to_owned(), fields, class_definition }
    }

    /// Whether there is a column with the tenant.
    pub fn is_multi_tenant(&self) -> bool {
        self.fields.iter().any(|field| field.name == "tenant")
    }
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.to_owned(), data_type, nullable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_CLASS_DEFINITION_BYTES;

    #[test]
    fn a_definition_that_is_too_long_is_left_out() {
        let of_length = |bytes| Schema::of_class("Note", false, Some("x".repeat(bytes)));
        let kept = of_length(MAX_CLASS_DEFINITION_BYTES).class_definition;
        assert_eq!(kept.map(|definition| definition.len()), Some(1024 * 1024));
        assert_eq!(of_length(MAX_CLASS_DEFINITION_BYTES + 1).class_definition, None);
    }
}
