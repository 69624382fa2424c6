"""Fails unless the rows of a Parquet file have ids and neither vectors nor properties."""
import sys

import pyarrow.parquet as pq

rows = pq.read_table(sys.argv[1]).to_pylist()
assert rows
for row in rows:
    assert row["id"] and row["vector"] is row["named_vectors"] is row["multi_vectors"] is None, row
    assert row["properties"] in (None, b"{}"), row
