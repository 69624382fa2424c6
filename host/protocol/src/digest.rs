//! Digests of the objects of an export: while they are written, and when they are stored.
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Digest as _;

use crate::error::StoreError;
use crate::names::ObjectKey;
use crate::store::ExportFolder;

/// Bytes that are read and digested at a time.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// How the objects of an export are digested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestAlgorithm {
    /// BLAKE3 with 32 bytes, which takes less processor time.
    #[default]
    Blake3,
    /// SHA-256.
    Sha256,
}

impl DigestAlgorithm {
    /// What messages call it.
    pub fn title(self) -> &'static str {
        match self {
            DigestAlgorithm::Blake3 => "BLAKE3",
            DigestAlgorithm::Sha256 => "SHA-256",
        }
    }
}

/// As settings and manifests have it.
impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DigestAlgorithm::Blake3 => "blake3",
            DigestAlgorithm::Sha256 => "sha256",
        })
    }
}

impl FromStr for DigestAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<DigestAlgorithm, UnknownAlgorithm> {
        match text {
            "blake3" => Ok(DigestAlgorithm::Blake3),
            "sha256" => Ok(DigestAlgorithm::Sha256),
            _ => Err(UnknownAlgorithm),
        }
    }
}

/// A text that names no algorithm.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("expected blake3 or sha256")]
pub struct UnknownAlgorithm;

/// The digest of one object, as the manifest has it. In place of an object with the algorithm, a text
/// is read as SHA-256: manifests of earlier builds had the field `sha256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// How it was computed.
    pub algorithm: DigestAlgorithm,
    /// 64 lower-case hex digits.
    pub value: String,
}

impl Digest {
    /// The digest of `content`.
    pub fn of(algorithm: DigestAlgorithm, content: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        deserializer.deserialize_any(DigestVisitor)
    }
}

struct DigestVisitor;

impl<'de> Visitor<'de> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with algorithm and value, or the hex digits of a SHA-256")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Digest, E> {
        Ok(Digest { algorithm: DigestAlgorithm::Sha256, value: value.to_owned() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Digest, A::Error> {
        #[derive(Deserialize)]
        struct Named {
            algorithm: DigestAlgorithm,
            value: String,
        }
        let Named { algorithm, value } = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Digest { algorithm, value })
    }
}

/// Digests bytes as they come.
#[derive(Debug)]
pub(crate) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub fn new(algorithm: DigestAlgorithm) -> Hasher {
        match algorithm {
            DigestAlgorithm::Blake3 => Hasher::Blake3(Box::default()),
            DigestAlgorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let (algorithm, value) = match self {
            Hasher::Blake3(hasher) => {
                (DigestAlgorithm::Blake3, hex::encode(hasher.finalize().as_bytes()))
            }
            Hasher::Sha256(hasher) => (DigestAlgorithm::Sha256, hex::encode(hasher.finalize())),
        };
        Digest { algorithm, value }
    }
}

/// A digest that could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The object could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// The digest of the first `size_bytes` bytes of an object. Reads the next step while the last one is
/// digested. `on_bytes` gets the number of bytes read so far.
///
/// # Errors
/// [`DigestError`].
pub async fn digest_of(
    folder: &ExportFolder,
    key: &ObjectKey,
    algorithm: DigestAlgorithm,
    size_bytes: u64,
    on_bytes: impl Fn(u64),
) -> Result<Digest, DigestError> {
    let mut read_bytes = 0;
    let mut digesting = tokio::task::spawn_blocking(move || Hasher::new(algorithm));
    while read_bytes < size_bytes {
        let end = size_bytes.min(read_bytes.saturating_add(STEP_BYTES));
        let step = folder.read_range(key, read_bytes..end).await?;
        let mut hasher = settle(digesting).await?;
        read_bytes = end;
        on_bytes(read_bytes);
        digesting = tokio::task::spawn_blocking(move || {
            hasher.update(&step);
            hasher
        });
    }
    Ok(settle(digesting).await?.finish())
}

async fn settle(digesting: tokio::task::JoinHandle<Hasher>) -> Result<Hasher, DigestError> {
    digesting.await.map_err(|_shutdown| DigestError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last from `printf abc | sha256sum`; BLAKE3's are those of its specification.
    #[test]
    fn known_digests() {
        for (algorithm, content, expected) in [
            ("blake3", "", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            ("blake3", "abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            ("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let digest = Digest::of(algorithm.parse().unwrap(), content.as_bytes());
            assert_eq!(
                (digest.algorithm.to_string().as_str(), digest.value.as_str()),
                (algorithm, expected)
            );
        }
        assert!("md5".parse::<DigestAlgorithm>().is_err());
    }

    #[test]
    fn a_digest_names_its_algorithm_and_a_bare_text_is_sha_256() {
        let blake3 = Digest::of(DigestAlgorithm::Blake3, b"");
        let json = serde_json::to_value(&blake3).unwrap();
        assert_eq!(json["algorithm"], "blake3");
        assert_eq!(serde_json::from_value::<Digest>(json).unwrap(), blake3);
        let old: Digest = serde_json::from_str("\"ab\"").unwrap();
        assert_eq!(old, Digest { algorithm: DigestAlgorithm::Sha256, value: "ab".to_owned() });
        for (json, said) in [
            (r#"{"algorithm":"md5","value":"ab"}"#, "unknown variant `md5`"),
            (r#"{"algorithm":"blake3"}"#, "missing field `value`"),
            ("7", "an object with algorithm and value"),
        ] {
            let error = serde_json::from_str::<Digest>(json).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
