"""pyarrow, DuckDB and Polars write a table to Parquet with one thread each, from memory to memory.

    python tests/bench/writers.py EXPORT_FOLDER CLASS ROW_GROUP_ROWS

It runs what its standard input asks for, as `offloom-bench encode` does: a line with the name of a
writer is answered by one line of JSON with the seconds, the processor seconds and the bytes. The table
is that of an export of Offloom.

Each writes to what is fastest for it: pyarrow and Polars to memory that is there already and is used
again, so that neither asks the system for pages, DuckDB to a file in memory, because it writes files
alone.

All write Zstandard at level 3 and row groups of the same rows; only class_name has a dictionary where
a writer can be told, and only columns of numbers and ids have statistics."""

import io
import json
import os
import sys
import time
from pathlib import Path

# Before it is imported.
os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

LEVEL = 3
SCALAR = ["id", "class_name", "creation_time", "update_time"]


class Writers:
    """The table as each writer holds it."""

    def __init__(self, folder: Path, class_name: str, row_group_rows: int):
        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)
        files = json.loads((folder / "export_metadata.json").read_text())["files"]
        names = [file["key"] for file in files if file["class"] == class_name]
        self.table = pa.concat_tables(pq.read_table(folder / name) for name in names).combine_chunks()
        self.rows = row_group_rows
        self.has_vectors = self.table["vector"].null_count < len(self.table)
        self.frame = polars.from_arrow(self.table)
        self.duckdb = duckdb.connect(":memory:", config={"threads": 1})
        self.duckdb.register("arrow", self.table)
        self.duckdb.execute("CREATE TABLE rows AS SELECT * FROM arrow")
        self.file = folder.parent / "duckdb.parquet"
        # No file is larger than the table.
        self.memory = pa.allocate_buffer(self.table.nbytes + (1 << 20))
        self.bytes = io.BytesIO(bytes(self.table.nbytes + (1 << 20)))

    def pyarrow(self) -> int:
        """As Offloom: vectors are not compressed."""
        return self.with_pyarrow({"vector": "NONE"})

    def pyarrow_all(self) -> int:
        """Vectors compressed too."""
        return self.with_pyarrow({})

    def with_pyarrow(self, other: dict) -> int:
        out = pa.FixedSizeBufferWriter(self.memory)
        compression = {name: "ZSTD" for name in self.table.column_names} | other
        levels = {name: LEVEL for name, codec in compression.items() if codec == "ZSTD"}
        # As Offloom: its level of ids is faster, and makes them smaller.
        levels["id"] = 1
        pq.write_table(
            self.table,
            out,
            row_group_size=self.rows,
            compression=compression,
            compression_level=levels,
            use_dictionary=["class_name"],
            write_statistics=SCALAR,
            data_page_version="2.0",
        )
        return out.tell()

    def polars(self) -> int:
        """All columns are compressed."""
        self.bytes.seek(0)
        self.frame.write_parquet(
            self.bytes,
            compression="zstd",
            compression_level=LEVEL,
            row_group_size=self.rows,
            statistics=False,
        )
        return self.bytes.tell()

    def duckdb_copy(self) -> int:
        """All columns are compressed."""
        self.duckdb.execute(
            f"COPY rows TO '{self.file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL}, "
            f"ROW_GROUP_SIZE {self.rows})"
        )
        size = self.file.stat().st_size
        self.file.unlink()
        return size


def main() -> None:
    writers = Writers(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    ways = {
        "pyarrow": writers.pyarrow,
        "pyarrow-all": writers.pyarrow_all,
        "polars": writers.polars,
        "duckdb": writers.duckdb_copy,
    }
    print(json.dumps({"rows": len(writers.table)}), flush=True)
    for line in sys.stdin:
        begun, cpu = time.monotonic(), time.process_time()
        size = ways[line.strip()]()
        cpu, seconds = time.process_time() - cpu, time.monotonic() - begun
        print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
