//! The class filter: which of the offered classes become a file.
use crate::bindings::exports::offloom::export::exporter::{Class, Selection};

/// The names that the selection leaves of the offered classes, sorted.
pub fn select_classes(offered: &[Class], selection: &Selection) -> Vec<String> {
    let mut names: Vec<String> = offered
        .iter()
        .map(|class| &class.name)
        .filter(|name| selection.include.is_empty() || selection.include.contains(name))
        .filter(|name| !selection.exclude.contains(name))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
