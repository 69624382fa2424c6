//! The body of the answer to a dry run.
use offloom_export::{Estimate, EstimatedClass};
use serde::Serialize;
use utoipa::ToSchema;

/// What an export would read and write. Objects and bytes are upper bounds: replaced and deleted objects may
/// be counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DryRun)]
pub struct DryRunBody {
    /// Its classes, in byte order of their names.
    classes: Vec<DryRunClassBody>,
    /// Shards of all classes; tenants are shards.
    shards: u64,
    /// Tenants of all classes.
    tenants: u64,
    /// Objects.
    objects: u64,
    /// Bytes of the objects as they are stored. Files are smaller.
    estimated_bytes: u64,
    /// Requests that write to the store.
    store_requests: u64,
}

/// What of a class would be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DryRunClass)]
struct DryRunClassBody {
    /// Its name.
    name: String,
    /// Its shards; of a class with tenants each is a tenant.
    shards: u64,
    /// Its tenants.
    tenants: u64,
    /// Objects.
    objects: u64,
    /// Bytes of the objects as they are stored.
    estimated_bytes: u64,
}

impl From<Estimate> for DryRunBody {
    fn from(estimate: Estimate) -> DryRunBody {
        DryRunBody {
            shards: estimate.total(|class| class.shards),
            tenants: estimate.total(EstimatedClass::tenants),
            objects: estimate.total(|class| class.objects),
            estimated_bytes: estimate.total(|class| class.bytes),
            store_requests: estimate.store_requests,
            classes: estimate.classes.into_iter().map(DryRunClassBody::from).collect(),
        }
    }
}

impl From<EstimatedClass> for DryRunClassBody {
    fn from(class: EstimatedClass) -> DryRunClassBody {
        let tenants = class.tenants();
        let EstimatedClass { name, shards, objects, bytes: estimated_bytes, .. } = class;
        DryRunClassBody { name, shards, tenants, objects, estimated_bytes }
    }
}
