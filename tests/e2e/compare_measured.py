"""Compares an export through guest/minimal-transform with the export of all rows.

Usage: compare_measured.py WHOLE MEASURED MIN_BYTES [CLASS...]

Of the named classes (all without names), MEASURED must have exactly the rows of WHOLE whose properties
have MIN_BYTES or more, unchanged, with the number of these bytes in the column `properties_bytes`; of other
classes the same files.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq


def main():
    whole, measured, min_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    manifest = json.loads((measured / "export_metadata.json").read_text())
    named = sys.argv[4:] or manifest["classes"]
    rows_in = kept = 0
    for name in manifest["classes"]:
        file = f"{name}.parquet"
        if name not in named:
            assert (whole / file).read_bytes() == (measured / file).read_bytes(), file
            continue
        expected = pq.read_table(whole / file).to_pylist()
        rows_in += len(expected)
        for row in expected:
            row["properties_bytes"] = len(row["properties"] or b"")
        expected = [row for row in expected if row["properties_bytes"] >= min_bytes]
        kept += len(expected)
        assert pq.read_table(measured / file).to_pylist() == expected, file
    transform = manifest["transforms"][-1]
    assert (transform["rowsIn"], transform["rowsKept"]) == (rows_in, kept), transform
    assert transform["rowsRefused"] == 0 and sorted(transform["classes"]) == sorted(named), transform
    assert 0 < kept, "no row is left to compare"
    assert kept < rows_in or min_bytes == 0, "no row was dropped"
    print(f"{kept} of {rows_in} rows")


main()
