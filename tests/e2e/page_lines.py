"""Runs the lines that the page shows for a file, SQL and Python, and prints the rows that each gives."""
import sys

import duckdb

sql, python = sys.argv[1:]
*others, last = [statement for statement in sql.split(";") if statement.strip()]
for statement in others:
    assert duckdb.sql(statement).fetchall(), statement
names: dict = {}
exec(python, names)
print(len(duckdb.sql(last).fetchall()), names["table"].num_rows)
