//! Carries an interrupted export on: from its journal, or, where that is not at hand, by taking it over.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offloom_protocol::access::PassedChecks;
use offloom_protocol::claim::Claim;
use offloom_protocol::error::StoreError;
use offloom_protocol::manifest::{
    ClassProgress, Guest, Manifest, ManifestError, ProgressStatus, Resumed, Source,
};
use offloom_protocol::names::{Attempt, NameError, ObjectKey};
use offloom_protocol::store::{Destination, ExportFolder};
use offloom_protocol::take_over::{OwnError, Owned, abort_others, carry_on, take_over};
use offloom_protocol::upload_log::LogError;
use offloom_weaviate_disk::{Class, DataDirectory};

use crate::authorize::Authorized;
use crate::claim::{Claimed, Kept, owner};
use crate::commit::{CommitError, commit};
use crate::ended_class::EndedClass;
use crate::journal::{Journal, JournalError, JournalPlan, JournalStore, PlannedGuest, Records};
use crate::plan::{AtLeast, Planned};
use crate::progress::Status;
use crate::request::{NamedExporter, Request, RequestError};
use crate::scope::{ClassSelection, Scope};
use crate::transfer::Carried;
use crate::transforms::TransformStep;
use crate::workers::Workers;

/// Why an export cannot be carried on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Its journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its journal cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It has ended, or its manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The export could not be made this process's own.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// A guest is not the one that the export began with.
    #[error(
        "the export began with the guest {name} {began}, and there is {found}: files of one export are \
         written by one version"
    )]
    OtherGuest {
        /// Its name.
        name: String,
        /// Its digest when the export began.
        began: String,
        /// What there is now.
        found: String,
    },
    /// A guest that it began with is gone.
    #[error("{0}")]
    Guest(String),
    /// What the operator requires has changed.
    #[error("the transforms that the operator requires are not those that the export began with")]
    OtherTransforms,
    /// The rest cannot be planned.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The name of a class cannot be part of an object key.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl ResumeError {
    /// Whether it may go when the export is tried again later: the store or the state directory is away.
    pub fn may_recover(&self) -> bool {
        match self {
            ResumeError::Log(_) | ResumeError::Store(_) => true,
            ResumeError::Manifest(error) => matches!(error, ManifestError::Store(_)),
            ResumeError::Own(error) => error.may_recover(),
            ResumeError::Request(error) => matches!(error, RequestError::Store(_)),
            _ => false,
        }
    }
}

/// What an export that is carried on uses.
pub struct Means<'a> {
    /// What is read.
    pub directory: DataDirectory,
    /// The exporter, as it is now.
    pub exporter: &'a NamedExporter,
    /// The transforms, as they are now, in their order.
    pub transforms: Vec<TransformStep>,
    /// What is remembered of stores.
    pub passed: &'a PassedChecks,
    /// The workers.
    pub workers: &'a Workers,
    /// Is announced the classes.
    pub status: &'a Status,
    /// Where the records are.
    pub journal: Arc<dyn JournalStore>,
}

/// An export that was interrupted, as its journal has it.
#[derive(Debug, Clone)]
pub struct Interrupted(Records);

impl Interrupted {
    /// Reads the records of a journal; `None` without a plan: nothing was asked of the store yet.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(records: BTreeMap<String, Vec<u8>>) -> Result<Option<Interrupted>, JournalError> {
        Ok(Records::read(records)?.map(Interrupted))
    }

    /// What was asked for.
    pub fn plan(&self) -> &JournalPlan {
        &self.0.plan
    }

    /// Carries the export on as its next attempt. Classes that are complete stay as they are.
    ///
    /// # Errors
    /// [`ResumeError`]. After one that may recover, try again.
    pub async fn resume(self, means: Means<'_>) -> Result<Claimed, ResumeError> {
        let Interrupted(records) = self;
        let plan = &records.plan;
        check_guests(plan, means.exporter, &means.transforms)?;
        let destination = Destination::parse(&plan.destination)?;
        let folder = destination.export_folder(&plan.id)?.with_digest(plan.digest);
        let journal = Journal::new(Arc::clone(&means.journal), BTreeMap::new());
        // First, because an export that cannot be planned is left to another attempt.
        let planned = plan_rest(&records, destination, &means).await?;
        let Owned { attempt, tombstone } = own(&folder, &records, &journal).await?;
        let folder = folder.with_attempt(attempt, plan.names);
        let there: BTreeSet<String> =
            folder.list(usize::MAX).await?.into_iter().map(|object| object.key).collect();
        let names = planned.class_names();
        let (mut renamed, mut continuable) = (BTreeSet::new(), BTreeSet::new());
        for class in &names {
            // A class that is not complete has no later file than this one, or it is begun again.
            let key = ObjectKey::class_file(class, 1, &planned.format.extension, plan.names)?;
            if there.contains(key.as_str()) {
                renamed.insert(class.clone());
            } else {
                continuable.insert(key.to_string());
            }
        }
        let log = journal.upload_log();
        let continued = abort_others(&folder, &records.uploads, &continuable, &*log).await?;
        let units_again = names.iter().filter_map(|class| records.units.get(class)).sum();
        let classes: Vec<EndedClass> = records.classes.into_values().collect();
        let bytes_kept = classes.iter().map(EndedClass::file_bytes).fold(0, u64::saturating_add);
        let resumed = Resumed {
            attempt: attempt.number(),
            classes_kept: classes.len() as u64,
            bytes_kept,
            units_again,
            ..Resumed::default()
        };
        let pinned = records.shards.into_iter();
        let pinned = pinned.map(|(class, shards)| (class, Arc::new(shards))).collect();
        let journal = Some(Journal::new(means.journal, continued));
        let carried = Carried { journal, pinned, renamed, ..Carried::default() };
        let resumed = (attempt > Attempt::FIRST).then_some(resumed);
        let kept = Kept { classes, tombstone, resumed };
        let started_at = records.plan.claim.started_at;
        Ok(Claimed::new(planned, folder, started_at, carried, kept, means.status))
    }

    /// Ends the export as FAILED because it cannot be carried on: aborts its uploads, and commits a
    /// tombstone that lists the files that are complete.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub async fn give_up(
        self,
        error: &ResumeError,
        journal: Arc<dyn JournalStore>,
    ) -> Result<Manifest, ResumeError> {
        let Interrupted(records) = self;
        let plan = &records.plan;
        let destination = Destination::parse(&plan.destination)?;
        let folder = destination.export_folder(&plan.id)?.with_digest(plan.digest);
        let journal = Journal::new(journal, BTreeMap::new());
        let Owned { attempt, tombstone } = own(&folder, &records, &journal).await?;
        let folder = folder.with_attempt(attempt, plan.names);
        let log = journal.upload_log();
        abort_others(&folder, &records.uploads, &BTreeSet::new(), &*log).await?;
        let of = failed(&records, destination.backend(), error.to_string());
        let resumed = (attempt > Attempt::FIRST)
            .then(|| Resumed { attempt: attempt.number(), ..Resumed::default() });
        let manifest = Manifest { resumed, ..of };
        match commit(&folder, manifest, tombstone.as_ref()).await {
            Ok(manifest) => Ok(manifest),
            Err(CommitError::TakenOver(by)) => Err(OwnError::TakenOver(by).into()),
            Err(CommitError::Manifest(error)) => Err(error.into()),
            Err(CommitError::Lost { .. }) => Ok(Manifest::read(&folder).await?),
        }
    }
}

impl Planned {
    /// Takes an export over whose journal is not at hand: every class is written again, under the name
    /// of this attempt. The process that had it commits nothing from then on.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub async fn take_over(
        self,
        status: &Status,
        journal: Option<Arc<dyn JournalStore>>,
    ) -> Result<Claimed, ResumeError> {
        let folder = self.destination.export_folder(&self.id)?.with_digest(self.digest);
        let journal = journal.map(|store| Journal::new(store, BTreeMap::new()));
        let claim = Claim::new(self.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned());
        let note = async |attempt: Attempt, claim: Claim| match &journal {
            Some(journal) => {
                let plan = JournalPlan { names: attempt, ..self.to_journal(&claim) };
                journal.plan(&plan).await
            }
            None => Ok(()),
        };
        let (owned, theirs) = take_over(&folder, claim, note).await?;
        let Owned { attempt, tombstone } = owned;
        let folder = folder.with_attempt(attempt, attempt);
        let resumed = Some(Resumed { attempt: attempt.number(), ..Resumed::default() });
        let kept = Kept { tombstone, resumed, ..Kept::default() };
        let carried = Carried { journal, ..Carried::default() };
        Ok(Claimed::new(self, folder, theirs.started_at, carried, kept, status))
    }
}

/// Makes this process the owner of the export, and writes its claim down first.
async fn own(
    folder: &ExportFolder,
    records: &Records,
    journal: &Journal,
) -> Result<Owned, OwnError> {
    let plan = &records.plan;
    let claim = Claim::new(plan.id.clone(), owner(), env!("CARGO_PKG_VERSION").to_owned());
    let claim = claim.for_principal(plan.claim.principal.clone());
    let note = async move |attempt, claim: Claim| journal.claim(attempt, &claim).await;
    carry_on(folder, &plan.claim, records.claims.values(), claim, note).await
}

fn check_guests(
    plan: &JournalPlan,
    exporter: &NamedExporter,
    transforms: &[TransformStep],
) -> Result<(), ResumeError> {
    let other = |planned: &PlannedGuest, found: &str| ResumeError::OtherGuest {
        name: planned.name.clone(),
        began: planned.digest.clone(),
        found: found.to_owned(),
    };
    let digest = exporter.guest.digest();
    if digest != plan.exporter.digest {
        return Err(other(&plan.exporter, digest));
    }
    if transforms.len() != plan.transforms.len() {
        return Err(ResumeError::OtherTransforms);
    }
    for (planned, step) in plan.transforms.iter().zip(transforms) {
        if step.guest.digest() != planned.digest {
            return Err(other(planned, step.guest.digest()));
        }
        let same = step.options == planned.options
            && step.reach == planned.reach
            && step.required == planned.required;
        if !same {
            return Err(ResumeError::OtherTransforms);
        }
    }
    Ok(())
}

/// Plans the classes that are not complete. No rights are asked again: those of the beginning count.
async fn plan_rest(
    records: &Records,
    destination: Destination,
    means: &Means<'_>,
) -> Result<Planned, ResumeError> {
    let plan = &records.plan;
    let rest: BTreeSet<String> =
        plan.classes.iter().filter(|name| !records.classes.contains_key(*name)).cloned().collect();
    let scope = scope_of(&plan.scope, &rest);
    let readable = means.directory.classes().iter().filter(|class| rest.contains(&*class.name));
    let readable = readable.map(|class| narrowed(class, plan)).collect();
    let authorized = Authorized {
        principal: plan.claim.principal.clone(),
        directory: means.directory.clone(),
        readable,
        narrowed: plan.narrowed.keys().filter(|name| rest.contains(*name)).cloned().collect(),
    };
    let request = Request {
        id: plan.id.clone(),
        destination,
        scope,
        options: plan.exporter.options.clone(),
        transforms: means.transforms.clone(),
        digest: plan.digest,
        file_format: None,
    };
    let Means { exporter, passed, workers, .. } = means;
    let planned =
        request.plan_classes(authorized, exporter, Some(passed), workers, AtLeast::NoClass).await?;
    // The manifest speaks of all classes.
    let names: BTreeSet<&str> = plan.classes.iter().map(String::as_str).collect();
    let all = means.directory.classes().iter().filter(|class| names.contains(&*class.name));
    Ok(Planned {
        directory_warnings: means.directory.warnings_for_export(all),
        scope: plan.scope.clone(),
        narrowed: plan.narrowed.clone(),
        missing: plan.missing.clone(),
        tenants: plan.tenants.clone(),
        shown_options: plan.shown_options.clone(),
        ..planned
    })
}

/// The scope of these classes alone.
fn scope_of(scope: &Scope, classes: &BTreeSet<String>) -> Scope {
    let mut scope = Scope { classes: ClassSelection::Include(classes.clone()), ..scope.clone() };
    scope.properties.retain(|class, _| classes.contains(class));
    scope.vectors.retain(|class, _| classes.contains(class));
    scope.tenants.retain(|class, _| classes.contains(class));
    scope
}

/// The class with those of its tenants that could be read at the beginning.
fn narrowed(class: &Class, plan: &JournalPlan) -> Class {
    let Some(tenants) = plan.narrowed.get(&*class.name) else { return class.clone() };
    let shards = class.shards.iter().filter(|shard| tenants.contains(&*shard.name)).cloned();
    Class { shards: shards.collect(), ..class.clone() }
}

/// The tombstone of an export that cannot be carried on.
fn failed(records: &Records, backend: &str, error: String) -> Manifest {
    let plan = &records.plan;
    let progress = |name: &String| {
        let kept = records.classes.get(name);
        let rows = kept.iter().flat_map(|class| &class.files).map(|file| file.rows);
        let progress = ClassProgress {
            status: if kept.is_some() { ProgressStatus::Success } else { ProgressStatus::Failed },
            objects_exported: rows.fold(0, u64::saturating_add),
            objects_total: None,
            file_size_bytes: kept.map(EndedClass::file_bytes),
            error: kept.is_none().then(|| error.clone()),
            skip_reason: None,
        };
        (name.clone(), progress)
    };
    let classes = || records.classes.values();
    let (id, started_at) = (plan.id.clone(), plan.claim.started_at);
    let of = Manifest::failed(id, backend.to_owned(), started_at, error.clone());
    Manifest {
        classes: plan.classes.clone(),
        progress: plan.classes.iter().map(progress).collect(),
        files: classes().flat_map(|class| class.files.clone()).collect(),
        attachments: classes().flat_map(|class| class.attachments.clone()).collect(),
        guest: Guest {
            name: plan.exporter.name.clone(),
            digest: plan.exporter.digest.clone(),
            options: plan.shown_options.clone(),
        },
        source: Source {
            directories: plan.directories.iter().map(|path| path.display().to_string()).collect(),
            schema_from: plan.schema_from.clone(),
            shards: classes()
                .flat_map(|class| class.shards.iter().map(|shard| shard.shard.clone()))
                .collect(),
            shards_key: None,
        },
        tenants: plan.tenants.clone(),
        ..of
    }
}
