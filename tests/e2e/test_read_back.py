"""Proves that the read-back finds a reader that sees something else."""

import unittest
from pathlib import Path
from unittest import mock

import polars

import read_back

GOLDEN = Path(__file__).parents[1] / "fixtures/basic/golden"


class ReadBack(unittest.TestCase):
    def setUp(self):
        self.path = str(next(GOLDEN.glob("Note_4*.parquet")))

    def found_with(self, reader, alter):
        """The disagreements when Polars' `reader` gives an altered answer."""
        answer = alter(getattr(polars, reader)(self.path))
        with mock.patch.object(read_back.polars, reader, return_value=answer):
            return read_back.disagreements(self.path)[0]

    def test_readers_agree_on_a_real_file(self):
        self.assertEqual(read_back.disagreements(self.path), ([], 28))

    def test_another_value_is_found(self):
        found = self.found_with(
            "read_parquet", lambda frame: frame.with_columns(polars.col("update_time") + 1)
        )
        self.assertIn("row 0, column update_time: Polars reads", found[0])

    def test_another_order_is_found(self):
        self.assertTrue(self.found_with("read_parquet", lambda frame: frame.reverse()))

    def test_a_missing_row_is_found(self):
        found = self.found_with("read_parquet", lambda frame: frame.head(27))
        self.assertEqual(found, ["Polars finds 27 rows, pyarrow 28"])

    def test_another_type_is_found(self):
        found = self.found_with(
            "read_parquet_schema", lambda schema: {**schema, "vector": polars.String}
        )
        self.assertIn("schema: Polars has", found[0])

    def test_other_metadata_is_found(self):
        found = self.found_with("read_parquet_metadata", lambda metadata: {})
        self.assertIn("file metadata: Polars has", found[0])


if __name__ == "__main__":
    unittest.main()
