"""Counts the rows of Shelf.parquet whose property `tenant` is masked, and those where it is the tenant.

Usage: count_masked.py Shelf.parquet
"""

import json
import sys

import pyarrow.parquet as pq

masked = plain = 0
for row in pq.read_table(sys.argv[1]).to_pylist():
    value = json.loads(row["properties"])["tenant"]
    assert value in ("***", row["tenant"]), row
    masked += value == "***"
    plain += value == row["tenant"]
print(masked, plain)
