"""Prints how many rows each class and tenant of some Parquet files has, as `class tenant rows`."""
import sys

import duckdb

QUERY = """
SELECT class_name, tenant, count(*) FROM read_parquet(?)
WHERE json_extract_string(CAST(decode(properties) AS JSON), '$.tenant') = tenant
GROUP BY ALL ORDER BY ALL
"""

for file in sys.argv[1:]:
    for row in duckdb.execute(QUERY, [file]).fetchall():
        print(*row)
