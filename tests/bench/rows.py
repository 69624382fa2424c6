"""Compares the rows of two exports of one class, whichever files they are in. A program of its own:
the peak memory of a process is at least what its parent held when it started it.

    python tests/bench/rows.py OFFLOOM_FOLDER WEAVIATE_FOLDER CLASS"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

OPTIONAL = ["vector", "named_vectors", "multi_vectors", "properties"]
COMPARED = ["creation_time", "update_time", *OPTIONAL]


def of_weaviate(folder: Path, class_name: str) -> pa.Table:
    """Weaviate's rows of a class by tenant and id. It writes some nulls as empty values (export-api.md
    5.4)."""
    tables = []
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        notes = file.schema_arrow.metadata
        if notes[b"collection"].decode() == class_name:
            rows = file.read()
            tenant = pa.array([notes.get(b"tenant", b"").decode()]).take(
                pa.array([0] * len(rows), pa.int64())
            )
            tables.append(rows.append_column("tenant", tenant))
    table = pa.concat_tables(tables)
    for name in OPTIONAL:
        values = table[name].cast(pa.large_binary())
        empty = pc.equal(pc.binary_length(values), 0)
        values = pc.if_else(pc.fill_null(empty, True), pa.scalar(None, pa.large_binary()), values)
        table = table.set_column(table.column_names.index(name), name, values)
    return in_order(table)


def of_offloom(folder: Path, class_name: str) -> pa.Table:
    """Offloom's rows of a class by tenant and id."""
    files = json.loads((folder / "export_metadata.json").read_text())["files"]
    names = [file["key"] for file in files if file["class"] == class_name]
    table = pa.concat_tables(pq.read_table(folder / name) for name in names)
    if "tenant" not in table.column_names:
        nothing = pa.array([""]).take(pa.array([0] * len(table), pa.int64()))
        table = table.append_column("tenant", nothing)
    return in_order(table)


def in_order(table: pa.Table) -> pa.Table:
    """The compared columns by tenant and id, of the same types whoever wrote them."""
    columns = {name: table[name].cast(pa.large_string()) for name in ("tenant", "id")}
    for name in COMPARED:
        columns[name] = table[name].cast(pa.large_binary() if name in OPTIONAL else pa.int64())
    table = pa.table(columns)
    return table.take(pc.sort_indices(table, [("tenant", "ascending"), ("id", "ascending")]))


def differences(ours: pa.Table, theirs: pa.Table) -> list[str]:
    """What differs, and nothing if all rows are equal."""
    if len(ours) != len(theirs):
        return [f"{len(ours)} rows, not {len(theirs)}"]
    found = []
    for name in ours.column_names:
        if not ours[name].combine_chunks().equals(theirs[name].combine_chunks()):
            found.append(f"{name} differs")
    return found


def main() -> int:
    ours, theirs, class_name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    rows = of_offloom(ours, class_name)
    found = differences(rows, of_weaviate(theirs, class_name))
    print(
        f"{len(rows):,} rows compared with Weaviate's own export: {', '.join(found) or 'equal'}",
        flush=True,
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
