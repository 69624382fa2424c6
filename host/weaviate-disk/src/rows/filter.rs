//! Which properties and which vectors of each object are exported, by name.
//!
//! Filters apply to stored objects before rows are built from them, so that nothing that is left out
//! reaches a guest. The rest keeps its bytes and its order.
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use offloom_weaviate_lsm::{
    ObjectFault,
    object::{Object, VectorEntries},
};

use crate::catalog::{class::Class, name_list::name_list};

/// The name of the unnamed vector in a [`VectorSelection`], as in Weaviate's clients. It also selects
/// a named vector of this name; no class has both.
pub const UNNAMED_VECTOR: &str = "default";

/// Which top-level properties of the objects are exported. Names are exact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PropertySelection {
    /// All of them, byte for byte.
    #[default]
    All,
    /// Only these.
    Include(BTreeSet<String>),
    /// All except these.
    Exclude(BTreeSet<String>),
}

/// Which vectors of the objects are exported, multi vectors included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VectorSelection {
    /// All of them.
    #[default]
    All,
    /// None.
    None,
    /// Those with these names; the unnamed one is called [`UNNAMED_VECTOR`].
    Named(BTreeSet<String>),
}

/// Which parts of a class's objects are exported. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Which properties.
    pub properties: PropertySelection,
    /// Which vectors.
    pub vectors: VectorSelection,
}

/// An invalid filter: it names a part that the class does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A property is not in the class's definition.
    #[error("class {class} has no property {property}; it has {known}")]
    UnknownProperty {
        /// Exact class name.
        class: String,
        /// The name in the filter.
        property: String,
        /// The names in the definition, as text.
        known: String,
    },
    /// A vector is not in the class's definition.
    #[error("class {class} has no vector {vector}; it has {known}")]
    UnknownVector {
        /// Exact class name.
        class: String,
        /// The name in the filter.
        vector: String,
        /// The names in the definition, as text.
        known: String,
    },
    /// The definition does not have the format that Weaviate writes.
    #[error("the definition of class {class} cannot be read: {reason}")]
    Definition {
        /// Exact class name.
        class: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The parts of a class's definition that a filter can name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    properties: Option<Vec<NamedProperty>>,
    vector_config: Option<BTreeMap<String, IgnoredAny>>,
    vector_index_type: Option<String>,
}

#[derive(Deserialize)]
struct NamedProperty {
    name: String,
}

impl RowFilter {
    /// Whether everything is exported.
    pub fn is_everything(&self) -> bool {
        self.properties == PropertySelection::All && self.vectors == VectorSelection::All
    }

    /// Checks the filter's names against the definition of `class`. An excluded property must exist
    /// too: a misspelt name would export the property. Without a definition nothing is checked, and
    /// a name that no object has selects nothing.
    ///
    /// # Errors
    /// [`FilterError`], with the unknown name and the known ones.
    pub fn check(&self, class: &Class) -> Result<(), FilterError> {
        let Some(text) = class.definition.as_deref().filter(|_| !self.is_everything()) else {
            return Ok(());
        };
        let definition: Definition = serde_json::from_str(text).map_err(|error| {
            FilterError::Definition { class: class.name.to_string(), reason: error.to_string() }
        })?;
        if let PropertySelection::Include(names) | PropertySelection::Exclude(names) =
            &self.properties
        {
            let properties = definition.properties.unwrap_or_default();
            let known: BTreeSet<&str> =
                properties.iter().map(|property| property.name.as_str()).collect();
            if let Some(property) = names.iter().find(|name| !known.contains(name.as_str())) {
                return Err(FilterError::UnknownProperty {
                    class: class.name.to_string(),
                    property: property.clone(),
                    known: listed(&known),
                });
            }
        }
        if let VectorSelection::Named(names) = &self.vectors {
            let configured = definition.vector_config.unwrap_or_default();
            let mut known: BTreeSet<&str> = configured.keys().map(String::as_str).collect();
            // A class may have both kinds; one without any vector configuration has the unnamed one.
            let has_unnamed = definition.vector_index_type.is_some_and(|kind| !kind.is_empty());
            if has_unnamed || known.is_empty() {
                known.insert(UNNAMED_VECTOR);
            }
            if let Some(vector) = names.iter().find(|name| !known.contains(name.as_str())) {
                return Err(FilterError::UnknownVector {
                    class: class.name.to_string(),
                    vector: vector.clone(),
                    known: listed(&known),
                });
            }
        }
        Ok(())
    }

    /// Removes from `object` and `entries` what is not exported; `kept` holds the remaining
    /// properties, unless all remain.
    pub(crate) fn apply<'a>(
        &self,
        object: &mut Object<'a>,
        entries: &mut VectorEntries,
        kept: &'a mut Vec<u8>,
    ) -> Result<(), ObjectFault> {
        if !self.vectors.keeps(UNNAMED_VECTOR) {
            object.vector = &[];
        }
        if self.vectors != VectorSelection::All {
            entries.retain(|name| self.vectors.keeps(name));
        }
        if self.properties != PropertySelection::All
            && let Some(text) = object.properties
        {
            self.properties.copy(text, kept)?;
            object.properties = Some(kept);
        }
        Ok(())
    }
}

/// At most twenty names, so that the message stays readable.
fn listed(names: &BTreeSet<&str>) -> String {
    if names.is_empty() { "none".to_owned() } else { name_list(names.iter().copied(), 20) }
}

impl VectorSelection {
    fn keeps(&self, name: &str) -> bool {
        match self {
            VectorSelection::All => true,
            VectorSelection::None => false,
            VectorSelection::Named(names) => names.contains(name),
        }
    }
}

impl PropertySelection {
    fn keeps(&self, name: &str) -> bool {
        match self {
            PropertySelection::All => true,
            PropertySelection::Include(names) => names.contains(name),
            PropertySelection::Exclude(names) => !names.contains(name),
        }
    }

    /// Copies the JSON object `text` to `kept` without the members that are not exported. Names and
    /// values keep their bytes; white space between them is dropped.
    fn copy(&self, text: &[u8], kept: &mut Vec<u8>) -> Result<(), ObjectFault> {
        // Checked here, because the parser's own message would contain the value.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(ObjectFault::PropertiesNoObject);
        }
        kept.clear();
        let mut json = serde_json::Deserializer::from_slice(text);
        let members = Members { selection: self, kept };
        json.deserialize_map(members)
            .and_then(|()| json.end())
            .map_err(|error| ObjectFault::Properties { reason: error.to_string() })
    }
}

/// Copies the members of an object that are exported.
struct Members<'f> {
    selection: &'f PropertySelection,
    kept: &'f mut Vec<u8>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.kept.push(b'{');
        let mut first = true;
        while let Some((name, value)) = members.next_entry::<&RawValue, &RawValue>()? {
            if !self.selection.keeps(&unescaped(name).map_err(A::Error::custom)?) {
                continue;
            }
            if !first {
                self.kept.push(b',');
            }
            first = false;
            self.kept.extend_from_slice(name.get().as_bytes());
            self.kept.push(b':');
            self.kept.extend_from_slice(value.get().as_bytes());
        }
        self.kept.push(b'}');
        Ok(())
    }
}

/// The text of a JSON string.
fn unescaped(string: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let plain = string.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match plain.filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => {
            serde_json::from_str::<String>(string.get()).map(Cow::Owned).map_err(|_bad_escape| {
                serde_json::Error::custom("a name with an escape of no character")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn include(kept: &[&str]) -> PropertySelection {
        PropertySelection::Include(names(kept))
    }

    fn exclude(left_out: &[&str]) -> PropertySelection {
        PropertySelection::Exclude(names(left_out))
    }

    fn copied(selection: &PropertySelection, text: &[u8]) -> Result<String, ObjectFault> {
        let mut kept = b"of the object before".to_vec();
        selection.copy(text, &mut kept)?;
        Ok(String::from_utf8(kept).unwrap())
    }

    #[test]
    fn members_stay_as_they_are_written_and_in_their_order() {
        let text =
            br#"{"z":1.50e+3,"a":"\u003cb\u003e \"q\\","n":{"a":[{"z":"}"},"]"],"x":-0},"e":[]}"#;
        for (selection, expected) in [
            (include(&["a", "z"]), r#"{"z":1.50e+3,"a":"\u003cb\u003e \"q\\"}"#),
            (include(&["n"]), r#"{"n":{"a":[{"z":"}"},"]"],"x":-0}}"#),
            (include(&["x", "none"]), "{}"),
            (include(&[]), "{}"),
            (
                exclude(&["z"]),
                r#"{"a":"\u003cb\u003e \"q\\","n":{"a":[{"z":"}"},"]"],"x":-0},"e":[]}"#,
            ),
            (exclude(&["a", "e"]), r#"{"z":1.50e+3,"n":{"a":[{"z":"}"},"]"],"x":-0}}"#),
            (exclude(&["z", "a", "n", "e"]), "{}"),
            (exclude(&[]), std::str::from_utf8(text).unwrap()),
        ] {
            let copy = copied(&selection, text).unwrap();
            assert_eq!(copy, expected, "{selection:?}");
            serde_json::from_str::<serde_json::Value>(&copy).unwrap();
        }
    }

    #[test]
    fn names_are_compared_by_their_characters_however_they_are_written() {
        let text = r#"{"\u0073ecret":1,"t\"q":2,"ü":3,"\u00fc":4,"s\u0065cret":5,"open":6}"#;
        let copy = copied(&exclude(&["secret"]), text.as_bytes()).unwrap();
        assert_eq!(copy, r#"{"t\"q":2,"ü":3,"\u00fc":4,"open":6}"#);
        let copy = copied(&include(&["t\"q", "ü"]), text.as_bytes()).unwrap();
        assert_eq!(copy, r#"{"t\"q":2,"ü":3,"\u00fc":4}"#);
    }

    #[test]
    fn what_cannot_be_parsed_never_passes() {
        for text in [
            "",
            " ",
            "null",
            "1",
            "\"secret\"",
            "[{\"secret\":1}]",
            "{",
            "{}}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{a:1}",
            "{\"a\":1}{\"secret\":2}",
            "{\"\\ud800\":1}",
            "{\"\\x\":1}",
            "{\"a\":\"\n\"}",
            "{\"a\":tru}",
        ] {
            let refused = copied(&include(&["a"]), text.as_bytes());
            let message = refused.expect_err(text).to_string();
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(copied(&include(&["a"]), b"{\"a\":\"\xff\"}").is_err());
        // Deep nesting is skipped, not recursed into.
        let deep = format!(r#"{{"a":{}{},"b":1}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(copied(&include(&["b"]), deep.as_bytes()).unwrap(), r#"{"b":1}"#);
    }

    #[test]
    fn white_space_between_members_goes() {
        let copy =
            copied(&exclude(&["b"]), b" {\n \"a\" : [ 1, 2 ] ,\t\"b\":1, \"c\": 2 } ").unwrap();
        assert_eq!(copy, r#"{"a":[ 1, 2 ],"c":2}"#);
    }

    fn class(definition: Option<&str>) -> Class {
        Class {
            name: "Article".into(),
            directory: "article".into(),
            multi_tenant: false,
            definition: definition.map(Into::into),
            shards: Vec::new().into(),
            faults: Vec::new().into(),
        }
    }

    fn vectors(kept: &[&str]) -> RowFilter {
        let vectors = VectorSelection::Named(names(kept));
        RowFilter { vectors, ..RowFilter::default() }
    }

    #[test]
    fn a_name_that_the_definition_lacks_is_named_with_what_there_is() {
        let class_of = |text| class(Some(text));
        let article = class_of(
            r#"{"class": "Article", "properties": [{"name": "title"}, {"name": "body"}],
                "vectorIndexType": "hnsw"}"#,
        );
        for selection in [include(&["title", "Title"]), exclude(&["Title"])] {
            let filter = RowFilter { properties: selection, ..RowFilter::default() };
            let message = filter.check(&article).unwrap_err().to_string();
            assert_eq!(message, "class Article has no property Title; it has body, title");
            assert_eq!(filter.check(&class(None)), Ok(()));
        }
        let known = RowFilter { properties: include(&["title"]), ..RowFilter::default() };
        assert_eq!(known.check(&article), Ok(()));
        assert_eq!(vectors(&["default"]).check(&article), Ok(()));
        let message = vectors(&["a"]).check(&article).unwrap_err().to_string();
        assert_eq!(message, "class Article has no vector a; it has default");

        let named = class_of(r#"{"vectorConfig": {"a": {}, "b": {}}, "vectorIndexType": ""}"#);
        assert_eq!(vectors(&["a", "b"]).check(&named), Ok(()));
        let message = vectors(&["default"]).check(&named).unwrap_err().to_string();
        assert_eq!(message, "class Article has no vector default; it has a, b");
        let both = class_of(r#"{"vectorConfig": {"a": {}}, "vectorIndexType": "hnsw"}"#);
        assert_eq!(vectors(&["a", "default"]).check(&both), Ok(()));
        let without_properties = class_of(r#"{"properties": null}"#);
        let message = known.check(&without_properties).unwrap_err().to_string();
        assert_eq!(message, "class Article has no property title; it has none");
        assert!(known.check(&class_of("[]")).is_err());
        assert_eq!(RowFilter::default().check(&class_of("[]")), Ok(()));
    }
}
