//! The interface of everything that decides who may do what.
use std::sync::Arc;

use crate::{Action, Principal};

/// Has the policy in force. A decision of several steps is made from one version of it.
pub trait Authorizer: Send + Sync {
    /// The policy of this moment.
    fn policy(&self) -> Arc<dyn Policy>;
}

/// One version of the rules. Names of classes are exact; a class or tenant of a name need not exist.
pub trait Policy: Send + Sync {
    /// Whether the principal may act on all of a class: every tenant, present and future.
    fn permits(&self, principal: &Principal, action: Action, class: &str) -> bool;

    /// For each of `classes` what [`Policy::permits`] says, in the same order and number. It is for more
    /// than a few.
    fn permits_classes(
        &self,
        principal: &Principal,
        action: Action,
        classes: &[&str],
    ) -> Vec<bool> {
        classes.iter().map(|class| self.permits(principal, action, class)).collect()
    }

    /// Whether the principal may act on every class, present and future.
    fn permits_every_class(&self, principal: &Principal, action: Action) -> bool;

    /// For each of `tenants` whether the principal may act on it, in the same order and number.
    fn permits_tenants(
        &self,
        principal: &Principal,
        action: Action,
        class: &str,
        tenants: &[&str],
    ) -> Vec<bool>;
}
