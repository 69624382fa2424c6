//! Classes whose names differ in case alone share a directory (`data-directory.md` 2): which of them has
//! which shards, and which objects of a shard that several may have.
use std::{collections::BTreeMap, sync::Arc};

use offloom_weaviate_lsm::{ObjectFault, OtherClass};

use super::{
    class::{Attribution, ShardLocation},
    effective_schema::EffectiveClass,
};
use crate::schema::names;

/// The shards of one class, by name.
pub(super) type Attributed = BTreeMap<String, (Vec<ShardLocation>, Attribution)>;

/// The shards of each of `classes`, which share a directory, in their order. The lists of the schema
/// decide, then the names in the objects: `names_in` has those in the first objects of a shard. A shard
/// that several classes may have is read for each of them.
pub(super) fn attribute(
    classes: &[&EffectiveClass],
    shards: BTreeMap<String, Vec<ShardLocation>>,
    names_in: impl Fn(&str, &[ShardLocation]) -> Vec<String>,
) -> Vec<Attributed> {
    let mut attributed: Vec<Attributed> = classes.iter().map(|_| BTreeMap::new()).collect();
    for (shard, locations) in shards {
        let owners = match owners(classes, &shard) {
            Owners::Listed(owner) => {
                add(&mut attributed, owner, shard, locations, Attribution::Schema);
                continue;
            }
            Owners::Possible(owners) => owners,
        };
        let is_tenant = owners.iter().any(|(_, class)| class.multi_tenant);
        let first = match owners.as_slice() {
            [_, _, ..] if !is_tenant => names_in(&shard, &locations),
            _ => Vec::new(),
        };
        // A shard that is no tenant is of one class only.
        let only = match first.as_slice() {
            [name] => owners.iter().find(|(_, class)| class.name == *name),
            _ => None,
        };
        let owners = only.map_or(owners.clone(), |only| vec![*only]);
        for (owner, _) in &owners {
            let others = owners.iter().filter(|(other, _)| other != owner);
            let others = others.map(|(_, other)| Arc::from(other.name.as_str())).collect();
            let attribution = Attribution::Names { others };
            add(&mut attributed, *owner, shard.clone(), locations.clone(), attribution);
        }
    }
    attributed
}

fn add(
    attributed: &mut [Attributed],
    owner: usize,
    shard: String,
    locations: Vec<ShardLocation>,
    attribution: Attribution,
) {
    if let Some(shards) = attributed.get_mut(owner) {
        shards.insert(shard, (locations, attribution));
    }
}

/// Which classes a shard may be of, by index.
enum Owners<'a> {
    /// The schema lists it for this class only, or for none.
    Listed(usize),
    /// Several classes list it, or those that have no list may have it.
    Possible(Vec<(usize, &'a EffectiveClass)>),
}

fn owners<'a>(classes: &[&'a EffectiveClass], shard: &str) -> Owners<'a> {
    let with = |has: fn(&EffectiveClass, &str) -> bool| {
        let classes = classes.iter().copied().enumerate();
        classes.filter(|(_, class)| has(class, shard)).collect::<Vec<_>>()
    };
    let listed =
        with(|class, shard| class.shards.as_ref().is_some_and(|shards| shards.contains_key(shard)));
    match listed.as_slice() {
        [(owner, _)] => Owners::Listed(*owner),
        [_, ..] => Owners::Possible(listed),
        // If all have lists, the first class reports the shard as one that is not in the schema.
        [] => match with(|class, _| class.shards.is_none()) {
            unlisted if unlisted.is_empty() => Owners::Listed(0),
            unlisted => Owners::Possible(unlisted),
        },
    }
}

impl Attribution {
    /// Whether an object that names the class `named` is to be read with `class`.
    ///
    /// # Errors
    /// [`ObjectFault::OtherClass`] for an object that may be of another class, which does not read it.
    pub(crate) fn reads(&self, class: &str, named: &[u8]) -> Result<bool, ObjectFault> {
        let Attribution::Names { others } = self else { return Ok(true) };
        if named == class.as_bytes() {
            return Ok(true);
        }
        if others.iter().any(|other| other.as_bytes() == named) {
            return Ok(false);
        }
        // A restored object may name a class that has nothing to do with this one (`object-binary.md` 4).
        let named = String::from_utf8_lossy(named);
        let is_namesake = named.eq_ignore_ascii_case(class) && names::is_class_name(&named);
        if others.is_empty() && !is_namesake {
            return Ok(true);
        }
        let classes = std::iter::once(class).chain(others.iter().map(|other| &**other));
        let classes = classes.map(str::to_owned).collect();
        Err(ObjectFault::OtherClass(Box::new(OtherClass { named: named.into_owned(), classes })))
    }
}
