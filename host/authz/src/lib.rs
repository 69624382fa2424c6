//! Who asks, and who may export what. The host decides both before a guest sees anything.
//!
//! Read in this order: `principal` (who asks), `authenticator` (finds out who asks), `action` (what is
//! asked for), `authorizer` (who decides), `anonymous` (the service without users). Nothing here knows of
//! HTTP.
mod action;
mod anonymous;
mod authenticator;
mod authorizer;
mod principal;

pub use action::Action;
pub use anonymous::{AllowAll, Anonymous};
pub use authenticator::{Authenticator, Credentials, Unauthenticated};
pub use authorizer::{Authorizer, Policy};
pub use principal::{Principal, PrincipalKind};
