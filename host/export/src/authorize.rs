//! What a principal may export of a data directory. It is decided first, from one version of the
//! policy, before an answer can show whether a class exists.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use offloom_authz::{Action, Policy, Principal};
use offloom_weaviate_disk::{Class, DataDirectory};

use crate::scope::Scope;

/// A principal that may not read what it asks for. The texts do not show whether it exists.
#[derive(Debug, thiserror::Error)]
pub enum Forbidden {
    /// The request names a class that the principal may not read, nor any tenant of it.
    #[error("not allowed to read class {0}")]
    Class(String),
    /// The request names a tenant that the principal may not read.
    #[error("not allowed to read tenant '{}' of class {class}", .tenant.escape_debug())]
    Tenant {
        /// Exact class name.
        class: String,
        /// The tenant.
        tenant: String,
    },
    /// The principal may read none of the classes.
    #[error("not allowed to read any class")]
    AnyClass,
}

/// What a principal may read of a data directory.
pub struct Authorized {
    /// The one who asks, such as `db:alice`, if that is known.
    pub(crate) principal: Option<String>,
    /// What is read.
    pub(crate) directory: DataDirectory,
    /// The classes that may be read, each with the tenants that may be.
    pub(crate) readable: Vec<Class>,
    /// Those of them of which only some tenants may be read.
    pub(crate) narrowed: BTreeSet<String>,
}

impl Authorized {
    /// The one who asked, such as `db:alice`.
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// The classes that may be read, each with the tenants that may be.
    pub fn readable(&self) -> &[Class] {
        &self.readable
    }

    /// What is read.
    pub fn directory(&self) -> &DataDirectory {
        &self.directory
    }
}

/// Finds what the principal may read of `directory`, and makes sure that it is all that the scope
/// names. Of a class without a right to all of it, the tenants remain that may be read. It asks the
/// policy for each tenant, so it is not for a thread that answers requests.
///
/// # Errors
/// [`Forbidden::Class`], [`Forbidden::Tenant`]; [`Forbidden::AnyClass`] if there is nothing that may be
/// read, unless the principal may read everything and there is nothing.
pub fn authorize(
    policy: &dyn Policy,
    principal: &Principal,
    directory: DataDirectory,
    scope: &Scope,
) -> Result<Authorized, Forbidden> {
    let mut readable = Vec::new();
    let mut narrowed = BTreeSet::new();
    let names: Vec<&str> = directory.classes().iter().map(|class| &*class.name).collect();
    let permitted = policy.permits_classes(principal, Action::Export, &names);
    for (class, permitted) in directory.classes().iter().zip(permitted) {
        if permitted {
            readable.push(class.clone());
        } else if let Some(class) = with_permitted_tenants(policy, principal, class) {
            narrowed.insert(class.name.to_string());
            readable.push(class);
        }
    }
    let known: HashSet<&str> = readable.iter().map(|class| &*class.name).collect();
    let unknown = scope.named_classes().into_iter().map(String::as_str);
    let unknown: Vec<&str> = unknown.filter(|name| !known.contains(name)).collect();
    let permitted = policy.permits_classes(principal, Action::Export, &unknown);
    // One that may be read and does not exist is refused later, by that name.
    if let Some((name, _)) = unknown.iter().zip(permitted).find(|(_, permitted)| !permitted) {
        return Err(Forbidden::Class((*name).to_owned()));
    }
    for (class, tenants) in scope.tenants.iter().filter(|(class, _)| narrowed.contains(*class)) {
        let names: Vec<&str> = tenants.iter().map(String::as_str).collect();
        let permitted = policy.permits_tenants(principal, Action::Export, class, &names);
        if let Some((tenant, _)) = names.iter().zip(permitted).find(|(_, permitted)| !permitted) {
            let (class, tenant) = (class.clone(), (*tenant).to_owned());
            return Err(Forbidden::Tenant { class, tenant });
        }
    }
    if readable.is_empty() && !policy.permits_every_class(principal, Action::Export) {
        return Err(Forbidden::AnyClass);
    }
    let principal = Some(principal.to_string());
    Ok(Authorized { principal, directory, readable, narrowed })
}

/// The class with those of its tenants that may be read; `None` without any.
fn with_permitted_tenants(
    policy: &dyn Policy,
    principal: &Principal,
    class: &Class,
) -> Option<Class> {
    if !class.multi_tenant {
        return None;
    }
    let names: Vec<&str> = class.shards.iter().map(|shard| &*shard.name).collect();
    let permitted = policy.permits_tenants(principal, Action::Export, &class.name, &names);
    let shards = class.shards.iter().zip(permitted).filter(|(_, permitted)| *permitted);
    let shards: Arc<[_]> = shards.map(|(shard, _)| shard.clone()).collect();
    (!shards.is_empty()).then(|| Class { shards, ..class.clone() })
}

/// Whether the principal may act on an export of `classes` that another one has created: it needs the
/// right to all of each class. Those of an export of another server are not known while it runs.
pub fn may_act_on_all(
    policy: &dyn Policy,
    principal: &Principal,
    action: Action,
    classes: Option<&[String]>,
) -> bool {
    match classes {
        Some(classes) => {
            let names: Vec<&str> = classes.iter().map(String::as_str).collect();
            policy.permits_classes(principal, action, &names).into_iter().all(|permitted| permitted)
        }
        None => policy.permits_every_class(principal, action),
    }
}
