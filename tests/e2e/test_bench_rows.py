"""The benchmark's comparison of rows notices what it is for, and forgives what Weaviate alone does."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import rows  # noqa: E402

ROWS = {
    "id": ["b", "a", "c"],
    "creation_time": [1, 2, 3],
    "update_time": [4, 5, 6],
    "vector": [b"\0\0\x80\x3f", None, b"\0\0\0\x40"],
    "named_vectors": [None, None, None],
    "multi_vectors": [None, b'{"m":[[1]]}', None],
    "properties": [b"{}", b'{"n":1}', b"{}"],
}


def columns(changes):
    """The columns with the types that both exports have, after changes."""
    types = {name: pa.binary() for name in rows.OPTIONAL}
    types |= {"id": pa.string(), "creation_time": pa.int64(), "update_time": pa.int64()}
    return {name: pa.array(values, types[name]) for name, values in (ROWS | changes).items()}


def compared(ours, theirs):
    """The differences between two exports with these changes."""
    with tempfile.TemporaryDirectory() as folder:
        mine, other = Path(folder, "ours"), Path(folder, "theirs")
        mine.mkdir()
        other.mkdir()
        pq.write_table(pa.table(columns(ours)), mine / "C.parquet")
        manifest = {"files": [{"class": "C", "key": "C.parquet"}]}
        (mine / "export_metadata.json").write_text(json.dumps(manifest))
        table = pa.table(columns(theirs)).replace_schema_metadata({"collection": "C"})
        # Weaviate has a file for each range of ids.
        for part in range(2):
            pq.write_table(table.slice(part, 1 if part == 0 else None), other / f"C_shard_{part:04}.parquet")
        return rows.differences(rows.of_offloom(mine, "C"), rows.of_weaviate(other, "C"))


class BenchRows(unittest.TestCase):
    def test_equal_rows_in_another_order_are_equal(self):
        backwards = {name: values[::-1] for name, values in ROWS.items()}
        self.assertEqual(compared({}, backwards), [])

    def test_an_empty_value_of_weaviate_is_a_null(self):
        self.assertEqual(compared({}, {"vector": [ROWS["vector"][0], b"", ROWS["vector"][2]]}), [])

    def test_an_empty_value_of_ours_is_not(self):
        found = compared({"vector": [ROWS["vector"][0], b"", ROWS["vector"][2]]}, {})
        self.assertEqual(found, ["vector differs"])

    def test_each_column_is_compared(self):
        for name in ROWS:
            values = ROWS[name]
            other = "d" if name == "id" else 7 if isinstance(values[0], int) else b"x"
            self.assertIn(f"{name} differs", compared({name: [other, *values[1:]]}, {}))

    def test_a_missing_row_is_found(self):
        fewer = {name: values[:2] for name, values in ROWS.items()}
        self.assertEqual(compared(fewer, {}), ["2 rows, not 3"])


if __name__ == "__main__":
    unittest.main()
