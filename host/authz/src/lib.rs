//! Who may export what. The host decides it before a guest sees anything.
//!
//! Read in this order: `principal` (who asks), `action` (what is asked for), `authorizer` (who
//! decides), `anonymous` (the one authorizer of this version). Nothing here knows of HTTP.
mod action;
mod anonymous;
mod authorizer;
mod principal;

pub use action::Action;
pub use anonymous::Anonymous;
pub use authorizer::Authorizer;
pub use principal::{Principal, Unauthenticated};
