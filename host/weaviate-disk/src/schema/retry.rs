//! Reads again what a running server changed in the meantime.
use std::{thread, time::Duration};

use super::error::SchemaReadError;

/// A schema changes rarely, and reading it takes milliseconds.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Calls `read` until a running server no longer explains its error, for half a second.
pub(super) fn while_it_changes<T>(
    read: impl Fn() -> Result<T, SchemaReadError>,
) -> Result<T, SchemaReadError> {
    for _ in 1..ATTEMPTS {
        match read() {
            Err(error) if error.is_transient() => thread::sleep(PAUSE),
            result => return result,
        }
    }
    read()
}
