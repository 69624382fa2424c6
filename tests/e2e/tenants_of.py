"""Prints the tenants that have rows in a Parquet file, one a line."""
import sys

import duckdb

for (tenant,) in duckdb.execute("SELECT DISTINCT tenant FROM read_parquet(?) ORDER BY ALL", [sys.argv[1]]).fetchall():
    print(tenant)
