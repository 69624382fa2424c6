//! Names that are safe to build object keys from: export ids, classes, shards, keys of an export.
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use crate::attempt::Attempt;

/// Class names longer than this are shortened in file names: a class name may have 255 characters,
/// and so may a whole file name.
const MAX_CLASS_CHARS_IN_KEY: usize = 200;

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an export id.
    #[error(
        "'{}' is not an export id: use 1 to 128 characters out of a-z, 0-9, '_' and '-'",
        shown(.0)
    )]
    ExportId(String),
    /// A class that cannot become a part of an object key.
    #[error(
        "class '{}' cannot become a part of an object key: such a name starts with A-Z, followed by \
         at most 254 characters out of A-Z, a-z, 0-9 and '_'; a namespace and ':' may precede it",
        shown(.0)
    )]
    Class(String),
    /// Neither a shard nor a tenant.
    #[error(
        "'{}' is not a shard or tenant name: use 1 to 64 characters out of A-Z, a-z, 0-9, '_' \
         and '-'",
        shown(.0)
    )]
    Shard(String),
    /// Not a file name extension.
    #[error(
        "'{}' is not a file name extension: use 1 to 16 characters out of a-z, 0-9 and '.', no \
         dot at either end and no two in a row",
        shown(.0)
    )]
    Extension(String),
    /// Not a key that an export may hold.
    #[error(
        "'{}' is not a key of an export: it is a relative path of at most 512 characters out of \
         A-Z, a-z, 0-9, '_', '-', '.' and '/', and no part of it is empty or starts with a dot",
        shown(.0)
    )]
    Key(String),
    /// Files of a class are numbered from 1.
    #[error("a class has no file number 0: files are numbered from 1")]
    FileNumber,
}

/// A refused name as a message shows it: shortened, without control characters.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push_str("...");
    }
    text
}

fn has_only(name: &str, max_chars: usize, allowed: impl Fn(u8) -> bool) -> bool {
    !name.is_empty() && name.len() <= max_chars && name.bytes().all(allowed)
}

/// The id of an export: `^[a-z0-9_-]{1,128}$`. It belongs to one export, for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExportId(String);

impl ExportId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`NameError::ExportId`].
    pub fn parse(id: &str) -> Result<ExportId, NameError> {
        let allowed =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        if has_only(id, 128, allowed) {
            Ok(ExportId(id.to_owned()))
        } else {
            Err(NameError::ExportId(id.to_owned()))
        }
    }

    /// The id of an export that was given none: `export-` and the time in UTC to the microsecond,
    /// such as `export-20261123-063000-123456z`. Should two still meet, the claim decides.
    pub fn from_time(time: DateTime<Utc>) -> ExportId {
        ExportId(format!("export-{}z", time.format("%Y%m%d-%H%M%S-%6f")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExportId {
    type Error = NameError;

    fn try_from(id: String) -> Result<ExportId, NameError> {
        ExportId::parse(&id)
    }
}

impl From<ExportId> for String {
    fn from(id: ExportId) -> String {
        id.0
    }
}

/// Checks that the name of a class can become a part of an object key:
/// `^(<namespace>:)?[A-Z][_0-9A-Za-z]{0,254}$`, where a namespace is
/// `^[a-z0-9][a-z0-9-]{1,34}[a-z0-9]$` (`data-directory.md` 1).
///
/// The upper-case letter keeps the files of classes apart from the export's own, such as
/// `_claim.json`; without `-` in the class itself, no class's file looks like the second file of
/// another class.
///
/// # Errors
/// [`NameError::Class`].
pub fn check_class_key(name: &str) -> Result<(), NameError> {
    let (namespace, class) = match name.split_once(':') {
        Some((namespace, class)) => (Some(namespace), class),
        None => (None, name),
    };
    let starts_well = class.starts_with(|c: char| c.is_ascii_uppercase());
    if starts_well
        && namespace.is_none_or(is_namespace)
        && has_only(class, 255, |c| c.is_ascii_alphanumeric() || c == b'_')
    {
        Ok(())
    } else {
        Err(NameError::Class(name.to_owned()))
    }
}

fn is_namespace(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() >= 3
        && has_only(name, 36, |c| plain(c) || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Checks the name of a shard, which for a multi-tenant class is the tenant:
/// `^[A-Za-z0-9_-]{1,64}$`.
///
/// # Errors
/// [`NameError::Shard`].
pub fn check_shard_name(name: &str) -> Result<(), NameError> {
    if has_only(name, 64, |c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-') {
        Ok(())
    } else {
        Err(NameError::Shard(name.to_owned()))
    }
}

/// Checks the extension that a guest asks for: `^[a-z0-9.]{1,16}$`, where dots only divide, so that
/// no key ever contains `..`.
///
/// # Errors
/// [`NameError::Extension`].
pub fn check_extension(extension: &str) -> Result<(), NameError> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.';
    if has_only(extension, 16, allowed) && extension.split('.').all(|part| !part.is_empty()) {
        Ok(())
    } else {
        Err(NameError::Extension(extension.to_owned()))
    }
}

/// The key of an object, relative to the folder of its export. Made from checked names only, so it
/// never leaves that folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// `_claim.json`: written first. A later attempt has `_claim.a<N>.json`.
    pub fn claim(attempt: Attempt) -> ObjectKey {
        ObjectKey(format!("_claim{attempt}.json"))
    }

    /// `export_metadata.json`: written last.
    pub fn manifest() -> ObjectKey {
        ObjectKey("export_metadata.json".to_owned())
    }

    /// `shards.jsonl`: the shards of an export that has too many for its manifest.
    pub fn shards(attempt: Attempt) -> ObjectKey {
        ObjectKey(format!("shards{attempt}.jsonl"))
    }

    /// `schema.json`: what is needed to create the classes again.
    pub fn schema(attempt: Attempt) -> ObjectKey {
        ObjectKey(format!("schema{attempt}.json"))
    }

    /// `quarantine/<Class>.jsonl`: the objects of a class that broke their format, one a line.
    ///
    /// # Errors
    /// [`NameError::Class`].
    pub fn quarantine(class: &str, attempt: Attempt) -> Result<ObjectKey, NameError> {
        Ok(ObjectKey(format!("quarantine/{}{attempt}.jsonl", class_stem(class)?)))
    }

    /// `quarantine/<Class>/<id>.bin`: the stored bytes of an object that broke its format. Objects of
    /// several tenants may have one id: the `number`th, from 1, is `<id>-2.bin` and so on.
    ///
    /// # Errors
    /// [`NameError::Class`], and [`NameError::FileNumber`] for 0.
    pub fn quarantined_object(
        class: &str,
        id: Uuid,
        number: u32,
        attempt: Attempt,
    ) -> Result<ObjectKey, NameError> {
        let stem = class_stem(class)?;
        match number {
            0 => Err(NameError::FileNumber),
            1 => Ok(ObjectKey(format!("quarantine/{stem}/{id}{attempt}.bin"))),
            number => Ok(ObjectKey(format!("quarantine/{stem}/{id}{attempt}-{number}.bin"))),
        }
    }

    /// `.offloom-access-check-<random>`: what an access check writes and removes, beside exports. No
    /// export id has a dot.
    pub(crate) fn access_probe(nonce: Uuid) -> ObjectKey {
        ObjectKey(format!(".offloom-access-check-{nonce}"))
    }

    /// The `number`th file of a class, from 1: `<Class>.<extension>`, `<Class>-2.<extension>`; of a
    /// later attempt `<Class>.a<N>.<extension>`. A class holds no `-` and begins with a capital, a
    /// namespace does not, so no two classes share a key.
    ///
    /// # Errors
    /// [`NameError::Class`], [`NameError::Extension`], and [`NameError::FileNumber`] for 0.
    pub fn class_file(
        class: &str,
        number: u32,
        extension: &str,
        attempt: Attempt,
    ) -> Result<ObjectKey, NameError> {
        let stem = class_stem(class)?;
        check_extension(extension)?;
        match number {
            0 => Err(NameError::FileNumber),
            1 => Ok(ObjectKey(format!("{stem}{attempt}.{extension}"))),
            number => Ok(ObjectKey(format!("{stem}{attempt}-{number}.{extension}"))),
        }
    }

    /// Checks a key that a manifest names.
    ///
    /// # Errors
    /// [`NameError::Key`].
    pub fn parse(key: &str) -> Result<ObjectKey, NameError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_-./".contains(&c);
        let parts_are_names =
            || key.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if has_only(key, 512, allowed) && !key.contains("..") && parts_are_names() {
            Ok(ObjectKey(key.to_owned()))
        } else {
            Err(NameError::Key(key.to_owned()))
        }
    }

    /// The key as text, such as `Article.parquet`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a class is called in keys. A namespace is divided by a dot: `acme:Note` becomes `acme.Note`.
/// Beyond 200 characters the class is called by its first 200, `-` and 12 hex digits of the SHA-256 of
/// its name; no file number has 12 digits, so that does not meet another class's second file either.
pub(crate) fn class_stem(class: &str) -> Result<String, NameError> {
    check_class_key(class)?;
    let divided = class.replacen(':', ".", 1);
    Ok(match divided.get(..MAX_CLASS_CHARS_IN_KEY) {
        Some(start) if start.len() < divided.len() => {
            let digest = hex::encode(Sha256::digest(class));
            format!("{start}-{}", digest.get(..12).unwrap_or(&digest))
        }
        _ => divided,
    })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn export_ids_are_lower_case_names_of_128_characters_at_most() {
        for good in ["a", "export-2026_01", "-", "_", &"x".repeat(128)] {
            assert_eq!(ExportId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "a.b", "a/b", "..", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert_eq!(ExportId::parse(bad), Err(NameError::ExportId(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_id_is_shown_short_and_escaped() {
        let message = ExportId::parse(&format!("a\n{}", "b".repeat(500))).unwrap_err().to_string();
        assert!(message.contains("a\\n") && message.contains("..."), "{message}");
        assert!(message.len() < 250, "{message}");
    }

    #[test]
    fn a_default_id_tells_the_time_and_sorts_by_it() {
        let at = |text: &str| ExportId::from_time(text.parse().unwrap());
        let first = at("2026-11-23T06:30:00.000001Z");
        assert_eq!(first.as_str(), "export-20261123-063000-000001z");
        assert_eq!(ExportId::parse(first.as_str()).unwrap(), first);
        assert!(first < at("2026-11-23T06:30:00.000002Z"), "two in one second differ");
    }

    #[test]
    fn an_id_in_json_is_checked() {
        assert!(serde_json::from_str::<ExportId>("\"ok-1\"").is_ok());
        assert!(serde_json::from_str::<ExportId>("\"../up\"").is_err());
    }

    #[test]
    fn classes_shards_and_extensions_follow_their_patterns() {
        let long = format!("{}:{}", "a".repeat(36), "A".repeat(255));
        for good in ["A", "Article_2", &"A".repeat(255), "acme-eu-1:Note", &long] {
            check_class_key(good).unwrap();
        }
        for bad in [
            "",
            "article",
            "_A",
            "A-b",
            "A.b",
            "A/b",
            "Ä",
            &"A".repeat(256),
            "ab:A",
            "-ab:A",
            "abc:a",
        ] {
            assert!(check_class_key(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "T-1_x", "-", &"z".repeat(64)] {
            check_shard_name(good).unwrap();
        }
        for bad in ["", "a.b", "a/b", "a b", &"z".repeat(65)] {
            assert!(check_shard_name(bad).is_err(), "{bad:?}");
        }
        for good in ["parquet", "csv.zst", "7z"] {
            check_extension(good).unwrap();
        }
        for bad in ["", ".", "..", ".csv", "csv.", "a..b", "CSV", "a/b", "abcdefghijklmnopq"] {
            assert!(check_extension(bad).is_err(), "{bad:?}");
        }
    }

    /// Weaviate's rule is in `offloom-weaviate-schema`: this one must accept all that it accepts.
    #[test]
    fn a_class_of_weaviate_can_become_a_key() {
        let starts = ["A", "Z", "a", "0", "_", "-", ":", "abc:A", "abc:a", "Ä", " ", "/", ""];
        let rests = ["", "b", "B", "9", "_", "-", ".", ":", "/", "ä", "\n"];
        let long = [1, 254, 255, 256].map(|length| "A".repeat(length));
        let names = starts.iter().flat_map(|start| rests.map(|rest| format!("{start}{rest}")));
        for name in names.chain(long) {
            let is_class = offloom_weaviate_schema::names::is_class_name(&name);
            assert_eq!(check_class_key(&name).is_ok(), is_class, "{name:?}");
        }
    }

    #[test]
    fn file_keys_carry_class_number_and_extension() {
        let key = |class, number| {
            ObjectKey::class_file(class, number, "parquet", Attempt::FIRST).unwrap()
        };
        assert_eq!(key("Article", 1).as_str(), "Article.parquet");
        assert_eq!(key("Article", 2).as_str(), "Article-2.parquet");
        assert_eq!(key("acme-eu-1:Note", 1).as_str(), "acme-eu-1.Note.parquet");
        assert_eq!(key("acme-eu-1:Note", 2).as_str(), "acme-eu-1.Note-2.parquet");
        let quarantined = ObjectKey::quarantine("acme:Note", Attempt::FIRST).unwrap();
        assert_eq!(quarantined.as_str(), "quarantine/acme.Note.jsonl");
        let id = Uuid::from_u128(7);
        let object =
            |number| ObjectKey::quarantined_object("acme:Note", id, number, Attempt::FIRST);
        let stored = "quarantine/acme.Note/00000000-0000-0000-0000-000000000007";
        assert_eq!(object(1).unwrap().as_str(), format!("{stored}.bin"));
        assert_eq!(object(2).unwrap().as_str(), format!("{stored}-2.bin"));
        assert_eq!(object(0), Err(NameError::FileNumber));
        let longest =
            ObjectKey::quarantined_object(&"A".repeat(255), id, u32::MAX, Attempt::FIRST).unwrap();
        assert_eq!(ObjectKey::parse(longest.as_str()).unwrap(), longest);
        assert!(ObjectKey::quarantined_object("../x", id, 1, Attempt::FIRST).is_err());
        assert_eq!(
            ObjectKey::class_file("Article", 0, "csv", Attempt::FIRST),
            Err(NameError::FileNumber)
        );
        assert!(ObjectKey::class_file("../x", 1, "csv", Attempt::FIRST).is_err());
        assert!(ObjectKey::class_file("Article", 1, "../csv", Attempt::FIRST).is_err());
    }

    #[test]
    fn no_two_files_share_a_key() {
        let start = "A".repeat(200);
        let classes = [
            "A".to_owned(),
            "A_2".to_owned(),
            "A2".to_owned(),
            "acme:A".to_owned(),
            "acme-2:A".to_owned(),
            format!("acme:{start}"),
            format!("acme:{start}{}", "c".repeat(55)),
            start.clone(),
            format!("{start}a"),
            format!("{start}b"),
            format!("{start}{}", "c".repeat(55)),
        ];
        let mut seen = HashSet::new();
        for class in &classes {
            for number in [1, 2, 3, 22, u32::MAX] {
                let key = ObjectKey::class_file(class, number, "parquet", Attempt::FIRST).unwrap();
                assert!(key.as_str().len() <= 255, "{key}");
                assert_eq!(ObjectKey::parse(key.as_str()).unwrap(), key);
                assert!(seen.insert(key.clone()), "{key} is used twice");
            }
        }
        for own in [
            ObjectKey::claim(Attempt::FIRST),
            ObjectKey::manifest(),
            ObjectKey::shards(Attempt::FIRST),
        ] {
            assert!(seen.insert(own));
        }
    }

    #[test]
    fn a_class_of_200_characters_keeps_its_name_and_one_of_201_is_shortened() {
        let whole = ObjectKey::class_file(&"A".repeat(200), 1, "parquet", Attempt::FIRST).unwrap();
        assert_eq!(whole.as_str(), format!("{}.parquet", "A".repeat(200)));
        let cut = ObjectKey::class_file(&"A".repeat(201), 1, "parquet", Attempt::FIRST).unwrap();
        // printf 'A%.0s' $(seq 201) | sha256sum
        assert_eq!(cut.as_str(), format!("{}-dea81b358bf5.parquet", "A".repeat(200)));
    }

    #[test]
    fn keys_of_a_manifest_cannot_leave_the_folder() {
        for good in ["A.parquet", "quarantine/A.jsonl", "_claim.json"] {
            ObjectKey::parse(good).unwrap();
        }
        for bad in ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.b", "a..b", "a b", "a%2e"] {
            assert!(ObjectKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
