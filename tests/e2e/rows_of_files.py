"""Prints the rows of Parquet files, sorted: `file class_name tenant properties`, with - for no tenant."""
import os
import sys

import pyarrow.parquet

lines = []
for file in sys.argv[1:]:
    for row in pyarrow.parquet.read_table(file).to_pylist():
        tenant = row.get("tenant") or "-"
        lines.append((os.path.basename(file), row["class_name"], tenant, row["properties"].decode()))
for line in sorted(lines):
    print(*line)
