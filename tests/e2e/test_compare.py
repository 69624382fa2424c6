"""Proves that the comparisons find what is wrong, with faults planted in a right export."""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compare import compare, compare_golden, compare_rest, read_golden, resurrected
from export_folder import OPTIONAL, Key, parquet_schema, read_export, schema_classes

FIXTURES = Path(__file__).parents[1] / "fixtures"
WITH_GOLDEN = sorted(path.parent for path in FIXTURES.glob("*/golden"))


def right_rows(fixture):
    """The rows that a right export of the fixture has."""
    rows = read_golden(fixture)
    for key in resurrected(rows, fixture):
        del rows[key]
    return rows


def write_export(folder, fixture, rows):
    """Writes `rows` as Offloom would, a file for every class of the fixture's schema."""
    for name, multi_tenant in schema_classes(fixture).items():
        schema = parquet_schema(multi_tenant)
        of_class = [
            {"id": key.id, "class_name": name, "tenant": key.tenant} | row
            for key, row in sorted(rows.items())
            if key.class_name == name
        ]
        columns = [pa.array([row[f.name] for row in of_class], f.type) for f in schema]
        table = pa.table(columns, schema=schema.with_metadata({"collection": name}))
        pq.write_table(table, Path(folder) / f"{name.replace(':', '.')}.parquet")


class Comparison(unittest.TestCase):
    def found(self, folder, fixture):
        """What is wrong with the files, in comparison with the golden, and with the REST dump."""
        rows, faults = read_export(folder, schema_classes(fixture))
        golden, rest = compare_golden(rows, fixture), compare_rest(rows, fixture)
        self.assertEqual(compare(folder, fixture), (faults + golden + rest, len(rows)))
        return faults, golden, rest

    def found_in(self, name, plant=lambda rows: None, damage=lambda folder: None):
        """What is found in a right export with a fault planted in its rows or its files."""
        fixture = FIXTURES / name
        rows = right_rows(fixture)
        plant(rows)
        with tempfile.TemporaryDirectory() as folder:
            write_export(folder, fixture, rows)
            damage(Path(folder))
            return self.found(folder, fixture)

    def test_right_exports_agree(self):
        self.assertEqual(len(WITH_GOLDEN), 12)
        for fixture in WITH_GOLDEN:
            with self.subTest(fixture.name):
                self.assertEqual(self.found_in(fixture.name), ([], [], []))

    def test_a_fixture_without_golden_is_compared_by_meaning(self):
        with tempfile.TemporaryDirectory() as folder:
            fixture = Path(folder) / "fixture"
            shutil.copytree(FIXTURES / "basic/rest", fixture / "rest")
            rows = right_rows(FIXTURES / "basic")
            write_export(folder, FIXTURES / "basic", rows)
            self.assertEqual(compare(folder, fixture), ([], 312))
            rows.pop(min(rows))
            write_export(folder, FIXTURES / "basic", rows)
            self.assertEqual(len(compare(folder, fixture)[0]), 1)

    def test_objects_that_upstream_brought_back_must_be_absent(self):
        with tempfile.TemporaryDirectory() as folder:
            fixture = Path(folder) / "fixture"
            shutil.copytree(FIXTURES / "v1.28.16", fixture)
            dump = fixture / "rest/objects.jsonl"
            deleted, *kept = dump.read_text().splitlines(keepends=True)
            dump.write_text("".join(kept))

            golden = read_golden(fixture)
            (back,) = resurrected(golden, fixture)
            self.assertEqual(back.id, json.loads(deleted)["id"])
            write_export(folder, fixture, golden)
            _, found, by_meaning = self.found(folder, fixture)
            self.assertEqual(found, [f"{back}: should not be there"])
            self.assertIn("the export alone has", by_meaning[0])
            del golden[back]
            write_export(folder, fixture, golden)
            self.assertEqual(self.found(folder, fixture), ([], [], []))

    def test_every_altered_value_is_found(self):
        alterations = [
            ("creation_time", lambda value: value + 1),
            ("update_time", lambda value: value - 1),
            ("vector", lambda value: bytes([value[0] ^ 1]) + value[1:]),
            ("named_vectors", lambda value: value.replace(b"1", b"2", 1)),
            ("multi_vectors", lambda value: value.replace(b"1", b"2", 1)),
            ("properties", lambda value: value.replace(b" ", b"_", 1)),
            *[(column, lambda value: None) for column in OPTIONAL],
        ]
        for column, alter in alterations:
            with self.subTest(column):

                def plant(rows):
                    values = ((row, row[column]) for _, row in sorted(rows.items()))
                    row = next(row for row, value in values if value and alter(value) != value)
                    row[column] = alter(row[column])

                _, found, by_meaning = self.found_in("basic", plant)
                self.assertEqual(len(found), 1)
                self.assertIn(f": {column} is ", found[0])
                self.assertEqual(len(by_meaning), 2)

    def test_a_value_that_cannot_be_decoded_is_found(self):
        def plant(rows):
            rows[min(rows)]["properties"] = b"{"

        _, found, by_meaning = self.found_in("basic", plant)
        self.assertEqual((len(found), len(by_meaning)), (1, 2))
        self.assertIn("cannot be decoded", by_meaning[0])

    def test_a_value_of_equal_meaning_and_other_bytes_is_found(self):
        def plant(rows):
            key = next(key for key, row in sorted(rows.items()) if row["properties"])
            rows[key]["properties"] += b" "

        _, found, by_meaning = self.found_in("basic", plant)
        self.assertEqual((len(found), by_meaning), (1, []))

    def test_missing_and_surplus_rows_are_found(self):
        _, found, by_meaning = self.found_in("basic", lambda rows: rows.pop(min(rows)))
        self.assertEqual([text.rpartition(": ")[2] for text in found], ["missing"])
        self.assertEqual(len(by_meaning), 1)

        def plant(rows):
            rows[Key("Note", "", "0" * 8)] = rows[min(rows)]

        _, found, by_meaning = self.found_in("basic", plant)
        self.assertEqual([text.rpartition(": ")[2] for text in found], ["should not be there"])
        self.assertEqual(len(by_meaning), 1)

    def test_a_row_in_another_tenant_or_class_is_found(self):
        def move_tenant(rows):
            key = min(rows)
            rows[Key(key.class_name, "t99", key.id)] = rows.pop(key)

        self.assertEqual(len(self.found_in("tenants", move_tenant)[1]), 2)

        def move_class(rows):
            key = min(key for key in rows if key.class_name == "Note")
            rows[Key("Note_Draft", "", key.id)] = rows.pop(key)

        self.assertEqual([len(each) for each in self.found_in("basic", move_class)], [0, 2, 2])

    def test_a_row_that_stands_twice_is_found(self):
        def damage(folder):
            table = pq.read_table(folder / "Note.parquet")
            pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), folder / "Note.parquet")

        faults, _, _ = self.found_in("basic", damage=damage)
        self.assertEqual(len(faults), 1)
        self.assertIn("occurs twice", faults[0])

    def test_a_missing_file_is_found_also_of_a_class_without_rows(self):
        found = self.found_in("basic", damage=lambda folder: (folder / "Empty.parquet").unlink())
        self.assertEqual(found, (["Empty: has no file"], [], []))

    def test_another_schema_or_class_is_found(self):
        def retype(folder):
            table = pq.read_table(folder / "Empty.parquet")
            at = table.schema.get_field_index("vector")
            field = pa.field("vector", pa.string())
            table = table.set_column(at, field, pa.array([], pa.string()))
            pq.write_table(table, folder / "Empty.parquet")

        self.assertIn("Empty.parquet: schema is", self.found_in("basic", damage=retype)[0][0])

        def rename(folder):
            table = pq.read_table(folder / "Empty.parquet")
            table = table.replace_schema_metadata({"collection": "X"})
            pq.write_table(table, folder / "Empty.parquet")

        found = self.found_in("basic", damage=rename)[0]
        self.assertEqual(len(found), 2)

    def test_an_empty_value_in_place_of_null_is_found(self):
        def plant(rows):
            key = next(key for key, row in sorted(rows.items()) if row["vector"] is None)
            rows[key]["vector"] = b""

        self.assertIn("vector is empty, not null", self.found_in("basic", plant)[0][0])


if __name__ == "__main__":
    unittest.main()
