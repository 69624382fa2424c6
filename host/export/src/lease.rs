//! What an export holds of the guests that it uses.
use std::sync::Arc;

/// Held by an export for as long as it uses a guest: the one who gave it sees that it is in use.
pub type Lease = Arc<()>;
