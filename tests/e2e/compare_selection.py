"""Compares an export with a selection to the whole one: the members that stay are the same bytes.

Usage: compare_selection.py WHOLE.parquet SELECTED.parquet SELECTION
SELECTION is JSON: {"include": [names]}, {"exclude": [names]} or {"vectors": [names]}.
"""
import json
import sys

import pyarrow.parquet as pq

whole, selected = (pq.read_table(path).to_pylist() for path in sys.argv[1:3])
selection = json.loads(sys.argv[3])


def members(text):
    """The members of a JSON object as they are written, in order: [(name, raw value)]."""
    decoder, found, at = json.JSONDecoder(), [], 1
    while text[at] != "}":
        at += text[at] == ","
        name, at = decoder.raw_decode(text, at)
        start = at + 1
        _, at = decoder.raw_decode(text, start)
        found.append((name, text[start:at]))
    return found


def kept(name):
    if "include" in selection:
        return name in selection["include"]
    return name not in selection.get("exclude", [])


assert len(whole) == len(selected) > 0
changed = 0
for before, after in zip(whole, selected):
    for column in ("id", "class_name", "creation_time", "update_time"):
        assert before[column] == after[column], (column, before, after)
    if "vectors" in selection:
        assert selection["vectors"] == [], "only none is compared here"
        assert after["vector"] is after["named_vectors"] is after["multi_vectors"] is None, after
        assert before["properties"] == after["properties"]
        changed += any(before[c] is not None for c in ("vector", "named_vectors", "multi_vectors"))
        continue
    for column in ("vector", "named_vectors", "multi_vectors"):
        assert before[column] == after[column], (column, before["id"])
    if before["properties"] is None:
        assert after["properties"] is None
        continue
    expected = [member for member in members(before["properties"].decode()) if kept(member[0])]
    assert members(after["properties"].decode()) == expected, (before["properties"], after["properties"])
    changed += before["properties"] != after["properties"]
assert changed > 0, "the selection changed nothing"
