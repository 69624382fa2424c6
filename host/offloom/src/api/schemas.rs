//! JSON Schemas of fields whose Rust type says less than what is taken or sent.
use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, OneOf, OneOfBuilder, Schema,
    SchemaType, Type,
};

/// `file_format` of a request.
pub fn parquet_or_nothing() -> Object {
    one_of_words("The format of the files", ["parquet"], true)
}

/// `onBadObject` of a request.
pub fn bad_object_policy() -> Object {
    let text = "What happens to an object that cannot be decoded; fail unless it is given";
    one_of_words(text, ["fail", "skip", "quarantine"], true)
}

/// `properties` of a request: for each class either `include` or `exclude`.
pub fn property_lists() -> Object {
    let either = |given: &str, other: &str| {
        ObjectBuilder::new()
            .property(given, names(0))
            .required(given)
            .property(other, Object::with_type(Type::Null))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    };
    let of_class = OneOfBuilder::new()
        .item(either("include", "exclude"))
        .item(either("exclude", "include"))
        .build();
    by_class("Which properties of a class are exported", of_class)
}

/// `vectors` of a request: for each class a word or a list of names.
pub fn vector_lists() -> Object {
    let of_class = OneOfBuilder::new()
        .item(one_of_words("All or none", ["all", "none"], false))
        .item(names(1))
        .build();
    let text = "Which vectors of a class are exported. The one without a name is called default";
    by_class(text, of_class)
}

/// `status` of an export: the names of `lookup::ExportState`.
pub fn export_status() -> Object {
    let text = "STARTED: it waits for its turn. TRANSFERRING: it runs. SUCCESS, FAILED, CANCELED: it has \
                ended, and this does not change again";
    one_of_words(text, ["STARTED", "TRANSFERRING", "SUCCESS", "FAILED", "CANCELED"], false)
}

/// `status` of a class: the names of `ProgressStatus`.
pub fn class_status() -> Object {
    let words = ["STARTED", "TRANSFERRING", "SUCCESS", "FAILED", "SKIPPED"];
    one_of_words("How far the class is", words, false)
}

/// `status` of a shard. Clients know no shard that has not begun (`docs/format/export-api.md` 1.3).
pub fn shard_status() -> Object {
    let words = ["TRANSFERRING", "SUCCESS", "FAILED", "SKIPPED"];
    one_of_words("How far the shard is", words, false)
}

/// `tenants` of an export: for each class the names of tenants, or their number.
pub fn covered_tenants() -> Object {
    let of_class = OneOfBuilder::new()
        .item(names(0))
        .item(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)))
        .build();
    let text = "Which tenants the export covers, of the classes of which it does not cover all. Above 1,000 \
                their number";
    ObjectBuilder::new()
        .description(Some(text))
        .additional_properties(Some(Schema::OneOf(of_class)))
        .build()
}

fn one_of_words<const N: usize>(description: &str, words: [&str; N], or_null: bool) -> Object {
    let null = or_null.then_some(Value::Null);
    let values: Vec<Value> = words.into_iter().map(Value::from).chain(null).collect();
    let schema_type = if or_null {
        SchemaType::from_iter([Type::String, Type::Null])
    } else {
        SchemaType::new(Type::String)
    };
    ObjectBuilder::new()
        .schema_type(schema_type)
        .description(Some(description))
        .enum_values(Some(values))
        .build()
}

/// A list of at least so many names.
fn names(at_least: usize) -> Array {
    let list = ArrayBuilder::new().items(Object::with_type(Type::String));
    if at_least > 0 { list.min_items(Some(at_least)).build() } else { list.build() }
}

/// An object with a member for each class that is named, or null.
fn by_class(description: &str, of_class: OneOf) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(description))
        .additional_properties(Some(Schema::OneOf(of_class)))
        .build()
}
