//! The bodies of requests and answers about guests.
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::rfc3339;
use crate::built_in;
use crate::guests::details::Details;
use crate::guests::name::{GuestName, Owner};
use crate::guests::store::GuestEntry;

/// Whose guest it is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnerQuery {
    /// `Class/Tenant`, for a guest of one tenant.
    pub tenant: Option<String>,
}

/// Query of PUT.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PushQuery {
    /// `Class/Tenant`, for a guest of one tenant.
    pub tenant: Option<String>,
    /// Whether the version is active at once.
    #[serde(default)]
    pub activate: bool,
}

/// Body of a request to activate a version.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ActivateGuest, examples(json!({ "digest": "sha256:3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea" })))]
pub struct ActivateBody {
    /// The SHA-256 of the component, with `sha256:` before it or without.
    pub digest: String,
}

/// All guests that the caller may use.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Guests)]
pub struct GuestList {
    /// Those of the program first.
    pub guests: Vec<GuestBody>,
}

/// A guest.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Guest)]
pub struct GuestBody {
    /// Its name.
    name: String,
    /// `Class/Tenant`, if it is of one tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<String>,
    /// `exporter` or `transform`.
    kind: String,
    /// Whether it is part of the program.
    built_in: bool,
    /// SHA-256 of the version that the name alone means; absent in lists for guests of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    active: Option<String>,
    /// SHA-256 of the version that the request was about, where it need not be the active one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    digest: Option<String>,
    /// All versions, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<VersionBody>,
    /// What the active version says and does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    details: Option<Details>,
}

/// A version of a guest.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GuestVersion)]
struct VersionBody {
    /// SHA-256 of the component.
    digest: String,
    /// Its size.
    size_bytes: u64,
    /// When it came.
    #[schema(format = DateTime)]
    pushed_at: String,
    /// Who sent it.
    pushed_by: String,
    /// Whether it has a signature.
    signed: bool,
}

impl GuestBody {
    /// A guest of the program.
    pub fn built_in(name: &str) -> GuestBody {
        let kind = if built_in::exporter(name).is_some() { "exporter" } else { "transform" };
        GuestBody {
            name: name.to_owned(),
            tenant: None,
            kind: kind.to_owned(),
            built_in: true,
            active: None,
            digest: None,
            versions: Vec::new(),
            details: None,
        }
    }

    /// A guest that was pushed.
    pub fn stored(owner: &Owner, name: &GuestName, entry: &GuestEntry) -> GuestBody {
        let tenant = match owner {
            Owner::Operator => None,
            Owner::Tenant { .. } => Some(owner.to_string()),
        };
        let versions = entry.versions.iter().map(|version| VersionBody {
            digest: version.digest.clone(),
            size_bytes: version.size_bytes,
            pushed_at: rfc3339(version.pushed_at),
            pushed_by: version.pushed_by.clone(),
            signed: version.signature.is_some(),
        });
        GuestBody {
            name: name.to_string(),
            tenant,
            kind: entry.kind.clone(),
            built_in: false,
            active: Some(entry.active.clone()),
            digest: None,
            versions: versions.collect(),
            details: None,
        }
    }

    /// The answer about one version.
    pub fn of_version(self, digest: String) -> GuestBody {
        GuestBody { digest: Some(digest), ..self }
    }

    /// With what the active version says and does.
    pub fn with_details(self, details: Details) -> GuestBody {
        let active = Some(details.digest.clone());
        GuestBody { active, details: Some(details), ..self }
    }
}
