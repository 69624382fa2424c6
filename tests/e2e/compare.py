"""Compares an export folder with what Weaviate itself made of the same data directory.

    compare.py golden EXPORT_DIR FIXTURE_DIR    with upstream's own export byte by byte, where the
                                                fixture has one, and with its REST dump by meaning
    compare.py rest   EXPORT_DIR FIXTURE_DIR    with the REST dump alone

Prints every difference, and ends with status 1 if there was one.
"""

import argparse
import json
import struct
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq

from export_folder import OPTIONAL, VALUES, Key, read_export, schema_classes

SHOWN_BYTES = 160
ACTIVE = {"HOT", "ACTIVE"}


def compare(export, fixture, with_golden=True):
    """Every difference, and how many rows the export has."""
    rows, differences = read_export(export, schema_classes(fixture))
    if with_golden and (fixture / "golden").is_dir():
        differences += compare_golden(rows, fixture)
    differences += compare_rest(rows, fixture)
    return differences, len(rows)


def compare_golden(rows, fixture):
    """Differences between exported rows and the files in `fixture/golden`."""
    expected = read_golden(fixture)
    for key in resurrected(expected, fixture):
        del expected[key]
    differences = [f"{key}: missing" for key in sorted(expected.keys() - rows.keys())]
    differences += [f"{key}: should not be there" for key in sorted(rows.keys() - expected.keys())]
    for key in sorted(expected.keys() & rows.keys()):
        for name in VALUES:
            if rows[key][name] != expected[key][name]:
                differences.append(
                    f"{key}: {name} is {shown(rows[key][name])}, not {shown(expected[key][name])}"
                )
    return differences


def read_golden(fixture):
    """Upstream's rows by key. It writes some nulls as empty values (export-api.md 5.4)."""
    rows = {}
    for path in sorted((fixture / "golden").glob("*.parquet")):
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata
        name, tenant = metadata[b"collection"].decode(), metadata.get(b"tenant", b"").decode()
        for row in file.read().to_pylist():
            key = Key(name, tenant, row.pop("id"))
            if key in rows:
                raise ValueError(f"{path}: {key} occurs twice in upstream's own export")
            rows[key] = {each: row[each] for each in VALUES} | {
                each: row[each] or None for each in OPTIONAL
            }
    return rows


def resurrected(golden, fixture):
    """Keys of upstream's export that the server itself no longer had.

    Today's upstream forgets deletes that an older version had logged (wal.md 1.4), so where the
    server's own answer over REST lacks an object, that answer is right. REST names no tenant: an
    id that stands in several active tenants must be found as often as the export has it.
    """
    inactive = inactive_tenants(fixture)
    served = Counter((row["class"], row["id"]) for row in rest_objects(fixture))
    exported = defaultdict(list)
    for key in golden:
        if (key.class_name, key.tenant) not in inactive:
            exported[key.class_name, key.id].append(key)
    gone = []
    for name, keys in exported.items():
        if served[name] == 0:
            gone += keys
        elif served[name] != len(keys):
            raise ValueError(f"{name}: {served[name]} over REST, but upstream exports {keys}")
    return gone


def compare_rest(rows, fixture):
    """Differences by meaning between exported rows and the dump in `fixture/rest`.

    REST names no tenant, so the rows of a class are compared as a multiset; rows of inactive
    tenants, which REST does not serve, are left out.
    """
    differences = []
    inactive = inactive_tenants(fixture)
    found, expected = defaultdict(Counter), defaultdict(Counter)
    for key, row in rows.items():
        if (key.class_name, key.tenant) in inactive:
            continue
        try:
            found[key.class_name, key.id][meaning_of_row(row)] += 1
        except (ValueError, struct.error) as error:
            differences.append(f"{key}: cannot be decoded: {error}")
    for served in rest_objects(fixture):
        expected[served["class"], served["id"]][meaning_of_rest(served)] += 1
    for name in sorted(found.keys() | expected.keys()):
        for surplus in (found[name] - expected[name]).elements():
            differences.append(f"{' '.join(name)}: the export alone has {surplus}")
        for lacking in (expected[name] - found[name]).elements():
            differences.append(f"{' '.join(name)}: REST alone has {lacking}")
    return differences


def rest_objects(fixture):
    """Every object of the dump, its numbers read as doubles."""
    with open(fixture / "rest/objects.jsonl", encoding="utf-8") as lines:
        return [json.loads(line, parse_int=float) for line in lines]


def inactive_tenants(fixture):
    """(class, tenant) of every tenant that REST does not serve."""
    tenants = json.loads((fixture / "rest/tenants.json").read_text())
    return {
        (name, tenant["name"])
        for name, of_class in tenants.items()
        for tenant in of_class
        if tenant.get("activityStatus", "HOT") not in ACTIVE  # 1.20 has no states yet
    }


def meaning_of_row(row):
    """One exported row, in the form in which it is compared with REST."""
    vector = row["vector"]
    vectors = {}
    for column in ("named_vectors", "multi_vectors"):
        vectors |= json.loads(row[column] or b"{}", parse_int=float)
    return meaning(
        row["creation_time"],
        row["update_time"],
        struct.unpack(f"<{len(vector) // 4}f", vector) if vector else None,
        vectors,
        json.loads(row["properties"] or b"{}", parse_int=float),
    )


def meaning_of_rest(served):
    """One object of the dump, in the same form."""
    return meaning(
        served["creationTimeUnix"],
        served["lastUpdateTimeUnix"],
        served.get("vector"),
        served.get("vectors") or {},
        without_href(served["properties"] or {}),
    )


def meaning(created_ms, updated_ms, vector, vectors, properties):
    """Text that is equal for values of equal meaning."""
    return json.dumps(
        {
            "created": int(created_ms),
            "updated": int(updated_ms),
            "vector": as_floats(vector) if vector else None,
            "vectors": {name: as_floats(each) for name, each in vectors.items()},
            "properties": unsigned_zeros(properties),
        },
        sort_keys=True,
        ensure_ascii=False,
    )


def as_floats(vector):
    """A vector, or a list of vectors, rounded to f32 and without negative zeros."""
    if isinstance(vector, list | tuple):
        return [as_floats(each) for each in vector]
    return struct.unpack("<f", struct.pack("<f", vector))[0] + 0.0


def unsigned_zeros(value):
    """The same JSON with 0 for -0, whose sign the dumps have lost."""
    if isinstance(value, dict):
        return {name: unsigned_zeros(each) for name, each in value.items()}
    if isinstance(value, list):
        return [unsigned_zeros(each) for each in value]
    return value + 0.0 if isinstance(value, float) else value


def without_href(value):
    """The same JSON without the `href` that REST adds to references."""
    if isinstance(value, dict):
        reference = "beacon" in value
        return {
            name: without_href(each)
            for name, each in value.items()
            if not (reference and name == "href")
        }
    return [without_href(each) for each in value] if isinstance(value, list) else value


def shown(value):
    """A value as it is printed in a difference: cut short where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_BYTES else f"{text[:SHOWN_BYTES]}... ({len(value)} bytes)"


def main():
    """Runs one comparison and reports it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["golden", "rest"])
    parser.add_argument("export", type=Path)
    parser.add_argument("fixture", type=Path)
    arguments = parser.parse_args()
    with_golden = arguments.what == "golden"
    differences, rows = compare(arguments.export, arguments.fixture, with_golden)
    for difference in differences:
        print(difference)
    print(f"{arguments.fixture.name}: {rows} rows exported, {len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
