//! Restricts a class to some of its tenants.
use std::collections::BTreeSet;

use super::class::Class;

/// An invalid selection of tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// The class has shards that are not tenants.
    #[error("class {class} has no tenants")]
    NoTenants {
        /// Exact class name.
        class: String,
    },
    /// The tenant is neither in the schema nor in the directory.
    #[error("class {class} has no tenant '{}'", .tenant.escape_debug())]
    UnknownTenant {
        /// Exact class name.
        class: String,
        /// The requested name.
        tenant: String,
    },
    /// The selection is empty.
    #[error("no tenant of class {class} is named: name some, or leave the class out")]
    NoneNamed {
        /// Exact class name.
        class: String,
    },
}

impl Class {
    /// The class with only these tenants, in the class's order.
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
        // What cannot be listed may hold it.
        let all_known = self.faults.is_empty();
        let unknown = tenants.iter().find(|tenant| all_known && !known.contains(tenant.as_str()));
        if let Some(tenant) = unknown {
            return Err(TenantError::UnknownTenant { class: class(), tenant: tenant.clone() });
        }
        let named = self.shards.iter().filter(|shard| tenants.contains(&*shard.name));
        Ok(Class { shards: named.cloned().collect(), ..self.clone() })
    }
}
