//! The guests that a request orders, resolved to the versions that are active now.
use offloom_export::{ClassSelection, NamedExporter, Scope, StepReach, TransformStep};
use offloom_sandbox::{Guest, GuestKind, GuestOptions, SandboxError};

use super::catalog::{Guests, GuestsError, Resolved};
use super::name::{BadName, GuestReference, Owner};

/// A transform as a request orders it.
#[derive(Debug, Clone, Default)]
pub struct OrderedTransform {
    /// How the request refers to it.
    pub guest: String,
    /// Its options.
    pub options: GuestOptions,
    /// The classes that it is applied to; all if there are none.
    pub classes: Vec<String>,
}

/// Why a guest cannot be used in an export.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It is not called so.
    #[error(transparent)]
    Name(#[from] BadName),
    /// It cannot be had.
    #[error(transparent)]
    Guest(#[from] GuestsError),
    /// A tenant's guest gets the rows of its tenant alone.
    #[error(
        "the guest {guest} is of one tenant, so the export must be of that tenant alone: include [\"{class}\"] \
         and tenants {{\"{class}\": [\"{tenant}\"]}}"
    )]
    OtherRows {
        /// The reference.
        guest: String,
        /// The class.
        class: String,
        /// The tenant.
        tenant: String,
    },
}

/// The exporter that a reference names, for an export of `scope`.
///
/// # Errors
/// [`OrderError`].
pub async fn exporter(
    guests: &Guests,
    reference: &str,
    scope: &Scope,
) -> Result<NamedExporter, OrderError> {
    let Resolved { name, guest, lease, .. } = resolve(guests, reference, scope).await?;
    match guest {
        Guest::Exporter(guest) => Ok(NamedExporter { name, guest, lease }),
        Guest::Transform(_) => Err(wrong_kind(GuestKind::Exporter, GuestKind::Transform)),
    }
}

/// The transforms of a request, for an export of `scope`.
///
/// # Errors
/// [`OrderError`].
pub async fn transforms(
    guests: &Guests,
    ordered: Vec<OrderedTransform>,
    scope: &Scope,
) -> Result<Vec<TransformStep>, OrderError> {
    let mut steps = Vec::new();
    for OrderedTransform { guest: reference, options, classes } in ordered {
        let Resolved { name, guest, lease, .. } = resolve(guests, &reference, scope).await?;
        let Guest::Transform(guest) = guest else {
            return Err(wrong_kind(GuestKind::Transform, GuestKind::Exporter));
        };
        let exact = |name: &String| offloom_weaviate_disk::schema::names::capitalised(name);
        let classes = classes.iter().map(exact).collect();
        let reach = StepReach { classes, ..StepReach::default() };
        steps.push(TransformStep { name, guest, options, reach, required: false, lease });
    }
    Ok(steps)
}

async fn resolve(guests: &Guests, reference: &str, scope: &Scope) -> Result<Resolved, OrderError> {
    let reference: GuestReference = reference.parse()?;
    // Before it is looked up, so that the answer does not show whether it exists.
    if let Owner::Tenant { class, tenant } = &reference.owner
        && !is_of_tenant(scope, class, tenant)
    {
        let (guest, class, tenant) =
            (format!("{}/{}", reference.owner, reference.name), class.clone(), tenant.clone());
        return Err(OrderError::OtherRows { guest, class, tenant });
    }
    Ok(guests.resolve(reference).await?)
}

/// Whether an export covers no rows but those of one tenant.
fn is_of_tenant(scope: &Scope, class: &str, tenant: &str) -> bool {
    let only_class = match &scope.classes {
        ClassSelection::Include(names) => names.len() == 1 && names.contains(class),
        ClassSelection::All | ClassSelection::Exclude(_) => false,
    };
    let tenants = scope.tenants.get(class);
    only_class && tenants.is_some_and(|names| names.len() == 1 && names.contains(tenant))
}

fn wrong_kind(expected: GuestKind, found: GuestKind) -> OrderError {
    GuestsError::from(SandboxError::WrongKind { expected, found }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_of_a_tenant_gets_no_other_rows() {
        let scope = |classes: &[&str], tenants: &[(&str, &[&str])]| Scope {
            classes: ClassSelection::new(
                &classes.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(),
                &[],
            )
            .unwrap(),
            tenants: tenants
                .iter()
                .map(|(class, names)| {
                    ((*class).to_owned(), names.iter().map(|&name| name.to_owned()).collect())
                })
                .collect(),
            ..Scope::default()
        };
        let north = |scope: Scope| is_of_tenant(&scope, "Shelf", "north");
        assert!(north(scope(&["Shelf"], &[("Shelf", &["north"])])));
        assert!(!north(scope(&[], &[("Shelf", &["north"])])));
        assert!(!north(scope(&["Shelf"], &[])));
        assert!(!north(scope(&["Shelf"], &[("Shelf", &["north", "south"])])));
        assert!(!north(scope(&["Shelf", "Note"], &[("Shelf", &["north"])])));
        assert!(!north(scope(&["Shelf"], &[("Shelf", &["south"])])));
    }
}
