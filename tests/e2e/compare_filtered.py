"""Compares an export through `filter` with the whole one.

Usage: compare_filtered.py WHOLE.parquet FILTERED.parquet CONDITION

CONDITION is an expression of Python over `row` and its properties `p`, or the name of one of those below.
"""

import json
import sys

import pyarrow.parquet as pq

NAMED = {
    # `||` of CEL is true where one side is, even if the other fails.
    "TEXT_OR_B": lambda row, p: "lorem" in (p.get("txt") or "") or p.get("b") is True,
    "LIST": lambda row, p: "a" in (p.get("txts") or []) or len(p.get("is") or []) > 2,
}
condition = NAMED.get(sys.argv[3]) or eval(f"lambda row, p: {sys.argv[3]}")
whole, kept = (pq.read_table(path).to_pylist() for path in sys.argv[1:3])
expected = [row for row in whole if condition(row, json.loads(row["properties"] or "{}"))]
assert kept == expected, (len(kept), len(expected), len(whole))
assert expected, "no row is left to compare"
print(f"{len(kept)} of {len(whole)} rows")
