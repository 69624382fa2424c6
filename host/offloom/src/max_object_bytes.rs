//! The setting `max_object_bytes`: a size such as `100MiB`, within the range that an export can have.
use std::str::FromStr;

use bytesize::ByteSize;
use offloom_rows::ObjectLimit;
use serde::{Deserialize, Serialize, Serializer};

/// The largest object that is exported. As text a number of bytes, or one with a unit: `K`, `M` and `G`
/// are powers of 1,000, `KiB`, `MiB` and `GiB` powers of 1,024. In a file it may be a number too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ByteSize")]
pub struct MaxObjectBytes(pub ObjectLimit);

impl TryFrom<ByteSize> for MaxObjectBytes {
    type Error = offloom_rows::OutOfRange;

    fn try_from(size: ByteSize) -> Result<MaxObjectBytes, Self::Error> {
        ObjectLimit::new(size.as_u64()).map(MaxObjectBytes)
    }
}

impl Serialize for MaxObjectBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl FromStr for MaxObjectBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxObjectBytes, String> {
        let size: ByteSize = text.parse().map_err(|_| {
            format!(
                "expected a size such as 100MiB, from {} to {}",
                ObjectLimit::LEAST,
                ObjectLimit::LARGEST
            )
        })?;
        MaxObjectBytes::try_from(size).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_none() {
        for (text, bytes) in [
            ("33554432", 32 << 20),
            ("100MiB", 100 << 20),
            ("100 mib", 100 << 20),
            ("64M", 64_000_000),
            ("64MB", 64_000_000),
            ("0.5GiB", 512 << 20),
        ] {
            let parsed: MaxObjectBytes = text.parse().unwrap();
            assert_eq!(parsed.0.row_bytes(), bytes, "{text}");
        }
        for text in ["", "x", "-1", "64 parsecs", "0", "1GiB", "99999999999999999999999", "NaN"] {
            let refused = text.parse::<MaxObjectBytes>().unwrap_err();
            assert!(refused.contains("1 MiB to 512 MiB"), "{text}: {refused}");
        }
    }
}
