//! The transforms of an export: which rows each of them gets, and what they make of the columns of a
//! class.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offloom_rows::Schema;
use offloom_sandbox::{About, GuestError, GuestOptions, Reach, TransformGuest, TransformRun};
use offloom_weaviate_disk::Class;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use crate::lease::Lease;
use crate::workers::Workers;

/// What stands in manifests for the value of a secret option.
const SECRET: &str = "(secret)";

/// A transform that rows pass before they are encoded.
#[derive(Clone)]
pub struct TransformStep {
    /// Its name in errors and in the manifest.
    pub name: String,
    /// The guest.
    pub guest: TransformGuest,
    /// Its options.
    pub options: GuestOptions,
    /// What it is applied to.
    pub reach: StepReach,
    /// Whether the operator requires it. No request leaves it out.
    pub required: bool,
    /// What the export holds for as long as it uses the guest.
    pub lease: Option<Lease>,
}

/// The rows that a step is applied to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReach {
    /// All rows of these classes.
    pub classes: BTreeSet<String>,
    /// The rows of these tenants, by class.
    pub tenants: BTreeMap<String, BTreeSet<String>>,
}

impl StepReach {
    /// The rows of a class that it covers. Without any name it covers all classes. Names match in upper
    /// and lower case: without a schema, a class has the name of its directory, which is in lower case.
    fn of_class(&self, class: &str) -> Covered {
        let is_class = |name: &String| name.eq_ignore_ascii_case(class);
        let named_nowhere = self.classes.is_empty() && self.tenants.is_empty();
        if named_nowhere || self.classes.iter().any(is_class) {
            return Covered::Class;
        }
        let of_class = self.tenants.iter().filter(|(name, _)| is_class(name));
        let tenants: BTreeSet<String> =
            of_class.flat_map(|(_, tenants)| tenants).cloned().collect();
        if tenants.is_empty() { Covered::Nothing } else { Covered::Tenants(tenants) }
    }

    /// Every class that it names.
    pub(crate) fn named_classes(&self) -> impl Iterator<Item = &String> {
        self.classes.iter().chain(self.tenants.keys())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Covered {
    Nothing,
    Class,
    Tenants(BTreeSet<String>),
}

/// Why transforms cannot be applied to a class.
#[derive(Debug, thiserror::Error)]
#[error("class {class}: the transform {transform}: {source}")]
pub struct TransformPlanError {
    /// The class.
    pub class: String,
    /// The name of the transform.
    pub transform: String,
    /// Why.
    pub source: GuestError,
}

/// A transform of one export.
pub(crate) struct ExportStep {
    pub name: String,
    pub run: TransformRun,
    pub options: GuestOptions,
    /// The options as they may be shown.
    pub shown_options: BTreeMap<String, String>,
    pub reach: StepReach,
    pub required: bool,
}

/// The transforms of one export, in their order: the operator's before those of the request.
pub(crate) type ExportSteps = Arc<[ExportStep]>;

/// The transforms of one class, and the columns that they lead to.
#[derive(Clone)]
pub(crate) struct ClassChain {
    pub steps: Arc<[ClassStep]>,
    /// The columns that the exporter gets.
    pub schema: Schema,
}

/// A transform of one class.
pub(crate) struct ClassStep {
    /// Its index in the steps of the export.
    pub index: usize,
    pub name: String,
    pub run: TransformRun,
    pub options: GuestOptions,
    /// The shards that it is applied to; `None` for all.
    pub shards: Option<BTreeSet<u32>>,
    /// The columns that it gets.
    pub input: Schema,
    /// The columns that it leaves.
    pub output: Schema,
}

impl ClassStep {
    /// How far it may change the columns.
    pub fn reach(&self) -> Reach {
        if self.shards.is_some() { Reach::Tenants } else { Reach::Class }
    }

    /// Whether it is applied to the rows of a shard.
    pub fn covers(&self, shard: u32) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.contains(&shard))
    }
}

/// Prepares the steps of an export. The operator's come first, whatever the order.
///
/// # Errors
/// A guest does not say what it is.
pub(crate) async fn export_steps(
    steps: Vec<TransformStep>,
    workers: &Workers,
) -> Result<ExportSteps, TransformsError> {
    let (required, asked): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.required);
    let mut prepared = Vec::new();
    for step in required.into_iter().chain(asked) {
        let TransformStep { name, guest, options, reach, required, .. } = step;
        let run = guest.for_export();
        let asking = run.clone();
        let about = workers.call(async move { asking.about().await }).await?;
        let about =
            about.map_err(|source| TransformsError::About { name: name.clone(), source })?;
        let shown_options = shown(&options, &about);
        prepared.push(ExportStep { name, run, options, shown_options, reach, required });
    }
    Ok(prepared.into())
}

/// Options as they may be shown: without secrets. The last value of a repeated key counts.
pub(crate) fn shown(options: &GuestOptions, about: &About) -> BTreeMap<String, String> {
    let shown = options.iter().map(|(key, value)| {
        let value = if about.is_secret(key) { SECRET } else { value };
        (key.clone(), value.to_owned())
    });
    shown.collect()
}

/// Why the transforms of an export cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TransformsError {
    /// A guest does not say what it is.
    #[error("the transform {name}: {source}")]
    About {
        /// Its name.
        name: String,
        /// Its failure.
        source: GuestError,
    },
    /// A class cannot be transformed.
    #[error(transparent)]
    Class(#[from] TransformPlanError),
    /// The call of a guest panicked or its runtime stopped.
    #[error("planning was stopped: {0}")]
    Stopped(#[from] JoinError),
}

/// The transforms of a class.
///
/// # Errors
/// A transform refuses the columns or its options.
pub(crate) async fn class_chain(
    class: &Class,
    steps: &ExportSteps,
    workers: &Workers,
) -> Result<ClassChain, TransformsError> {
    let mut schema = class.row_schema();
    let mut chain = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let shards = match step.reach.of_class(&class.name) {
            Covered::Nothing => continue,
            Covered::Class => None,
            Covered::Tenants(tenants) => {
                let shards = (0_u32..).zip(class.shards.iter());
                let covered = shards.filter(|(_, shard)| tenants.contains(&*shard.name));
                Some(covered.map(|(index, _)| index).collect::<BTreeSet<_>>())
            }
        };
        if shards.as_ref().is_some_and(BTreeSet::is_empty) {
            continue;
        }
        let mut planned = ClassStep {
            index,
            name: step.name.clone(),
            run: step.run.clone(),
            options: step.options.clone(),
            shards,
            input: schema.clone(),
            output: schema,
        };
        let (run, input) = (planned.run.clone(), planned.input.clone());
        let (options, reach) = (planned.options.clone(), planned.reach());
        let opening = async move {
            let transformer = run.open(&input, &options, reach).await?;
            Ok::<_, GuestError>(transformer.output().clone())
        };
        let output = workers.call(opening).await?.map_err(|source| TransformPlanError {
            class: class.name.to_string(),
            transform: step.name.clone(),
            source,
        })?;
        schema = output.clone();
        planned.output = output;
        chain.push(planned);
    }
    Ok(ClassChain { steps: chain.into(), schema })
}

#[cfg(test)]
mod tests {
    use offloom_sandbox::KnownOption;

    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(str::to_owned).into()
    }

    #[test]
    fn a_step_covers_classes_and_tenants_in_either_case() {
        let all = StepReach::default();
        assert_eq!(all.of_class("Note"), Covered::Class);
        let reach = StepReach {
            classes: names(["Note"]),
            tenants: [("Shelf".to_owned(), names(["a", "b"]))].into(),
        };
        assert_eq!(reach.of_class("Note"), Covered::Class);
        assert_eq!(reach.of_class("note"), Covered::Class);
        assert_eq!(reach.of_class("shelf"), Covered::Tenants(names(["a", "b"])));
        assert_eq!(reach.of_class("Other"), Covered::Nothing);
    }

    #[test]
    fn secrets_are_not_shown() {
        let option =
            |key: &str, secret| KnownOption { key: key.to_owned(), summary: String::new(), secret };
        let about = About {
            summary: String::new(),
            options: vec![option("key", true), option("key.*", true), option("drop", false)],
        };
        let options =
            ["key", "key.a", "drop", "keys"].map(|key| (key.to_owned(), "v".to_owned())).into();
        let shown = shown(&options, &about);
        let values: Vec<_> =
            shown.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(values, [("drop", "v"), ("key", SECRET), ("key.a", SECRET), ("keys", "v")]);
    }
}
