//! The three kinds of objects that performance is measured on, the same on every machine.

use std::borrow::Cow;

use crate::embedding::Embeddings;
use crate::object::Object;
use crate::recipe::Recipe;

/// Objects of one shape (`docs/performance.md`, Workloads).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// 1,536 dimensions and 1 KB of properties; measured with 120,000 rows.
    W1,
    /// No vector and 500 bytes of properties; measured with 300,000 rows.
    W2,
    /// 384 dimensions and 300 bytes of properties; measured with 200,000 rows.
    W3,
}

impl Workload {
    /// The class of the workload, with as many rows as it is measured with.
    pub fn recipe(self) -> Recipe {
        let (class_name, objects, dimensions, properties_bytes) = match self {
            Self::W1 => ("W1Article", 120_000, 1536, 1000),
            Self::W2 => ("W2Record", 300_000, 0, 500),
            Self::W3 => ("W3Passage", 200_000, 384, 300),
        };
        Recipe {
            class_name: Cow::Borrowed(class_name),
            objects,
            dimensions,
            named: Vec::new(),
            properties_bytes,
            embeddings: Embeddings::Normal,
            updates_percent: 2,
            deletes_percent: 1,
            segments: 4,
            tenants: None,
            seed: 0,
        }
    }

    /// Length of the vector of every object.
    pub fn dimensions(self) -> usize {
        self.recipe().dimensions
    }

    /// How long the JSON text of the properties is, give or take a word.
    pub fn properties_bytes(self) -> usize {
        self.recipe().properties_bytes
    }

    /// With how many rows the workload is measured.
    pub fn rows(self) -> u64 {
        self.recipe().objects
    }

    /// Name of the class that its objects are of.
    pub fn class_name(self) -> &'static str {
        match self.recipe().class_name {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "",
        }
    }

    /// The object `row` as its `revision`th update left it; revision 0 is its creation.
    pub fn object(self, row: u64, revision: u32) -> Object {
        let recipe = self.recipe();
        recipe.object(&recipe.spaces(), row, revision)
    }

    /// Which revision of a row is the live one.
    pub fn live_revision(self, row: u64) -> u32 {
        self.recipe().live_revision(row)
    }
}
