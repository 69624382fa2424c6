//! Finds the name of a node by the shards in its data directory, in the schema of its own log: a node
//! that was down lacks the shards of the newest schema.
use std::{collections::BTreeMap, sync::Arc};

use super::{
    effective_schema::{EffectiveClass, EffectiveSchema},
    on_disk::ClassOnDisk,
};

/// The names that the node with these `classes` may have; see [`super::node::Node::names`].
pub(crate) fn names(
    known: &EffectiveSchema,
    classes: &BTreeMap<String, ClassOnDisk>,
) -> Arc<[Arc<str>]> {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (directory, class) in classes {
        let classes = known.classes.get(directory).into_iter().flat_map(EffectiveClass::all);
        let lists: Vec<_> = classes.filter_map(|class| class.shards.as_ref()).collect();
        let states = |shard| lists.iter().filter_map(move |list| list.get(shard));
        for state in class.shards.keys().flat_map(states) {
            for node in state.nodes.iter() {
                let count = counts.entry(node.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
    let Some(most) = counts.values().copied().max() else {
        return known.node_names().into_iter().collect();
    };
    counts.into_iter().filter(|(_, count)| *count == most).map(|(name, _)| name).collect()
}
