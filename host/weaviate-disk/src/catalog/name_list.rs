//! Long lists of names in messages.

/// The first `shown` names, then the number of the others: `a, b and 2 more`.
pub fn name_list<'a>(names: impl ExactSizeIterator<Item = &'a str>, shown: usize) -> String {
    let more = names.len().saturating_sub(shown);
    let first: Vec<&str> = names.take(shown).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::name_list;

    #[test]
    fn names_after_the_first_ones_are_counted() {
        assert_eq!(name_list([].into_iter(), 2), "");
        assert_eq!(name_list(["a", "b"].into_iter(), 2), "a, b");
        assert_eq!(name_list(["a", "b", "c"].into_iter(), 2), "a, b and 1 more");
    }
}
