//! The bodies of requests and answers about exports.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use offloom_export::{ClassSelection, ClassView, Scope, ShardView};
use offloom_protocol::manifest::{CoveredTenants, Missing, ProgressStatus};
use offloom_protocol::names::ExportId;
use offloom_weaviate_disk::schema::names::capitalised;
use offloom_weaviate_disk::{OnBadObject, PropertySelection, VectorSelection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{ExpectedObject, JsonObject};
use super::client_text::ClientText;
use super::error::ApiError;
use super::schemas;
use crate::guests::ordered::OrderedTransform;
use crate::lookup::{ExportState, ExportView};

/// Names in all lists of one request. Looking each of them up, and giving them to a guest, stays a
/// matter of milliseconds.
pub const MAX_NAMES: usize = 10_000;

/// Body of POST. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateExport, examples(
    json!({ "id": "nightly-1", "include": ["Article"] }),
    json!({ "id": "nightly-2", "properties": { "Article": { "include": ["title"] } }, "vectors": { "Article": "none" } }),
))]
pub struct CreateBody {
    /// The id. It is used once, for ever.
    #[schema(value_type = String, required = true, pattern = "^[a-z0-9_-]+$", min_length = 1, max_length = 128)]
    pub id: Option<String>,
    /// What the export covers.
    #[serde(flatten)]
    pub scope: ScopeBody,
    /// `parquet` or nothing.
    #[schema(schema_with = schemas::parquet_or_nothing)]
    pub file_format: Option<String>,
    /// Where the export is created.
    #[serde(default)]
    #[schema(value_type = Option<Place>)]
    pub config: Option<JsonObject<Place>>,
    /// The exporter: `name`, or one version of it as `name@sha256:...`; of a tenant `Class/T/name`.
    #[serde(default)]
    #[schema(examples("parquet"))]
    pub exporter: Option<String>,
    /// Options of the exporter.
    #[serde(default, rename = "guestOptions")]
    pub guest_options: Option<BTreeMap<String, String>>,
    /// What rows pass before they are encoded, one after the other, after those that the operator requires.
    #[serde(default)]
    #[schema(value_type = Option<Vec<TransformBody>>)]
    pub transforms: Option<Vec<JsonObject<TransformBody>>>,
}

/// A transform of a request.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Transform, examples(json!({ "guest": "redact", "options": { "drop": "email" }, "classes": ["Customer"] })))]
pub struct TransformBody {
    /// The transform: `name`, or one version of it as `name@sha256:...`; of a tenant `Class/T/name`.
    pub guest: String,
    /// Its options.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    /// The classes that it is applied to; without any, all.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
}

impl ExpectedObject for TransformBody {
    const EXPECTED: &'static str = "an object with guest";
}

impl TransformBody {
    fn names(&self) -> usize {
        let options = self.options.as_ref().map_or(0, BTreeMap::len);
        let classes = self.classes.as_ref().map_or(0, Vec::len);
        options.saturating_add(classes).saturating_add(1)
    }

    /// What is ordered.
    pub fn into_order(self) -> OrderedTransform {
        let TransformBody { guest, options, classes } = self;
        let options = options.unwrap_or_default().into_iter().collect();
        OrderedTransform { guest, options, classes: classes.unwrap_or_default() }
    }
}

/// Transforms of one export. Each has an instance in each worker.
pub const MAX_TRANSFORMS: usize = 16;

impl ExpectedObject for Place {
    const EXPECTED: &'static str = "an object with bucket or path";
}

impl ExpectedObject for PropertiesBody {
    const EXPECTED: &'static str = "an object with include or exclude";
}

impl CreateBody {
    /// Refuses more names than [`MAX_NAMES`]: classes, properties, vectors, tenants and options
    /// together.
    ///
    /// # Errors
    /// [`ApiError::Invalid`].
    pub fn check_names(&self) -> Result<(), ApiError> {
        let options = self.guest_options.as_ref().map_or(0, BTreeMap::len);
        let transforms = self.transforms.iter().flatten();
        let transforms = transforms.map(|JsonObject(transform)| transform.names());
        let transforms = transforms.fold(0, usize::saturating_add);
        let count = self.transforms.as_ref().map_or(0, Vec::len);
        if count > MAX_TRANSFORMS {
            return Err(ApiError::Invalid(format!(
                "the request has {count} transforms, and at most {MAX_TRANSFORMS} are taken"
            )));
        }
        let names = self.scope.names().saturating_add(options).saturating_add(transforms);
        if names <= MAX_NAMES {
            return Ok(());
        }
        Err(ApiError::Invalid(format!(
            "the request has {names} names of classes, properties, vectors, tenants, transforms and options, and \
             at most {MAX_NAMES} are taken at once: divide them over several exports"
        )))
    }
}

/// Where an export is created, if not in the server's own place. Also the query of DELETE.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Place {
    /// A bucket other than the default one.
    pub bucket: Option<String>,
    /// A path below the server's own place.
    pub path: Option<String>,
}

/// Query of GET.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// Whether to show all shards, even more than 1,000.
    #[serde(default)]
    pub shards: bool,
    /// A bucket other than the default one.
    pub bucket: Option<String>,
    /// A path below the server's own place.
    pub path: Option<String>,
}

/// Body of every answer about an export.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Export, examples(json!({
    "id": "nightly-1",
    "backend": "s3",
    "path": "s3://my-export-bucket/exports/nightly-1/",
    "status": "SUCCESS",
    "startedAt": "2026-01-28T02:00:00.120Z",
    "completedAt": "2026-01-28T02:03:20.455Z",
    "tookInMs": 200335,
    "classes": ["Article"],
    "progress": {
        "Article": {
            "status": "SUCCESS", "objectsExported": 1200000, "objectsTotal": 1200000, "fileSizeBytes": 7400000000_u64,
        },
    },
    "shardStatus": { "Article": { "aRt1cLe9x8y7": { "status": "SUCCESS", "objectsExported": 1200000 } } },
})))]
pub struct ExportBody {
    /// The id.
    #[schema(value_type = String)]
    id: ExportId,
    /// Kind of store.
    backend: String,
    /// Address of its folder.
    path: String,
    /// STARTED: it waits for its turn. TRANSFERRING: it runs. SUCCESS, FAILED, CANCELED: it has ended, and
    /// this does not change again.
    #[schema(schema_with = schemas::export_status)]
    status: &'static str,
    /// When its id was taken.
    #[schema(format = DateTime)]
    started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    completed_at: Option<String>,
    /// From the start to the end, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    took_in_ms: Option<i64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    /// Its classes, in byte order.
    classes: Vec<String>,
    /// How far each class is.
    progress: BTreeMap<String, ClassBody>,
    /// Whether something is missing that the export was allowed to lack.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    /// What a partial export lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<MissingBody>,
    /// Which tenants the export covers, of the classes of which it does not cover all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schemas::covered_tenants)]
    tenants: BTreeMap<String, CoveredTenants>,
    /// How far each shard (tenant) of each class is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shard_status: Option<BTreeMap<String, BTreeMap<String, ShardBody>>>,
}

/// How far a class is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClassProgress)]
struct ClassBody {
    /// Its state.
    #[schema(schema_with = schemas::class_status)]
    status: ProgressStatus,
    /// Rows written so far.
    objects_exported: u64,
    /// All objects: an estimate until the class is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    objects_total: Option<u64>,
    /// Size of its files so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    file_size_bytes: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// How far a shard (tenant) is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ShardProgress)]
struct ShardBody {
    /// Its state.
    #[schema(schema_with = schemas::shard_status)]
    status: ProgressStatus,
    /// Rows written so far.
    objects_exported: u64,
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    skip_reason: Option<String>,
    /// Why some or all of it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

/// A part of the source that is not in the files.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Missing)]
struct MissingBody {
    /// The class.
    class: String,
    /// The shard (tenant); absent when the whole class is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shard: Option<String>,
    /// How many objects; absent when it is all of the shard, or from some place on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    objects: Option<u64>,
    /// Why.
    reason: String,
}

/// The fields that say what an export covers. Null or absent fields cover everything.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportScope)]
pub struct ScopeBody {
    /// These classes alone. Not together with `exclude`.
    include: Option<Vec<String>>,
    /// All classes but these.
    exclude: Option<Vec<String>>,
    /// Which properties of a class are exported.
    #[schema(schema_with = schemas::property_lists)]
    properties: Option<BTreeMap<String, JsonObject<PropertiesBody>>>,
    /// Which vectors of a class are exported. The one without a name is `default`.
    #[schema(schema_with = schemas::vector_lists)]
    vectors: Option<BTreeMap<String, VectorsBody>>,
    /// Which tenants of a class are exported.
    tenants: Option<BTreeMap<String, BTreeSet<String>>>,
    /// What happens to an object that cannot be decoded; `fail` unless it is given.
    #[schema(schema_with = schemas::bad_object_policy)]
    on_bad_object: Option<String>,
    /// Whether to succeed without shards and classes that cannot be read.
    allow_partial: Option<bool>,
}

/// `{"include": [..]}` or `{"exclude": [..]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PropertiesBody {
    include: Option<BTreeSet<String>>,
    exclude: Option<BTreeSet<String>>,
}

/// `"all"`, `"none"`, or names.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "\"all\", \"none\" or a list of names")]
enum VectorsBody {
    Word(Word),
    Names(BTreeSet<String>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    All,
    None,
}

impl ScopeBody {
    /// Number of names in all its lists.
    fn names(&self) -> usize {
        let classes = [&self.include, &self.exclude].map(|list| list.as_ref().map_or(0, Vec::len));
        let properties = self.properties.iter().flatten().map(|(_, body)| body.0.names());
        let vectors = self.vectors.iter().flatten().map(|(_, body)| body.names());
        let tenants = self.tenants.iter().flatten().map(|(_, names)| names.len());
        // The class is one more.
        let of_class = properties.chain(vectors).chain(tenants);
        classes
            .into_iter()
            .chain(of_class.map(|names| names.saturating_add(1)))
            .fold(0, usize::saturating_add)
    }

    /// The scope of the request. `quarantine_raw` is a setting of the operator.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] for unknown words, contradictions and filters without a list.
    pub fn into_scope(self, quarantine_raw: bool) -> Result<Scope, ApiError> {
        let on_bad_object = self.on_bad_object.as_deref().map(str::parse::<OnBadObject>);
        let on_bad_object = on_bad_object
            .transpose()
            .map_err(|error| ApiError::Invalid(format!("onBadObject {error}")))?;
        let (include, exclude) =
            (self.include.unwrap_or_default(), self.exclude.unwrap_or_default());
        let mut properties = BTreeMap::new();
        for (class, JsonObject(body)) in self.properties.unwrap_or_default() {
            properties.insert(capitalised(&class), body.into_selection(&class)?);
        }
        let vectors = self.vectors.unwrap_or_default().into_iter();
        let tenants = self.tenants.unwrap_or_default().into_iter();
        Ok(Scope {
            classes: ClassSelection::new(&include, &exclude)?,
            properties,
            vectors: vectors
                .map(|(class, body)| Ok((capitalised(&class), body.into_selection(&class)?)))
                .collect::<Result<_, ApiError>>()?,
            tenants: tenants.map(|(class, names)| (capitalised(&class), names)).collect(),
            on_bad_object: on_bad_object.unwrap_or_default(),
            quarantine_raw,
            allow_partial: self.allow_partial.unwrap_or_default(),
        })
    }
}

impl PropertiesBody {
    fn names(&self) -> usize {
        let lists = [&self.include, &self.exclude];
        lists.map(|list| list.as_ref().map_or(0, BTreeSet::len)).into_iter().sum()
    }

    fn into_selection(self, class: &str) -> Result<PropertySelection, ApiError> {
        match (self.include, self.exclude) {
            (Some(names), None) => Ok(PropertySelection::Include(names)),
            (None, Some(names)) => Ok(PropertySelection::Exclude(names)),
            (None, None) | (Some(_), Some(_)) => Err(ApiError::Invalid(format!(
                "properties of the class {class}: give either include or exclude"
            ))),
        }
    }
}

impl VectorsBody {
    fn names(&self) -> usize {
        match self {
            VectorsBody::Word(_) => 0,
            VectorsBody::Names(names) => names.len(),
        }
    }

    fn into_selection(self, class: &str) -> Result<VectorSelection, ApiError> {
        match self {
            VectorsBody::Word(Word::All) => Ok(VectorSelection::All),
            VectorsBody::Word(Word::None) => Ok(VectorSelection::None),
            VectorsBody::Names(names) if names.is_empty() => Err(ApiError::Invalid(format!(
                "vectors of the class {class}: name at least one, or give \"none\""
            ))),
            VectorsBody::Names(names) => Ok(VectorSelection::Named(names)),
        }
    }
}

impl ExportBody {
    /// The answer that shows `view`, with its shards if `with_shards`.
    pub fn new(view: ExportView, with_shards: bool, client_text: &ClientText) -> ExportBody {
        let text = client_text.with_directories(&view.source_directories);
        let shown = |error: Option<String>| error.map(|error| text.of(&error));
        let classes = view.classes.unwrap_or_default();
        let any = classes.iter().any(|class| !class.shards.is_empty());
        let shard_status = (with_shards && any).then(|| {
            let of_class = |class: &ClassView| {
                let body = |shard: &ShardView| (shard.name.clone(), ShardBody::new(shard, &text));
                (class.name.clone(), class.shards.iter().map(body).collect())
            };
            classes.iter().filter(|class| !class.shards.is_empty()).map(of_class).collect()
        });
        let progress = classes.iter().filter_map(|class| {
            let progress = class.progress.clone()?;
            let body = ClassBody {
                status: progress.status,
                objects_exported: progress.objects_exported,
                objects_total: progress.objects_total,
                file_size_bytes: progress.file_size_bytes,
                error: shown(progress.error),
            };
            Some((class.name.clone(), body))
        });
        let progress = progress.collect();
        let status = view.state.name();
        let (end, missing) = match view.state {
            ExportState::Ended { end, missing } => (Some(end), missing),
            ExportState::Started | ExportState::Transferring => (None, Vec::new()),
        };
        let missing = missing.into_iter().map(|missing| MissingBody::new(missing, &text)).collect();
        // The list is known only where the manifest can be read.
        let partial = end.as_ref().is_some_and(|end| end.partial);
        let completed_at = end.as_ref().map(|end| end.completed_at);
        // The difference of the times as they are shown, in whole milliseconds; none if the clock was set
        // back meanwhile.
        let started_ms = view.started_at.timestamp_millis();
        let took = completed_at.map(|at| at.timestamp_millis().saturating_sub(started_ms).max(0));
        ExportBody {
            id: view.id,
            backend: view.backend,
            status,
            started_at: rfc3339(view.started_at),
            completed_at: completed_at.map(rfc3339),
            took_in_ms: took,
            error: shown(end.and_then(|end| end.error)),
            classes: classes.iter().map(|class| class.name.clone()).collect(),
            progress,
            partial,
            missing,
            tenants: view.tenants,
            shard_status,
            path: view.path,
        }
    }
}

impl MissingBody {
    fn new(missing: Missing, text: &ClientText) -> MissingBody {
        let Missing { class, shard, objects, reason } = missing;
        MissingBody { class, shard, objects, reason: text.of(&reason) }
    }
}

impl ShardBody {
    fn new(shard: &ShardView, text: &ClientText) -> ShardBody {
        ShardBody {
            status: shard.status,
            objects_exported: shard.objects_exported,
            skip_reason: shard.skip_reason.as_deref().map(|reason| text.of(reason)),
            error: shard.error.as_deref().map(|error| text.of(error)),
        }
    }
}

pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
