//! The bodies of requests and answers about exports.
use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use offloom_export::{ClassView, ShardView};
use offloom_protocol::manifest::{ClassFile, CoveredTenants, Missing, ProgressStatus};
use offloom_protocol::names::ExportId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{ExpectedObject, JsonObject};
use super::client_text::ClientText;
use super::error::ApiError;
use super::schemas;
use super::scope_model::ScopeBody;
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
    /// Whether to answer what would be exported, and to start nothing. It needs no id.
    #[serde(default, rename = "dryRun")]
    pub dry_run: Option<bool>,
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

/// A parameter that is on without a value: `?watch`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    #[default]
    False,
    #[serde(alias = "")]
    True,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        matches!(self, Switch::True)
    }
}

/// Query of GET.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// Whether to answer with server-sent events until the export ends. It needs no value.
    #[serde(default)]
    #[param(value_type = bool, required = false)]
    pub watch: Switch,
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
    /// Its files with rows, once it has ended: class by class, in the order of their rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileBody>,
    /// Which tenants the export covers, of the classes of which it does not cover all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schemas::covered_tenants)]
    tenants: BTreeMap<String, CoveredTenants>,
    /// How far each shard (tenant) of each class is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    shard_status: Option<BTreeMap<String, BTreeMap<String, ShardBody>>>,
}

/// A file with rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportFile)]
struct FileBody {
    /// Its class.
    class: String,
    /// Its name in the folder of the export.
    key: String,
    /// Its rows.
    rows: u64,
    /// Its size.
    size_bytes: u64,
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
            files: view.files.into_iter().map(FileBody::from).collect(),
            tenants: view.tenants,
            shard_status,
            path: view.path,
        }
    }
}

impl From<ClassFile> for FileBody {
    fn from(ClassFile { class, key, rows, size_bytes, .. }: ClassFile) -> FileBody {
        FileBody { class, key, rows, size_bytes }
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
