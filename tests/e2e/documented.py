"""Runs Python or SQL out of the documents in the folder of an export, and compares what it reads.

    documented.py python|sql FOLDER CODE [PROPERTY CLASS...]

Every table that an expression of Python gives must hold the rows that pyarrow reads, file by file. A
query must give as many rows as its LIMIT and the files allow, with the values that pyarrow and json
give. The code runs once for each CLASS, with it and PROPERTY in place of `Article` and `title`.
Prints one line for each table or query.
"""

import ast
import glob
import json
import os
import re
import sys
import warnings

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

NAMED_FILES = re.compile(r"""['"]([^'"]*\.parquet)['"]""")


def rows_of_files(code):
    """The rows of the files that the code names, as pyarrow reads each alone, ordered."""
    patterns = set(NAMED_FILES.findall(code))
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not paths:
        raise ValueError(f"no file is called {patterns}")
    return ordered(row for path in paths for row in pq.ParquetFile(path).read().to_pylist())


def ordered(rows):
    """Readers may take files in another order."""
    return sorted(rows, key=lambda row: (row["class_name"], row.get("tenant") or "", row["id"]))


def rows_of(value):
    """The rows of a table of any reader; None for another value."""
    if isinstance(value, duckdb.DuckDBPyRelation):
        value = value.to_arrow_table()
    if isinstance(value, pa.Table):
        return value.to_pylist()
    if isinstance(value, polars.DataFrame):
        return value.to_dicts()
    if isinstance(value, pandas.DataFrame):
        value = value.astype(object)
        return value.where(value.notna(), None).to_dict("records")
    return None


def run_python(code):
    """Runs the statements, and compares the tables that are expressions."""
    scope = {}
    for statement in ast.parse(code).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), "document", "exec"), scope)
            continue
        text = ast.unparse(statement)
        value = eval(compile(ast.Expression(statement.value), "document", "eval"), scope)
        status = getattr(value, "status", None)
        if status is not None and getattr(status, "value", status) != "SUCCESS":
            raise ValueError(f"{text}: {value}")
        rows = rows_of(value)
        if rows is not None:
            # `files` may be a variable: the code as a whole names the files.
            if ordered(rows) != rows_of_files(code):
                raise ValueError(f"{text}: other rows than pyarrow reads: {str(rows[:2])[:400]}")
            print(f"{len(rows)} rows: {text}")


def run_sql(code, property_name):
    """Runs the queries and compares ids, and the property that they read."""
    queries = duckdb.extract_statements(code)
    for query in queries:
        result = duckdb.sql(query.query)
        columns, rows = result.columns, result.fetchall()
        expected = {row["id"]: row["properties"] for row in rows_of_files(query.query)}
        limit = re.search(r"LIMIT (\d+)", query.query)
        count = min(len(expected), int(limit[1]) if limit else len(expected))
        if len(rows) != count:
            raise ValueError(f"{query.query}: {len(rows)} rows, not {count}")
        for row in (dict(zip(columns, values)) for values in rows):
            stored = expected[row["id"]]
            value = None if stored is None else json.loads(stored).get(property_name)
            if row.get(property_name) != value:
                raise ValueError(f"{query.query}: {row}, not {value!r}")
        print(f"{len(rows)} rows: {query.query.strip()}")
    return len(queries)


def main(kind, folder, code, property_name="title", *class_names):
    """Runs the code in the folder."""
    warnings.simplefilter("error", DeprecationWarning)
    os.chdir(folder)
    for class_name in class_names or ["Article"]:
        of_class = code.replace("Article", class_name).replace("title", property_name)
        if kind == "python":
            run_python(of_class)
        elif not run_sql(of_class, property_name):
            raise ValueError("a block without a query")


if __name__ == "__main__":
    main(*sys.argv[1:])
