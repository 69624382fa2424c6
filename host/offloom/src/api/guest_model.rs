//! The bodies of requests and answers about guests.
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use offloom_export::{ClassSelection, MAX_TRIAL_ROWS, Scope, Tried};
use offloom_weaviate_disk::schema::names::capitalised;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
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

/// Body of a request to try a guest.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TryGuest, examples(json!({ "class": "Article", "rows": 5, "options": { "drop": "email" } })))]
pub struct TryBody {
    /// The class whose first rows are read.
    pub class: String,
    /// One tenant of it.
    #[serde(default)]
    pub tenant: Option<String>,
    /// How many rows are read, 10 unless it is given.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(minimum = 1, maximum = 1000)]
    pub rows: Option<u32>,
    /// Options of the guest.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// A version other than the active one.
    #[serde(default)]
    pub digest: Option<String>,
}

/// `5` and `5.0`: JSON Schema takes both for integers.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
        return Ok(Some(number as u32));
    }
    Err(D::Error::custom(format!("rows is {number}, which is no whole number of rows")))
}

impl TryBody {
    /// The class, and what is read of it. A tenant's guest reads its tenant alone.
    ///
    /// # Errors
    /// [`ApiError::Invalid`].
    pub fn scope(&self, owner: &Owner) -> Result<(String, Scope), ApiError> {
        let (max, rows) = (MAX_TRIAL_ROWS, self.rows.unwrap_or(1));
        if !(1..=max).contains(&rows) {
            return Err(ApiError::Invalid(format!("rows is {rows}, and may be 1 to {max}")));
        }
        let class = capitalised(&self.class);
        let mut tenant = self.tenant.clone();
        if let Owner::Tenant { class: own, tenant: of } = owner {
            if class != *own || tenant.as_ref().is_some_and(|tenant| tenant != of) {
                let message = format!("the guest is of {owner}: try it on rows of that tenant");
                return Err(ApiError::Invalid(message));
            }
            tenant = Some(of.clone());
        }
        let tenants = tenant.map(|tenant| (class.clone(), [tenant].into()));
        let scope = Scope {
            classes: ClassSelection::Include([class.clone()].into()),
            tenants: tenants.into_iter().collect(),
            ..Scope::default()
        };
        Ok((class, scope))
    }
}

/// What a guest did in a trial.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TriedGuest)]
pub struct TriedBody {
    /// SHA-256 of the version that was tried.
    digest: String,
    /// Rows that were read.
    rows_in: u64,
    /// Rows that stayed.
    rows_kept: u64,
    /// Rows that it refused.
    rows_refused: u64,
    /// Their ids, with the reasons.
    refused: Vec<RefusedBody>,
    /// The rows that stayed, of a transform. Long vectors are shortened.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// What it counted.
    counters: BTreeMap<String, u64>,
    /// The file, of an exporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    file: Option<TriedFileBody>,
    /// From the first row to the last, in microseconds.
    wall_us: u64,
    /// Processor time of the guest, in microseconds.
    processor_us: u64,
    /// Memory of its instance.
    memory_bytes: u64,
}

/// A row that a guest refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedRow)]
struct RefusedBody {
    /// Id of its object.
    id: String,
    /// Why.
    reason: String,
}

/// The file of a trial.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TriedFile)]
struct TriedFileBody {
    /// The name of its format.
    format: String,
    /// Its size.
    size_bytes: u64,
    /// Its first bytes, at most 64 KiB, in Base64.
    head: String,
}

impl TriedBody {
    /// The answer.
    pub fn new(digest: String, tried: Tried) -> TriedBody {
        let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let refused = tried.refused.into_iter();
        TriedBody {
            digest,
            rows_in: tried.rows_in,
            rows_kept: tried.rows_kept,
            rows_refused: tried.rows_refused,
            refused: refused.map(|(id, reason)| RefusedBody { id, reason }).collect(),
            rows: tried.rows,
            counters: tried.counters,
            file: tried.file.map(|file| TriedFileBody {
                format: file.format,
                size_bytes: file.size_bytes,
                head: STANDARD.encode(&file.head),
            }),
            wall_us: microseconds(tried.wall),
            processor_us: microseconds(tried.processor),
            memory_bytes: tried.memory_bytes as u64,
        }
    }
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
