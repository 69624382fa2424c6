//! The operator's policy: transforms that rows must pass, whatever a request asks for.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use offloom_export::{StepReach, TransformStep};
use offloom_protocol::named_file;
use offloom_sandbox::Sandbox;
use offloom_weaviate_disk::schema::names::capitalised;
use serde::Deserialize;

use super::signature::TrustedKeys;
use crate::{built_in, guest};

/// A policy is a page of text.
const MAX_POLICY_BYTES: u64 = 1024 * 1024;

/// The content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// In the order in which rows pass them.
    #[serde(default)]
    transform: Vec<RequiredTransform>,
}

/// A transform that rows must pass. Without classes and tenants, all rows must.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequiredTransform {
    /// One that is part of the program, or a file; a relative path begins at the folder of the policy.
    guest: PathBuf,
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// All rows of these classes.
    #[serde(default)]
    classes: Vec<String>,
    /// The rows of these tenants, by class.
    #[serde(default)]
    tenants: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a policy and loads its transforms. They stay as they are for as long as the server runs.
///
/// # Errors
/// A file that cannot be read, is no policy, or names a transform that cannot be loaded.
pub async fn load(
    path: &Path,
    sandbox: &Sandbox,
    keys: &TrustedKeys,
) -> anyhow::Result<Vec<TransformStep>> {
    let of_file = || format!("the policy of guests {}", path.display());
    let text = named_file::read(path, MAX_POLICY_BYTES).with_context(of_file)?;
    let text = String::from_utf8(text).with_context(of_file)?;
    let policy: PolicyFile = toml::from_str(&text).with_context(of_file)?;
    let mut steps = Vec::new();
    for required in policy.transform {
        steps.push(required.load(path, sandbox, keys).await.with_context(of_file)?);
    }
    Ok(steps)
}

impl RequiredTransform {
    async fn load(
        self,
        policy: &Path,
        sandbox: &Sandbox,
        keys: &TrustedKeys,
    ) -> anyhow::Result<TransformStep> {
        let RequiredTransform { guest: file, options, classes, tenants } = self;
        if let Some(class) = tenants.iter().find_map(|(class, of)| of.is_empty().then_some(class)) {
            bail!("tenants.{class} names no tenant: name some, or the class in `classes`");
        }
        let file = match file.to_str().and_then(built_in::transform) {
            Some(_) => file,
            None => {
                let file = policy.parent().unwrap_or(Path::new("")).join(file);
                guest::check_signature(&file, keys)?;
                file
            }
        };
        let (name, guest) = guest::load_transform(sandbox, &file).await?;
        let exact = |name: &String| capitalised(name);
        let reach = StepReach {
            classes: classes.iter().map(exact).collect(),
            tenants: tenants.iter().map(|(class, of)| (exact(class), of.clone())).collect(),
        };
        let options = options.into_iter().collect();
        Ok(TransformStep { name, guest, options, reach, required: true, lease: None })
    }
}
