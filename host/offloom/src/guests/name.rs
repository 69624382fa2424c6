//! Names of guests: what they may be, and how a request refers to one.
use std::fmt;
use std::str::FromStr;

/// The longest name.
const MAX_NAME_BYTES: usize = 63;

/// Hex digits of a digest.
const DIGEST_DIGITS: usize = 64;

/// Who a guest belongs to, and may use it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The operator: everybody may use it.
    Operator,
    /// A tenant: who may read the tenant may use it, on the rows of the tenant alone.
    Tenant {
        /// Exact name of the class.
        class: String,
        /// The tenant.
        tenant: String,
    },
}

/// A name that no guest can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is no {what}", .text.escape_debug())]
pub struct BadName {
    text: String,
    what: &'static str,
}

/// What a name may be.
const NAME: &str = "name of a guest: a letter a-z, then at most 62 of a-z, 0-9 and -";
const TENANT: &str = "tenant: write Class/Tenant";
const DIGEST: &str = "digest: write sha256: and 64 hex digits";

/// The name of a guest, `^[a-z][a-z0-9-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestName(String);

impl GuestName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for GuestName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<GuestName, BadName> {
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if begins && text.len() <= MAX_NAME_BYTES && text.bytes().all(allowed) {
            return Ok(GuestName(text.to_owned()));
        }
        Err(bad(text, NAME))
    }
}

/// A digest, as 64 lower-case hex digits; written with `sha256:` before them or without.
pub fn parse_digest(text: &str) -> Result<String, BadName> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() == DIGEST_DIGITS && is_hex {
        Ok(digits.to_owned())
    } else {
        Err(bad(text, DIGEST))
    }
}

impl Owner {
    /// The owner that `?tenant=Class/T` names.
    pub fn of_query(tenant: Option<&str>) -> Result<Owner, BadName> {
        tenant.map_or(Ok(Owner::Operator), |text| {
            let (class, tenant) = text.split_once('/').ok_or_else(|| bad(text, TENANT))?;
            Owner::tenant(class, tenant).ok_or_else(|| bad(text, TENANT))
        })
    }

    fn tenant(class: &str, tenant: &str) -> Option<Owner> {
        let fits = !class.is_empty() && !tenant.is_empty() && !tenant.contains('/');
        let class = offloom_weaviate_disk::schema::names::capitalised(class);
        fits.then(|| Owner::Tenant { class, tenant: tenant.to_owned() })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Operator => Ok(()),
            Owner::Tenant { class, tenant } => write!(formatter, "{class}/{tenant}"),
        }
    }
}

/// How a request refers to a guest: `name`, `name@sha256:...`, and of a tenant `Class/T/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestReference {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: GuestName,
    /// One version; the active one if it is absent.
    pub digest: Option<String>,
}

impl FromStr for GuestReference {
    type Err = BadName;

    fn from_str(text: &str) -> Result<GuestReference, BadName> {
        let (path, digest) = match text.split_once('@') {
            Some((path, digest)) => (path, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (owner, name) = match path.rsplit_once('/') {
            Some((owner, name)) => (Owner::of_query(Some(owner))?, name),
            None => (Owner::Operator, path),
        };
        Ok(GuestReference { owner, name: name.parse()?, digest })
    }
}

fn bad(text: &str, what: &'static str) -> BadName {
    let text = text.chars().take(MAX_NAME_BYTES.saturating_mul(4)).collect();
    BadName { text, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_letter_first_and_63_bytes_at_most() {
        for name in ["a", "redact", "a-1-", &"x".repeat(63)] {
            assert_eq!(name.parse::<GuestName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "1a", "A", "a_b", "a.b", "é", "a b", &"x".repeat(64), "../a"] {
            assert!(name.parse::<GuestName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_reference_has_an_owner_a_name_and_a_version() {
        let digest = "ab".repeat(32);
        let reference = |text: &str| text.parse::<GuestReference>().unwrap();
        let plain = reference("mine");
        assert_eq!(
            (plain.owner, plain.name.as_str(), plain.digest),
            (Owner::Operator, "mine", None)
        );
        assert_eq!(reference(&format!("mine@sha256:{digest}")).digest, Some(digest.clone()));
        let of_tenant = reference(&format!("shelf/north/mine@{digest}"));
        assert_eq!(of_tenant.owner.to_string(), "Shelf/north");
        for wrong in ["", "@", "a@", "a@sha256:12", "a/b", "/b/c", "a//c", "A", "a@b@c"] {
            assert!(wrong.parse::<GuestReference>().is_err(), "{wrong}");
        }
    }
}
