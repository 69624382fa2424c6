//! Which classes an export covers: the request is checked against what exists, then the guest filters.
use std::collections::BTreeSet;

use offloom_sandbox::{ExporterGuest, GuestError, GuestOptions, OfferedClass, Selection};
use offloom_weaviate_disk::{Class, ClassEstimate, DataDirectory, ReadOptions};
use tokio::task::JoinError;

use crate::scope::{Scope, ScopeError};

/// Why no export can be made of what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Both lists were given.
    #[error(
        "include and exclude cannot be given together: name the classes to export, or the ones to leave out"
    )]
    IncludeAndExclude,
    /// A class that was named does not exist.
    #[error("class {class} does not exist; there is {known}")]
    UnknownClass {
        /// The name as it was looked up.
        class: String,
        /// What exists, as text.
        known: String,
    },
    /// Filters or tenants cannot be meant.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Nothing is left to export.
    #[error("nothing to export: {reason}")]
    Nothing {
        /// Why nothing is left.
        reason: &'static str,
    },
    /// The guest failed to choose.
    #[error("the guest could not plan the export: {0}")]
    Guest(#[from] GuestError),
    /// The estimate was stopped.
    #[error("the estimate of the data directory stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// A class that will be exported.
#[derive(Debug, Clone)]
pub struct PlannedClass {
    /// The class as it lies on disk, with the tenants that are exported.
    pub class: Class,
    /// What of its objects goes out.
    pub reading: ReadOptions,
    /// How many objects it has, about: replaced and deleted ones may count too.
    pub objects_estimate: u64,
    /// Bytes of its rows as they are stored, about.
    pub raw_bytes: u64,
}

/// Checks the scope against `readable`, the classes of `directory` that may be read, estimates what
/// is left, and lets the guest choose. An unknown class in `exclude` is ignored.
pub async fn plan(
    directory: &DataDirectory,
    readable: &[Class],
    guest: &ExporterGuest,
    options: &GuestOptions,
    scope: &Scope,
) -> Result<Vec<PlannedClass>, PlanError> {
    let selection = select(readable, &scope.include, &scope.exclude)?;
    if let Some(class) =
        scope.named_classes().into_iter().find(|name| !exists(readable, name.as_str()))
    {
        return Err(PlanError::UnknownClass { class: class.clone(), known: known(readable) });
    }
    let candidates: Vec<Class> =
        readable.iter().filter(|class| selection.offers(&class.name)).cloned().collect();
    if candidates.is_empty() {
        let reason = if readable.is_empty() {
            "the data directory holds no classes"
        } else {
            "every class is excluded"
        };
        return Err(PlanError::Nothing { reason });
    }
    scope.check_classes(&candidates)?;
    let candidates =
        candidates.into_iter().map(|class| scope.apply(class)).collect::<Result<_, _>>()?;
    let estimated = estimate(directory, candidates).await?;
    let offered: Vec<OfferedClass> = estimated
        .iter()
        .map(|planned| OfferedClass {
            name: planned.class.name.to_string(),
            multi_tenant: planned.class.multi_tenant,
            object_count: Some(planned.objects_estimate),
        })
        .collect();
    let chosen: BTreeSet<String> =
        guest.plan(&offered, &selection.for_guest(), options).await?.into_iter().collect();
    if chosen.is_empty() {
        return Err(PlanError::Nothing { reason: "the guest chose no class" });
    }
    Ok(estimated.into_iter().filter(|planned| chosen.contains(&*planned.class.name)).collect())
}

async fn estimate(
    directory: &DataDirectory,
    classes: Vec<(Class, ReadOptions)>,
) -> Result<Vec<PlannedClass>, JoinError> {
    let directory = directory.clone();
    tokio::task::spawn_blocking(move || {
        classes
            .into_iter()
            .map(|(class, reading)| {
                let ClassEstimate { objects, raw_bytes } = directory.estimate(&class);
                PlannedClass { class, reading, objects_estimate: objects, raw_bytes }
            })
            .collect()
    })
    .await
}

/// The names of a request, checked.
struct Checked {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Checked {
    fn offers(&self, class: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == class);
        if self.include.is_empty() { !named(&self.exclude) } else { named(&self.include) }
    }

    fn for_guest(&self) -> Selection {
        Selection { include: self.include.clone(), exclude: self.exclude.clone() }
    }
}

fn select(classes: &[Class], include: &[String], exclude: &[String]) -> Result<Checked, PlanError> {
    if !include.is_empty() && !exclude.is_empty() {
        return Err(PlanError::IncludeAndExclude);
    }
    let exclude = exclude.iter().filter(|name| exists(classes, name)).cloned().collect();
    Ok(Checked { include: include.to_vec(), exclude })
}

fn exists(classes: &[Class], name: &str) -> bool {
    classes.iter().any(|class| *class.name == *name)
}

/// Weaviate's clients capitalise the first letter of a class name; so do we.
pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        let mut name = first.to_ascii_uppercase().to_string();
        name.push_str(letters.as_str());
        name
    })
}

/// At most twenty names, so that the message stays one that can be read.
fn known(classes: &[Class]) -> String {
    const SHOWN: usize = 20;
    if classes.is_empty() {
        return "no class at all".to_owned();
    }
    let names: Vec<&str> = classes.iter().take(SHOWN).map(|class| &*class.name).collect();
    let more = classes.len().saturating_sub(SHOWN);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}
