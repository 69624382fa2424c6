"""Prints the first rows of a Parquet file as DuckDB reads them, long values cut short.

    first_rows.py FILE [ROWS]
"""

import sys

import duckdb

SHOWN_CHARACTERS = 12


def shortened(name, type_name):
    """The SQL that shows a column: the vector as hexadecimal, JSON as text, all cut short."""
    column = f'"{name}"'
    if type_name == "BIGINT":
        return column
    if type_name == "VARCHAR":
        text, size = column, "''"
    else:
        text = f"lower(hex({column}))" if name == "vector" else f"decode({column})"
        size = f"' ' || octet_length({column}) || ' B'"
    cut = f"left({text}, {SHOWN_CHARACTERS}) || '…' || {size}"
    return f"if(length({text}) > {SHOWN_CHARACTERS}, {cut}, {text}) AS {column}"


def main(path, rows=5):
    """Prints the table."""
    file = duckdb.read_parquet(path)
    columns = [shortened(*column) for column in zip(file.columns, map(str, file.types))]
    file.limit(int(rows)).project(", ".join(columns)).show(max_width=200)
    print(f"{path}: {len(file)} rows")


if __name__ == "__main__":
    main(*sys.argv[1:])
