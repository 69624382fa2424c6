//! Reads again what a running server changed during the read.
use std::{thread, time::Duration};

use crate::error::SchemaError;

/// A schema changes rarely, and reading it takes milliseconds.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Calls `read` until it returns something else than a transient error, for half a second at most.
pub(crate) fn while_transient<T>(
    read: impl Fn() -> Result<T, SchemaError>,
) -> Result<T, SchemaError> {
    for _ in 1..ATTEMPTS {
        match read() {
            Err(error) if error.is_transient() => thread::sleep(PAUSE),
            result => return result,
        }
    }
    read()
}
