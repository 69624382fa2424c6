//! A million rows out of many segments and logs, every one of them compared with the model.
mod comparison;
mod exported;

use std::collections::{HashMap, hash_map::Entry};
use std::time::Instant;

use offloom_encoder::{History, scale, write_history};

use crate::golden::export;
use comparison::{Comparison, Difference};
use exported::{ExportedRow, read_rows};

/// Writes a history, exports it, and calls `on_row` with every row of the file.
fn export_history(history: &History, on_row: impl FnMut(ExportedRow)) {
    let source = tempfile::tempdir().unwrap();
    write_history(history, source.path()).unwrap();
    let schema = source.path().join("schema.json");
    let more = ["--workers", "2", "--progress", "none"];
    let said = export(&source.path().join("data"), &schema, &source.path().join("lake"), &more);
    let folder = said.expect_success().folder();
    read_rows(&folder.join(format!("{}.parquet", History::CLASS)), on_row);
}

#[test]
fn a_million_rows_are_those_of_the_model() {
    // Of the objects that ever were, one in ten is deleted in the end.
    let history = History::new(scale(1_150_000, 1_150_000));
    let begun = Instant::now();
    let mut comparison = Comparison::new(&history);
    export_history(&history, |row| comparison.row(&row));
    let (rows, differences) = comparison.end();
    assert_eq!(differences, []);
    assert!(rows >= 1_000_000, "{rows} rows");
    println!("soak: {rows} rows of a history compared, none differs, in {:?}", begun.elapsed());
}

/// A small history, exported, and its rows.
fn exported() -> (History, Vec<ExportedRow>) {
    let history = History::new(20_000);
    let mut rows = Vec::new();
    export_history(&history, |row| rows.push(row));
    (history, rows)
}

fn differences(history: &History, rows: &[ExportedRow]) -> Vec<Difference> {
    let mut comparison = Comparison::new(history);
    rows.iter().for_each(|row| comparison.row(row));
    comparison.end().1
}

/// The comparison itself: each change of a single row is found, and nothing else is.
#[test]
fn one_row_that_is_changed_lost_doubled_or_moved_is_found() {
    let (history, rows) = exported();
    assert_eq!(differences(&history, &rows), []);
    let changed = |change: &dyn Fn(&mut Vec<ExportedRow>)| {
        let mut rows = rows.clone();
        change(&mut rows);
        differences(&history, &rows)
    };
    for at in [0, 9_999, 10_000, rows.len() - 1] {
        let (tenant, id) = (rows[at].tenant.clone(), rows[at].id.clone());
        let of = |column| Difference::Value { tenant: tenant.clone(), id: id.clone(), column };
        let lost = Difference::Lost { tenant: tenant.clone(), id: id.clone() };
        let twice = Difference::Twice { tenant: tenant.clone(), id: id.clone() };
        assert_eq!(changed(&|rows| drop(rows.remove(at))), std::slice::from_ref(&lost));
        assert_eq!(changed(&|rows| rows.push(rows[at].clone())), [twice]);
        assert_eq!(changed(&|rows| rows[at].created_ms += 1), [of("creation_time")]);
        assert_eq!(changed(&|rows| rows[at].updated_ms -= 1), [of("update_time")]);
        assert_eq!(changed(&|rows| rows[at].class_name.push('x')), [of("class_name")]);
        let last = |bytes: &mut Option<Vec<u8>>| *bytes.as_mut().unwrap().last_mut().unwrap() ^= 1;
        assert_eq!(changed(&|rows| last(&mut rows[at].properties)), [of("properties")]);
        assert_eq!(changed(&|rows| rows[at].properties = None), [of("properties")]);
        let with_vector = (at..).chain(0..at).find(|at| rows[*at % rows.len()].vector.is_some());
        let with_vector = with_vector.unwrap() % rows.len();
        let of_vector = Difference::Value {
            tenant: rows[with_vector].tenant.clone(),
            id: rows[with_vector].id.clone(),
            column: "vector",
        };
        assert_eq!(
            changed(&|rows| last(&mut rows[with_vector].vector)),
            std::slice::from_ref(&of_vector)
        );
        assert_eq!(changed(&|rows| rows[with_vector].vector = None), [of_vector]);
        assert_eq!(changed(&|rows| rows[at].named_vectors = Some(vec![])), [of("named_vectors")]);
        assert_eq!(changed(&|rows| rows[at].multi_vectors = Some(vec![])), [of("multi_vectors")]);
        // An id and a tenant that no object has.
        let unknown = |tenant: &str, id: &str| Difference::Unknown {
            tenant: tenant.to_owned(),
            id: id.to_owned(),
        };
        let nil = "00000000-0000-0000-0000-000000000000";
        let expected = [unknown(&tenant, nil), lost.clone()];
        assert_eq!(changed(&|rows| rows[at].id = nil.to_owned()), expected);
        assert_eq!(changed(&|rows| rows[at].tenant.clear()), [unknown("", &id), lost]);
    }
}

/// Two rows of the same id in two tenants, with their tenants exchanged: no id is missing.
#[test]
fn rows_that_change_places_between_tenants_are_found() {
    let (history, mut rows) = exported();
    let mut first_of = HashMap::new();
    let same_id = (0..rows.len()).find_map(|at| match first_of.entry(rows[at].id.clone()) {
        Entry::Occupied(first) => Some((*first.get(), at)),
        Entry::Vacant(free) => {
            free.insert(at);
            None
        }
    });
    let (one, other) = same_id.unwrap();
    let tenant = rows[one].tenant.clone();
    rows[one].tenant = std::mem::replace(&mut rows[other].tenant, tenant);
    let found = differences(&history, &rows);
    for at in [one, other] {
        let (tenant, id) = (rows[at].tenant.clone(), rows[at].id.clone());
        assert!(
            found.contains(&Difference::Value { tenant, id, column: "properties" }),
            "{found:?}"
        );
    }
}

/// An object that was deleted last, as it was before: it must not come back.
#[test]
fn a_row_that_was_deleted_is_found() {
    let (history, mut rows) = exported();
    let (tenant, (name, objects)) = history.tenants().iter().enumerate().next().unwrap();
    let deleted = (0..*objects).find(|number| history.live(tenant, *number).is_none()).unwrap();
    let mut row = rows.iter().find(|row| row.tenant == *name).unwrap().clone();
    row.id = comparison::text(History::id(deleted));
    let expected = Difference::Deleted { tenant: name.clone(), id: row.id.clone() };
    rows.push(row);
    assert_eq!(differences(&history, &rows), [expected]);
}
