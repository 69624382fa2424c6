//! What an export would read and write: the answer of a dry run.
use offloom_protocol::upload::write_requests;

use crate::plan::{Planned, PlannedClass};

/// Requests besides those for the files: the claim, `schema.json` and the manifest.
const OTHER_REQUESTS: u64 = 3;

/// What an export would read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Its classes, in byte order of their names.
    pub classes: Vec<EstimatedClass>,
    /// Requests that write to the store, at most, because files are smaller than what is read.
    pub store_requests: u64,
}

/// What of a class would be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstimatedClass {
    /// Exact name.
    pub name: String,
    /// Whether its shards are tenants.
    pub multi_tenant: bool,
    /// Its shards (tenants) that are covered.
    pub shards: u64,
    /// Its objects, at most: replaced and deleted ones may be counted.
    pub objects: u64,
    /// Bytes of its objects as they are stored, at most.
    pub bytes: u64,
}

impl EstimatedClass {
    /// Its tenants that are covered.
    pub fn tenants(&self) -> u64 {
        if self.multi_tenant { self.shards } else { 0 }
    }

    fn new(planned: &PlannedClass) -> EstimatedClass {
        EstimatedClass {
            name: planned.class.name.to_string(),
            multi_tenant: planned.class.multi_tenant,
            shards: planned.class.shards.len() as u64,
            objects: planned.objects_estimate,
            bytes: planned.raw_bytes,
        }
    }
}

impl Planned {
    /// What it would read and write.
    pub fn estimate(&self) -> Estimate {
        let classes: Vec<EstimatedClass> = self.classes.iter().map(EstimatedClass::new).collect();
        let requests = classes.iter().map(|class| write_requests(class.bytes));
        let store_requests = requests.fold(OTHER_REQUESTS, u64::saturating_add);
        Estimate { classes, store_requests }
    }
}

impl Estimate {
    /// The sum over its classes.
    pub fn total(&self, of_class: impl Fn(&EstimatedClass) -> u64) -> u64 {
        self.classes.iter().map(of_class).fold(0, u64::saturating_add)
    }
}
