//! Attacks by transforms, seen from outside: each ends in its own error on its own export, the server answers,
//! memory comes back, and a neighbour's files are the bytes that it gets alone.
use std::collections::BTreeSet;

use crate::attacks::{Frame, Outcome};
use crate::program::root;
use Outcome::{Failed, Harmless, Refused, Unnoticed};

/// Every behaviour of `guest/hostile-transform` that ends at once.
const QUICK: &[(&str, Outcome)] = &[
    ("open-panic", Refused("unreachable code or a panic")),
    ("refuse-with-ansi", Refused(r"unsupported: \u{1b}[2J\u{1b}[31mall is well\u{d}\u{a}")),
    ("shape-unknown", Refused("names the column `secret`, which its input does not have")),
    ("shape-reads-twice", Refused("names the column `id` twice")),
    ("shape-writes-id", Refused("changes the column `id`, which no transform may change")),
    ("shape-writes-tenant", Refused("changes the column `tenant`")),
    ("shape-drops-id", Refused("changes the column `id`")),
    ("shape-drops-unknown", Refused("names the column `secret`")),
    ("shape-writes-twice", Refused("names the column `added` twice")),
    ("shape-writes-and-drops", Refused("names the column `vector` twice")),
    ("shape-empty-name", Refused("the column name ``, which is not 1 to 256 bytes")),
    ("shape-long-name", Refused("which is not 1 to 256 bytes")),
    ("shape-control-name", Refused(r"the column name `a\u{1b}[2J\u{a}`")),
    ("shape-many-columns", Refused("leads to more than 1000 columns")),
    ("apply-panic", Failed("unreachable code or a panic")),
    ("apply-exit", Failed("the guest trapped: ")),
    ("apply-recursion", Failed("the guest trapped: ")),
    ("apply-memory", Failed("more than 268435456 bytes of memory")),
    ("apply-memory-grow", Failed("more than 268435456 bytes of memory")),
    ("apply-error", Failed(r"invalid data: \u{1b}[2J\u{a}no")),
    // What is too much is dropped.
    ("log-flood", Harmless),
    ("keep-short", Failed("its edits keep 0 bytes of bits")),
    ("keep-long", Failed("bytes of bits, and the rows need")),
    // A transform may drop rows: the manifest says how many.
    ("keep-nothing", Unnoticed),
    ("refuse-beyond", Failed("which is not in the batch or not in order")),
    ("refuse-twice", Failed("refuse row 0, which is not in the batch or not in order")),
    ("refuse-descending", Failed("refuse row 0, which is not in the batch or not in order")),
    ("refuse-all", Failed("the transform hostile")),
    ("refuse-long-reason", Failed(r"\u{1b}[2J\u{a}")),
    ("counters-many", Failed("its counters are not 64 at most")),
    ("counters-newline", Failed("its counters are not 64 at most")),
    ("edit-no-column", Failed("its edits have 0 columns, and its shape writes 1")),
    ("edit-two-columns", Failed("its edits have 2 columns, and its shape writes 1")),
    ("edit-unasked", Failed("its edits have 1 columns, and its shape writes 0")),
    ("edit-kind", Failed("`added` have values of another type")),
    ("edit-few-values", Failed("`added` have another number of offsets than rows")),
    ("edit-offsets-descend", Failed("offsets that do not lead from 0 to the end")),
    ("edit-offsets-start", Failed("offsets that do not lead from 0 to the end")),
    ("edit-offsets-end", Failed("offsets that do not lead from 0 to the end")),
    ("edit-utf-8", Failed("text that is not UTF-8")),
    ("edit-split-character", Failed("text that is not UTF-8")),
    ("edit-null", Failed("a null where none is allowed")),
    ("edit-validity", Failed("another number of validity bits than rows")),
    ("edit-vector", Failed("a part of a component")),
    ("edit-flood", Failed("more than ")),
    ("edit-huge-call", Failed("bytes handed to the host in one call")),
];

/// Those that end after ten seconds of processor time, or thirty on the wall.
const SLOW: &[(&str, Outcome)] = &[
    ("open-loop", Refused("the guest broke a limit: ")),
    ("shape-loop", Refused("the guest broke a limit: ")),
    ("apply-loop", Failed("the guest broke a limit: more than 10s of processor time")),
];

#[test]
fn a_transform_that_misbehaves_fails_its_own_export_and_nothing_else() {
    let frame = Frame::with_transform("offloom-guest-hostile-transform");
    frame.run(QUICK);
    frame.run_together(SLOW);
}

/// What is added to the guest is added here.
#[test]
fn every_behaviour_of_the_hostile_transform_is_tried() {
    let tried: BTreeSet<&str> = QUICK.iter().chain(SLOW).map(|(name, _)| *name).collect();
    let source =
        std::fs::read_to_string(root().join("guest/hostile-transform/src/lib.rs")).unwrap();
    let begins = ["open-", "shape-", "apply-", "keep-", "refuse-", "counters-", "edit-", "log-"];
    let words = source.split('"').skip(1).step_by(2);
    let all: BTreeSet<&str> =
        words.filter(|word| begins.iter().any(|begin| word.starts_with(begin))).collect();
    assert_eq!(all, tried);
}
