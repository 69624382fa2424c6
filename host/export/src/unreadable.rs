//! Classes that cannot be read, or not all of them: what is said of them, and what helps.
use std::fmt;

use offloom_weaviate_disk::{Class, name_list};

/// Names of further classes that a message has.
const SHOWN: usize = 20;

/// Classes that an export may not leave out cannot be read, or not all of them.
#[derive(Debug, thiserror::Error)]
pub struct UnreadableClasses {
    first: String,
    first_reason: String,
    others: Vec<String>,
    /// Whether permission to read is denied: the remedy is to be allowed, and not to go without.
    denied: bool,
    /// Whether the export has other classes.
    has_rest: bool,
}

impl UnreadableClasses {
    /// All of `classes` have faults. A denial is shown first, since its remedy often helps the others.
    pub(crate) fn new(mut classes: Vec<Class>, has_rest: bool) -> UnreadableClasses {
        let is_denied = |class: &Class| class.faults.iter().any(|fault| fault.is_denied());
        let denied = classes.iter().position(is_denied);
        let mut names: Vec<String> = classes.iter().map(|class| class.name.to_string()).collect();
        let at = denied.unwrap_or(0);
        let (first, first_reason) = if at < classes.len() {
            (names.remove(at), reason(&classes.swap_remove(at)))
        } else {
            (String::new(), String::new())
        };
        UnreadableClasses { first, first_reason, others: names, denied: denied.is_some(), has_rest }
    }
}

/// Why a class cannot be read: the first of its faults, denials before others, and how many there are.
pub(crate) fn reason(class: &Class) -> String {
    let denied = class.faults.iter().find(|fault| fault.is_denied());
    let first = denied.or(class.faults.first()).map(ToString::to_string).unwrap_or_default();
    match class.faults.len() {
        0 | 1 => first,
        2 => format!("{first} (and one more part of it)"),
        count => format!("{first} (and {} more parts of it)", count.saturating_sub(1)),
    }
}

impl fmt::Display for UnreadableClasses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "class {} cannot be read: {}", self.first, self.first_reason)?;
        if !self.others.is_empty() {
            let others = name_list(self.others.iter().map(String::as_str), SHOWN);
            write!(formatter, "; the same holds for: {others}")?;
        }
        match (self.denied, self.has_rest) {
            (true, _) => Ok(()),
            (false, true) => formatter.write_str(
                "; leave it out (--exclude, exclude), or allow a partial export (--allow-partial, \
                 allowPartial) to go without",
            ),
            (false, false) => formatter.write_str("; the export has no other class"),
        }
    }
}
