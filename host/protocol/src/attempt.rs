//! The number of a try to make an export, and its mark in keys.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Which try to make an export writes: the first, or one that took it over. Keys that two attempts could
/// both write carry the attempt, because stores have no rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(u32);

impl Attempt {
    /// The first one, whose keys have no mark.
    pub const FIRST: Attempt = Attempt(1);

    /// The attempt of this number, from 1.
    pub fn new(number: u32) -> Attempt {
        Attempt(number.max(1))
    }

    /// Its number, from 1.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The attempt after it.
    #[must_use]
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    /// The mark in keys: nothing, or `.a<N>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Attempt::FIRST { Ok(()) } else { write!(f, ".a{}", self.0) }
    }
}
