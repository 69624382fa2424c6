//! What a partial export lacks, for a person.
use crate::terminal::errln;
use offloom_protocol::manifest::Missing;

/// Entries that are shown one by one; the others are counted.
const SHOWN: usize = 100;

/// Prints what an export lacks to standard error.
pub fn print(missing: &[Missing]) {
    for line in lines(missing) {
        errln!("missing: {line}");
    }
}

fn lines(missing: &[Missing]) -> Vec<String> {
    let mut lines: Vec<String> = missing.iter().take(SHOWN).map(line).collect();
    let more = missing.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("{more} more entries, which export_metadata.json lists"));
    }
    lines
}

/// `class Shelf, shard t1: 2 objects: they break their format`.
fn line(missing: &Missing) -> String {
    let shard = missing.shard.as_ref().map(|shard| format!(", shard {shard}"));
    let objects = missing.objects.map(|objects| format!(": {objects} objects"));
    format!(
        "class {}{}{}: {}",
        missing.class,
        shard.unwrap_or_default(),
        objects.unwrap_or_default(),
        missing.reason
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(shard: usize, objects: Option<u64>) -> Missing {
        let reason = "broken".to_owned();
        Missing { class: "Shelf".to_owned(), shard: Some(format!("t{shard}")), objects, reason }
    }

    #[test]
    fn a_line_has_what_is_known_of_an_entry() {
        let whole = Missing { shard: None, ..missing(0, None) };
        assert_eq!(
            lines(&[missing(1, None), missing(2, Some(7)), whole]),
            [
                "class Shelf, shard t1: broken",
                "class Shelf, shard t2: 7 objects: broken",
                "class Shelf: broken"
            ]
        );
    }

    #[test]
    fn of_many_entries_the_first_are_shown_and_all_are_counted() {
        let all: Vec<Missing> = (0..SHOWN + 23).map(|shard| missing(shard, None)).collect();
        assert_eq!(lines(&all[..SHOWN]).len(), SHOWN);
        let lines = lines(&all);
        assert_eq!(lines.len(), SHOWN + 1);
        assert_eq!(lines[SHOWN - 1], "class Shelf, shard t99: broken");
        assert_eq!(lines[SHOWN], "23 more entries, which export_metadata.json lists");
    }
}
