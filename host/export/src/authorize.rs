//! Which classes a principal may read. It is decided before an answer can show whether a class
//! exists.
use std::collections::HashSet;

use offloom_authz::{Action, Authorizer, Principal};
use offloom_weaviate_disk::{Class, DataDirectory};

use crate::scope::Scope;

/// A principal that may not read what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum Forbidden {
    /// The request names a class that the principal may not read, whether it exists or not.
    #[error("not allowed to read class {0}")]
    Class(String),
    /// The principal may read none of the classes.
    #[error("not allowed to read any class")]
    AnyClass,
    /// The principal may not read every class of an export that it asks about.
    #[error("not allowed to read every class of this export")]
    EveryClass,
}

/// The classes of `directory` that the principal may read.
///
/// # Errors
/// [`Forbidden::Class`] if the scope names another class, [`Forbidden::AnyClass`] if there are
/// classes, and the principal may read none.
pub fn readable_classes(
    authorizer: &dyn Authorizer,
    principal: &Principal,
    directory: &DataDirectory,
    scope: &Scope,
) -> Result<Vec<Class>, Forbidden> {
    let permitted = |names: &[String]| authorizer.permitted(principal, Action::Read, names);
    let named: Vec<String> = scope.named_classes().into_iter().cloned().collect();
    let allowed: HashSet<String> = permitted(&named).into_iter().collect();
    if let Some(class) = named.iter().find(|name| !allowed.contains(*name)) {
        return Err(Forbidden::Class(class.clone()));
    }
    let all = directory.classes();
    let names: Vec<String> = all.iter().map(|class| class.name.to_string()).collect();
    let allowed: HashSet<String> = permitted(&names).into_iter().collect();
    if allowed.is_empty() && !all.is_empty() {
        return Err(Forbidden::AnyClass);
    }
    Ok(all.iter().filter(|class| allowed.contains(&*class.name)).cloned().collect())
}

/// Makes sure that the principal may read all of `classes`, those of an export.
///
/// # Errors
/// [`Forbidden::EveryClass`].
pub fn may_read_all(
    authorizer: &dyn Authorizer,
    principal: &Principal,
    classes: &[String],
) -> Result<(), Forbidden> {
    let allowed = authorizer.permitted(principal, Action::Read, classes);
    if allowed.len() == classes.len() { Ok(()) } else { Err(Forbidden::EveryClass) }
}
