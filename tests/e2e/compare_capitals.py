"""Compares an export through tests/python_transform with the whole one: `txt` alone is in capital letters.

Usage: compare_capitals.py WHOLE.parquet CAPITALS.parquet
"""

import json
import sys

import pyarrow.parquet as pq

whole, capitals = (pq.read_table(path).to_pylist() for path in sys.argv[1:3])
assert len(whole) == len(capitals) > 0
changed = 0
for before, after in zip(whole, capitals):
    expected = json.loads(before.pop("properties") or "null")
    found = json.loads(after.pop("properties") or "null")
    assert before == after
    if expected and isinstance(expected.get("txt"), str):
        changed += expected["txt"] != expected["txt"].upper()
        expected["txt"] = expected["txt"].upper()
    assert expected == found, (expected, found)
assert changed > 10, changed
print(f"{changed} of {len(whole)} rows")
