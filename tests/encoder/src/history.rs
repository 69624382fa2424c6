//! Objects that are put, replaced, deleted and put again over many files, and which of them remain.
//!
//! All of it follows from the numbers of tenant and object, so that a test knows every row of a
//! directory without holding it.

use crate::object::Object;
use crate::recipe::mix;

/// Steps at which an object may change, oldest first. Each segment is one, each log two.
pub(crate) const STEPS: usize = 9;
/// An object is changed again at one of so many later steps.
const STEPS_PER_CHANGE: u64 = 8;
/// One of so many later changes is a deletion.
const CHANGES_PER_DELETE: u64 = 4;
/// When the first object was created, Unix milliseconds.
const EPOCH_MS: i64 = 1_790_000_000_000;
/// Odd, so that every number has one id and every id one number.
const ID_FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
/// Parts of 1,000 of the objects that the large tenants have; the small ones share the rest.
const LARGE_PER_MILLE: [u64; 3] = [690, 200, 100];
/// Number of small tenants.
const SMALL_TENANTS: u64 = 60;

/// What happens to an object at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Put,
    Delete,
}

/// A class with a few large and many small tenants. Tenants hold objects of the same ids, with other
/// contents.
#[derive(Debug, Clone)]
pub struct History {
    /// Name and number of objects of each tenant, in byte order of the names.
    tenants: Vec<(String, u64)>,
}

impl History {
    /// Name of the class.
    pub const CLASS: &str = "Ledger";

    /// A history of about `objects` objects that ever were, of which nine in ten remain.
    pub fn new(objects: u64) -> Self {
        let large = LARGE_PER_MILLE.map(|share| objects * share / 1000);
        let small = (objects - large.iter().sum::<u64>()) / SMALL_TENANTS;
        let sizes = large.into_iter().chain((0..SMALL_TENANTS).map(|_| small));
        let named = (0..).zip(sizes).map(|(number, size): (u64, u64)| {
            // Large tenants stand among the small ones.
            let place = number * 17 % (SMALL_TENANTS + LARGE_PER_MILLE.len() as u64);
            (format!("tenant-{place:02}"), size)
        });
        let mut tenants: Vec<(String, u64)> = named.collect();
        tenants.sort();
        Self { tenants }
    }

    /// Name and number of objects of each tenant, deleted ones included, in byte order of the names.
    pub fn tenants(&self) -> &[(String, u64)] {
        &self.tenants
    }

    /// Id of the object with this number, in every tenant.
    pub fn id(number: u64) -> [u8; 16] {
        (u128::from(number) + 1).wrapping_mul(ID_FACTOR).to_be_bytes()
    }

    /// The number of the object with this id, if there may be one.
    pub fn number(id: [u8; 16]) -> Option<u64> {
        let number = u128::from_be_bytes(id).wrapping_mul(inverse(ID_FACTOR));
        u64::try_from(number.checked_sub(1)?).ok()
    }

    /// The object of a tenant as its last change left it; `None` if that was its deletion.
    pub fn live(&self, tenant: usize, number: u64) -> Option<Object> {
        let changes = (0..STEPS).rev().find_map(|step| Some((step, change(tenant, number, step)?)));
        match changes {
            Some((step, Change::Put)) => Some(self.object(tenant, number, step)),
            _ => None,
        }
    }

    /// The object as it was put at `step`.
    pub(crate) fn object(&self, tenant: usize, number: u64, step: usize) -> Object {
        let name = self.tenants.get(tenant).map_or("", |(name, _)| name);
        let noise = mix(seed(tenant, number) ^ step as u64);
        let created_ms = EPOCH_MS + i64::try_from(number % 1_000_000_000).unwrap_or(0);
        let mut object = Object::new(Self::id(number), Self::CLASS);
        object.doc_id = number * STEPS as u64 + step as u64;
        object.created_ms = created_ms;
        object.updated_ms = created_ms + 1_000 * step as i64;
        // Of any length, none included.
        object.vector = (0..noise % 6).map(|at| (mix(noise + at) >> 40) as f32).collect();
        let text =
            format!(r#"{{"number":{number},"step":{step},"tenant":"{name}","x":"{noise:x}"}}"#);
        object.properties = Some(text.into_bytes());
        object
    }
}

/// What happens to an object at a step, if anything. Its first change is no deletion.
pub(crate) fn change(tenant: usize, number: u64, step: usize) -> Option<Change> {
    let seed = seed(tenant, number);
    let first = (seed % STEPS as u64) as usize;
    let chance = mix(seed ^ (step as u64 + 1) << 32);
    match step.cmp(&first) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(Change::Put),
        std::cmp::Ordering::Greater if !chance.is_multiple_of(STEPS_PER_CHANGE) => None,
        std::cmp::Ordering::Greater => match chance / STEPS_PER_CHANGE % CHANGES_PER_DELETE {
            0 => Some(Change::Delete),
            _ => Some(Change::Put),
        },
    }
}

fn seed(tenant: usize, number: u64) -> u64 {
    mix(mix(tenant as u64 + 1) ^ number)
}

/// The number with which an odd `factor` gives 1, by Newton's method: each round doubles the bits.
fn inverse(factor: u128) -> u128 {
    (0..7).fold(factor, |inverse, _| {
        inverse.wrapping_mul(2_u128.wrapping_sub(factor.wrapping_mul(inverse)))
    })
}
