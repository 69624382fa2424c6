"""Reads Parquet files with pyarrow, DuckDB and Polars, which must agree on schema and values.

    read_back.py FILE...

Prints every disagreement, and ends with status 1 if there was one.
"""

import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

# Arrow type -> what DuckDB and Polars call it.
TYPES = {
    pa.string(): ("VARCHAR", polars.String),
    pa.binary(): ("BLOB", polars.Binary),
    pa.int64(): ("BIGINT", polars.Int64),
}


def disagreements(path):
    """What the three readers do not agree on, and the number of rows that pyarrow finds."""
    arrow = pq.read_table(path)
    found = schema_disagreements(path, arrow.schema) + value_disagreements(path, arrow)
    return found, len(arrow)


def schema_disagreements(path, schema):
    """Columns, types, required columns and file metadata that a reader sees otherwise."""
    found = []
    unknown = [f"{each.name}: {each.type}" for each in schema if each.type not in TYPES]
    if unknown:
        return [f"columns of a type that no export has: {', '.join(unknown)}"]

    described = duckdb.sql("DESCRIBE FROM read_parquet($file)", params={"file": path}).fetchall()
    by_duckdb = [(name, type_name) for name, type_name, *_ in described]
    expected = [(each.name, TYPES[each.type][0]) for each in schema]
    if by_duckdb != expected:
        found.append(f"schema: DuckDB has {by_duckdb}, pyarrow {expected}")

    leaves = duckdb.sql(
        "SELECT name, repetition_type FROM parquet_schema($file) WHERE num_children IS NULL",
        params={"file": path},
    ).fetchall()
    expected = [(each.name, "OPTIONAL" if each.nullable else "REQUIRED") for each in schema]
    if leaves != expected:
        found.append(f"repetition: DuckDB has {leaves}, pyarrow {expected}")

    by_polars = list(polars.read_parquet_schema(path).items())
    expected = [(each.name, TYPES[each.type][1]) for each in schema]
    if by_polars != expected:
        found.append(f"schema: Polars has {by_polars}, pyarrow {expected}")

    # The Arrow schema is a reader's own matter; all else are the file's words.
    expected = {
        key.decode(): value.decode()
        for key, value in (pq.read_metadata(path).metadata or {}).items()
        if key != b"ARROW:schema"
    }
    pairs = duckdb.sql("SELECT key, value FROM parquet_kv_metadata($file)", params={"file": path})
    in_duckdb = {key.decode(): value.decode() for key, value in pairs.fetchall()}
    for reader, metadata in [("DuckDB", in_duckdb), ("Polars", polars.read_parquet_metadata(path))]:
        metadata = {key: value for key, value in metadata.items() if key != "ARROW:schema"}
        if metadata != expected:
            found.append(f"file metadata: {reader} has {metadata}, pyarrow {expected}")
    return found


def value_disagreements(path, arrow):
    """Columns in which a reader sees another value, or another order of rows."""
    found = []
    in_duckdb = duckdb.sql("FROM read_parquet($file)", params={"file": path}).to_arrow_table()
    in_polars = polars.read_parquet(path).to_arrow()
    for reader, table in [("DuckDB", in_duckdb), ("Polars", in_polars)]:
        if len(table) != len(arrow):
            found.append(f"{reader} finds {len(table)} rows, pyarrow {len(arrow)}")
            continue
        for name in arrow.schema.names:
            if name not in table.schema.names:
                continue  # the schemas were compared already
            theirs = table[name].cast(arrow.schema.field(name).type).combine_chunks()
            ours = arrow[name].combine_chunks()
            if not theirs.equals(ours):
                row = next(at for at in range(len(ours)) if ours[at] != theirs[at])
                found.append(
                    f"row {row}, column {name}: {reader} reads {str(theirs[row])[:80]!r}, "
                    f"pyarrow {str(ours[row])[:80]!r}"
                )
    return found


def main(paths):
    """Reads every file and reports."""
    if not paths:
        print("usage: read_back.py FILE...", file=sys.stderr)
        return 2
    failed = False
    for path in paths:
        found, rows = disagreements(path)
        failed |= bool(found)
        for each in found:
            print(f"{path}: {each}")
        if not found:
            print(f"{path}: {rows} rows, pyarrow, DuckDB and Polars agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
