//! The one who asks, and why a request may have none.

/// The one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name for the log.
    pub name: String,
}

/// A request without valid credentials.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unauthenticated {
    /// What is missing or wrong, without secrets.
    pub reason: String,
}
