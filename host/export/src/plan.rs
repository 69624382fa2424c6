//! Which classes are exported: the scope is checked against the classes that exist, then the guest
//! chooses among them.
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use offloom_protocol::digest::DigestAlgorithm;
use offloom_protocol::manifest::{CoveredTenants, Missing};
use offloom_protocol::names::ExportId;
use offloom_protocol::store::Destination;
use offloom_rows::ObjectLimit;
use offloom_sandbox::{
    Format, GuestError, GuestOptions, GuestRun, InstanceQuota, OfferedClass, Selection,
};
use offloom_weaviate_disk::{Class, ClassEstimate, DataDirectory, ReadOptions, name_list};
use tokio::task::JoinError;

use crate::lease::Lease;
use crate::scope::{ClassSelection, Scope, ScopeError};
use crate::transforms::{
    ClassChain, ExportSteps, TransformStep, TransformsError, class_chain, export_steps, shown,
};
use crate::unreadable::{self, UnreadableClasses};
use crate::workers::Workers;

/// Why a scope does not make an export.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A class that was named does not exist.
    #[error("class {class} does not exist; there is {known}")]
    UnknownClass {
        /// The exact name that was looked for.
        class: String,
        /// The classes that exist and may be read, as text.
        known: String,
    },
    /// The scope is invalid.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Classes cannot be read, or not all of them.
    #[error(transparent)]
    Unreadable(#[from] UnreadableClasses),
    /// Nothing is left to export.
    #[error("nothing to export: {reason}")]
    Nothing {
        /// Why.
        reason: &'static str,
    },
    /// The guest failed to choose.
    #[error("the guest could not plan the export: {0}")]
    Guest(#[from] GuestError),
    /// A transform refuses a class, or fails.
    #[error(transparent)]
    Transforms(#[from] TransformsError),
    /// The exporter writes another format than was asked for.
    #[error("file_format '{asked}' was asked for, and the exporter {exporter} writes {written}")]
    FileFormat {
        /// The format that was asked for.
        asked: String,
        /// The name of the exporter.
        exporter: String,
        /// What it writes.
        written: String,
    },
    /// More guests of a tenant than may have an instance at once.
    #[error(
        "the export has {needed} guests of the tenant, and it may have {allowed} instances at once"
    )]
    Quota {
        /// Guests.
        needed: u32,
        /// Instances.
        allowed: u32,
    },
    /// The estimate of the data directory or the guest panicked, or its runtime stopped.
    #[error("planning was stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// A class that will be exported.
#[derive(Clone)]
pub struct PlannedClass {
    /// The class as it lies on disk, with the tenants that are exported.
    pub class: Class,
    /// Which parts of its objects are read.
    pub reading: ReadOptions,
    /// Estimated number of objects; it may include replaced and deleted ones.
    pub objects_estimate: u64,
    /// Estimated bytes of its rows as they are stored.
    pub raw_bytes: u64,
    /// What its rows pass before they are encoded.
    pub(crate) chain: ClassChain,
}

/// An authorized request whose classes are chosen. Nothing is written yet.
pub struct Planned {
    /// Id of the export, also the name of its folder.
    pub id: ExportId,
    /// The one who asked for it, such as `db:alice`.
    pub principal: Option<String>,
    /// Where the folder is created.
    pub destination: Destination,
    /// How the files are digested.
    pub digest: DigestAlgorithm,
    /// What is read.
    pub directory: DataDirectory,
    /// What it covers.
    pub(crate) scope: Scope,
    /// Of those classes of which the one who asked may read some tenants alone, those tenants.
    pub(crate) narrowed: BTreeMap<String, BTreeSet<String>>,
    /// The classes to export, in byte order of their names.
    pub classes: Vec<PlannedClass>,
    /// Warnings of the data directory, with which the manifest's begin. They name only classes of the
    /// export.
    pub directory_warnings: Vec<String>,
    /// What a partial export leaves out of them, and the classes that it leaves out.
    pub missing: Vec<Missing>,
    /// Which tenants it covers of the classes of which it does not cover all.
    pub tenants: BTreeMap<String, CoveredTenants>,
    /// The name of the exporter.
    pub exporter: String,
    /// What kind of files the exporter writes.
    pub format: Format,
    /// What is held for as long as the guests are used.
    pub(crate) _leases: Vec<Lease>,
    /// This export's handle of the exporter.
    pub guest: GuestRun,
    /// Options of the exporter.
    pub options: GuestOptions,
    /// They without secrets.
    pub shown_options: BTreeMap<String, String>,
    /// The transforms, the operator's first.
    pub(crate) steps: ExportSteps,
    /// Whether an export that lacks shards that cannot be read is a success.
    pub allow_partial: bool,
}

impl Planned {
    /// Exact names of its classes.
    pub fn class_names(&self) -> Vec<String> {
        self.classes.iter().map(|planned| planned.class.name.to_string()).collect()
    }

    /// The quotas of its guests, one for each guest that has one. All are of one owner, since an export
    /// with guests of a tenant is of that tenant alone.
    pub(crate) fn guests_with_quota(&self) -> Vec<&InstanceQuota> {
        quotas(&self.guest, &self.steps)
    }
}

/// What may be read of a data directory.
pub(crate) struct Readable {
    /// The classes, each with the tenants that may be read.
    pub classes: Vec<Class>,
    /// Those of them of which only some tenants may be read.
    pub narrowed: BTreeSet<String>,
}

/// How many classes an export must have to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtLeast {
    /// One.
    OneClass,
    /// None: the others are complete already.
    NoClass,
}

/// The guests of an export.
pub(crate) struct Guests<'a> {
    pub exporter: &'a GuestRun,
    /// Options of the exporter.
    pub options: &'a GuestOptions,
    pub transforms: Vec<TransformStep>,
}

/// Checks the scope against `readable`, which is of `directory`, estimates the
/// remaining ones, and lets the guest choose. An excluded class that does not exist is ignored. Classes
/// of which nothing can be read are left out of a partial export.
///
/// # Errors
/// [`PlanError`].
pub(crate) async fn plan(
    directory: &DataDirectory,
    readable: Readable,
    guests: Guests<'_>,
    scope: Scope,
    workers: &Workers,
    at_least: AtLeast,
) -> Result<Selected, PlanError> {
    let Guests { exporter: guest, options, transforms } = guests;
    let allow_partial = scope.allow_partial;
    let (directory, limit) = (directory.clone(), guest.object_limit());
    let steps = export_steps(transforms, workers).await?;
    check_quota(guest, &steps)?;
    if at_least == AtLeast::NoClass && readable.classes.is_empty() {
        let (classes, missing) = (Vec::new(), Vec::new());
        let (tenants, shown_options) = (BTreeMap::new(), BTreeMap::new());
        return Ok(Selected { classes, missing, tenants, steps, shown_options });
    }
    let of_request: Vec<String> = steps
        .iter()
        .filter(|step| !step.required)
        .flat_map(|step| step.reach.named_classes().cloned())
        .collect();
    // Names, classes and tenants may be many, so it is not for a thread that answers requests.
    let checking = move || candidates(&directory, &readable, &scope, &of_request, limit);
    let candidates = tokio::task::spawn_blocking(checking).await??;
    let Candidates { classes, selection, some_tenants } = candidates;
    let offered: Vec<OfferedClass> = classes
        .iter()
        .map(|planned| OfferedClass {
            name: planned.class.name.to_string(),
            multi_tenant: planned.class.multi_tenant,
            object_count: Some(planned.objects_estimate),
        })
        .collect();
    let (guest, given) = (guest.clone(), options.clone());
    let planning = async move {
        let chosen = guest.plan(&offered, &selection, &given).await?;
        Ok::<_, GuestError>((chosen, guest.about().await?))
    };
    let (chosen, about) = workers.call(planning).await??;
    let chosen: BTreeSet<String> = chosen.into_iter().collect();
    if chosen.is_empty() {
        return Err(PlanError::Nothing { reason: "the guest chose no class" });
    }
    let chosen = classes.into_iter().filter(|planned| chosen.contains(&*planned.class.name));
    let mut readable = select_readable(chosen.collect(), &some_tenants, allow_partial)?;
    for planned in &mut readable.classes {
        planned.chain = class_chain(&planned.class, &steps, workers).await?;
    }
    let ReadableClasses { classes, missing, tenants } = readable;
    let shown_options = shown(options, &about);
    Ok(Selected { classes, missing, tenants, steps, shown_options })
}

fn quotas<'a>(exporter: &'a GuestRun, steps: &'a ExportSteps) -> Vec<&'a InstanceQuota> {
    let transforms = steps.iter().filter_map(|step| step.run.quota());
    exporter.quota().into_iter().chain(transforms).collect()
}

/// A worker needs an instance of each guest at once.
fn check_quota(exporter: &GuestRun, steps: &ExportSteps) -> Result<(), PlanError> {
    let quotas = quotas(exporter, steps);
    let needed = u32::try_from(quotas.len()).unwrap_or(u32::MAX);
    match quotas.first().map(|quota| quota.total()).filter(|allowed| needed > *allowed) {
        Some(allowed) => Err(PlanError::Quota { needed, allowed }),
        None => Ok(()),
    }
}

/// What a guest chooses among.
struct Candidates {
    classes: Vec<PlannedClass>,
    selection: Selection,
    /// Those of which not all tenants are covered.
    some_tenants: BTreeSet<String>,
}

/// The readable classes that the scope covers. Blocking.
fn candidates(
    directory: &DataDirectory,
    readable: &Readable,
    scope: &Scope,
    transformed: &[String],
    limit: ObjectLimit,
) -> Result<Candidates, PlanError> {
    let Readable { classes: readable, narrowed } = readable;
    let names: HashSet<&str> = readable.iter().map(|class| &*class.name).collect();
    let named = scope.named_classes().into_iter().chain(transformed);
    if let Some(class) = named.into_iter().find(|name| !names.contains(name.as_str())) {
        return Err(PlanError::UnknownClass { class: class.clone(), known: known(readable) });
    }
    let covered = covered(&scope.classes, readable);
    if covered.is_empty() {
        let reason = if readable.is_empty() {
            "the data directory holds no classes"
        } else {
            "every class is excluded"
        };
        return Err(PlanError::Nothing { reason });
    }
    scope.check_classes(&covered, transformed)?;
    let applied = covered
        .into_iter()
        .map(|class| scope.apply(class, limit))
        .collect::<Result<Vec<_>, _>>()?;
    let classes = applied
        .into_iter()
        .map(|(class, reading)| {
            let ClassEstimate { objects, raw_bytes } = directory.estimate(&class);
            let chain = ClassChain { steps: Arc::new([]), schema: class.row_schema() };
            PlannedClass { class, reading, objects_estimate: objects, raw_bytes, chain }
        })
        .collect();
    let selection = selection_for_guest(&scope.classes, &names);
    let some_tenants = narrowed.iter().chain(scope.tenants.keys()).cloned().collect();
    Ok(Candidates { classes, selection, some_tenants })
}

/// Those of `classes` that the selection covers. Without a schema, the name of a class that cannot be
/// read comes from its directory, which does not have its case.
fn covered(selection: &ClassSelection, classes: &[Class]) -> Vec<Class> {
    let excluded: HashSet<String> = match selection {
        ClassSelection::Exclude(names) => {
            names.iter().map(|name| name.to_ascii_lowercase()).collect()
        }
        ClassSelection::All | ClassSelection::Include(_) => HashSet::new(),
    };
    let is_guessed = |class: &Class| class.definition.is_none() && !class.faults.is_empty();
    let is_covered = |class: &&Class| {
        selection.covers(&class.name)
            && !(is_guessed(class) && excluded.contains(&class.name.to_ascii_lowercase()))
    };
    classes.iter().filter(is_covered).cloned().collect()
}

/// The classes of an export, and what is left out.
pub(crate) struct Selected {
    /// The classes that are exported.
    pub classes: Vec<PlannedClass>,
    /// What a partial export leaves out of them, and the classes that it leaves out.
    pub missing: Vec<Missing>,
    /// Which tenants it covers of the classes of which it does not cover all.
    pub tenants: BTreeMap<String, CoveredTenants>,
    /// The transforms, the operator's first.
    pub steps: ExportSteps,
    /// The options of the exporter without secrets.
    pub shown_options: BTreeMap<String, String>,
}

/// The classes that can be read of those that were chosen.
struct ReadableClasses {
    classes: Vec<PlannedClass>,
    missing: Vec<Missing>,
    tenants: BTreeMap<String, CoveredTenants>,
}

fn select_readable(
    chosen: Vec<PlannedClass>,
    some_tenants: &BTreeSet<String>,
    allow_partial: bool,
) -> Result<ReadableClasses, UnreadableClasses> {
    let is_faulty = |planned: &&PlannedClass| !planned.class.faults.is_empty();
    let faulty: Vec<Class> =
        chosen.iter().filter(is_faulty).map(|planned| planned.class.clone()).collect();
    // A class whose shards are known in part is exported in part.
    let has_rows =
        |planned: &PlannedClass| planned.class.faults.is_empty() || planned.class.has_shards();
    let missing = faulty.iter().map(|class| Missing {
        class: class.name.to_string(),
        shard: None,
        objects: None,
        reason: unreadable::reason(class),
    });
    let missing = missing.collect();
    let classes: Vec<PlannedClass> = chosen.into_iter().filter(has_rows).collect();
    if faulty.is_empty() || (allow_partial && !classes.is_empty()) {
        let covered = classes.iter().map(|planned| &planned.class);
        let covered = covered.filter(|class| some_tenants.contains(&*class.name));
        let tenants = covered.map(|class| (class.name.to_string(), covered_tenants(class)));
        let tenants = tenants.collect();
        return Ok(ReadableClasses { classes, missing, tenants });
    }
    Err(UnreadableClasses::new(faulty, !classes.is_empty()))
}

fn covered_tenants(class: &Class) -> CoveredTenants {
    CoveredTenants::of(class.shards.iter().map(|shard| shard.name.to_string()).collect())
}

/// The selection as the guest sees it: without excluded classes that do not exist or may not be
/// read.
fn selection_for_guest(classes: &ClassSelection, readable: &HashSet<&str>) -> Selection {
    let is_readable = |name: &&String| readable.contains(name.as_str());
    match classes {
        ClassSelection::All => Selection::default(),
        ClassSelection::Include(names) => {
            Selection { include: names.iter().cloned().collect(), exclude: Vec::new() }
        }
        ClassSelection::Exclude(names) => Selection {
            include: Vec::new(),
            exclude: names.iter().filter(is_readable).cloned().collect(),
        },
    }
}

/// At most twenty names, so that the message stays readable.
fn known(classes: &[Class]) -> String {
    const SHOWN: usize = 20;
    if classes.is_empty() {
        return "no class at all".to_owned();
    }
    name_list(classes.iter().map(|class| &*class.name), SHOWN)
}
