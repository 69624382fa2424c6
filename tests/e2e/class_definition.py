"""Prints the definition of the class in a Parquet file, `weaviate.class` of its metadata, or `null`."""

import sys

import pyarrow.parquet as pq

value = (pq.read_metadata(sys.argv[1]).metadata or {}).get(b"weaviate.class")
sys.stdout.write("null" if value is None else value.decode())
