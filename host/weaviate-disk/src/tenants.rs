//! Restricts a class to some of its tenants.
use std::collections::BTreeSet;

use crate::class::Class;

/// Tenants that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// The class has shards that are not tenants.
    #[error("class {class} has no tenants")]
    NoTenants {
        /// Exact class name.
        class: String,
    },
    /// A tenant that neither the schema nor the directory knows.
    #[error("class {class} has no tenant '{}'", .tenant.escape_debug())]
    UnknownTenant {
        /// Exact class name.
        class: String,
        /// The name that was asked for.
        tenant: String,
    },
    /// An empty list.
    #[error("no tenant of class {class} is named: name some, or leave the class out")]
    NoneNamed {
        /// Exact class name.
        class: String,
    },
}

impl Class {
    /// The class with these tenants alone, in the order in which it has them.
    ///
    /// # Errors
    /// [`TenantError`].
    pub fn with_tenants(&self, tenants: &BTreeSet<String>) -> Result<Class, TenantError> {
        let class = || self.name.to_string();
        if !self.multi_tenant {
            return Err(TenantError::NoTenants { class: class() });
        }
        if tenants.is_empty() {
            return Err(TenantError::NoneNamed { class: class() });
        }
        let known: BTreeSet<&str> = self.shards.iter().map(|shard| &*shard.name).collect();
        if let Some(tenant) = tenants.iter().find(|tenant| !known.contains(tenant.as_str())) {
            return Err(TenantError::UnknownTenant { class: class(), tenant: tenant.clone() });
        }
        let named = self.shards.iter().filter(|shard| tenants.contains(&*shard.name));
        Ok(Class { shards: named.cloned().collect(), ..self.clone() })
    }
}
