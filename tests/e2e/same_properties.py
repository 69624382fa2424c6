"""Compares the properties in a Parquet file with the texts that were stored, as pyarrow and DuckDB read them.

    same_properties.py PARQUET FOLDER

FOLDER has one file for each object, called by its id. Prints every difference, and ends with status 1 if
there was one.
"""

import hashlib
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq


def main():
    path, folder = sys.argv[1], Path(sys.argv[2])
    stored = {file.name: file.read_bytes() for file in folder.iterdir()}
    table = pq.read_table(path, columns=["id", "properties"])
    by_pyarrow = list(zip(table["id"].to_pylist(), table["properties"].to_pylist(), strict=True))
    digests = duckdb.sql(
        "SELECT id, octet_length(properties), sha256(properties) FROM read_parquet($file)", params={"file": path}
    ).fetchall()
    found = []
    if sorted(id for id, _ in by_pyarrow) != sorted(stored):
        found.append(f"ids: {sorted(id for id, _ in by_pyarrow)}, stored {sorted(stored)}")
    found += [f"pyarrow: {id}" for id, properties in by_pyarrow if properties != stored.get(id)]
    expected = sorted(
        (id, len(text), hashlib.sha256(text).hexdigest()) for id, text in stored.items()
    )
    if sorted(digests) != expected:
        found.append(f"DuckDB: {sorted(digests)}, stored {expected}")
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
