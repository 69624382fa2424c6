//! The interface of everything that decides who may do what.
use crate::{Action, Principal, Unauthenticated};

/// Decides for the host. It answers per class, so that a request can be narrowed to the classes
/// that its principal may read.
pub trait Authorizer: Send + Sync {
    /// The principal of a request. `credentials` is the value of its `Authorization` header.
    ///
    /// # Errors
    /// [`Unauthenticated`], which a client sees as status 401.
    fn authenticate(&self, credentials: Option<&str>) -> Result<Principal, Unauthenticated>;

    /// Those of `classes` that the principal may act on, in the same order. Names are exact, but a
    /// class of that name need not exist.
    fn permitted(&self, principal: &Principal, action: Action, classes: &[String]) -> Vec<String>;
}
