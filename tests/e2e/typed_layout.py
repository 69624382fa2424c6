"""Compares files of the typed layout with what Weaviate itself made of the same data directory.

    typed_layout.py EXPORT_DIR FIXTURE_DIR

pyarrow, DuckDB, Polars and PyIceberg (`add_files`) read every file and must see the same values; these must
give back every property and vector of upstream's own export. Prints every difference, and ends with status 1
if there was one.
"""

import json
import re
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
from compare import read_golden
from export_folder import Key
from pyiceberg.catalog.sql import SqlCatalog

UTC_MICROSECONDS = pa.timestamp("us", "UTC")
TYPES = {
    "text": pa.string(),
    "blob": pa.string(),
    "int": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": UTC_MICROSECONDS,
    "uuid": pa.string(),
    "geoCoordinates": pa.struct(
        [
            pa.field("latitude", pa.float64(), nullable=False),
            pa.field("longitude", pa.float64(), nullable=False),
        ]
    ),
}
LISTS = {"text[]", "int[]", "number[]", "boolean[]", "date[]", "uuid[]"}
VECTOR = pa.list_(pa.field("element", pa.float32(), nullable=False))


def type_of(data_type):
    """The column's type of a property."""
    if len(data_type) == 1 and data_type[0] in LISTS:
        item = TYPES[data_type[0].removesuffix("[]")]
        return pa.list_(pa.field("element", item, nullable=False))
    return TYPES.get(data_type[0] if len(data_type) == 1 else None, pa.string())


def is_json(data_type):
    """Whether the column of a property has JSON."""
    return not (len(data_type) == 1 and (data_type[0] in TYPES or data_type[0] in LISTS))


def schema_of(definition):
    """The columns that a class must have."""
    millis = pa.timestamp("ms", "UTC")
    fields = [pa.field("id", pa.string(), nullable=False)]
    if (definition.get("multiTenancyConfig") or {}).get("enabled"):
        fields.append(pa.field("tenant", pa.string(), nullable=False))
    fields += [pa.field(name, millis, nullable=False) for name in ["creation_time", "update_time"]]
    for each in definition.get("properties") or []:
        fields.append(pa.field(each["name"], type_of(each["dataType"])))
    fields.append(pa.field("vector", VECTOR))
    single, multi = vectors_of(definition)
    fields += [pa.field(f"vector_{name}", VECTOR) for name in single]
    lists = pa.list_(pa.field("element", VECTOR, nullable=False))
    fields += [pa.field(f"vector_{name}", lists) for name in multi]
    return pa.schema([*fields, pa.field("other_vectors", pa.string()), pa.field("_rest", pa.string())])


def vectors_of(definition):
    """The names of declared vectors, and of declared lists of vectors."""
    single, multi = [], []
    for name, config in sorted((definition.get("vectorConfig") or {}).items()):
        multivector = (config.get("vectorIndexConfig") or {}).get("multivector") or {}
        (multi if multivector.get("enabled") else single).append(name)
    return single, multi


def plain(value):
    """A value without what readers express otherwise: time zones and bit patterns of NaN."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return repr(value) if isinstance(value, float) else value


def readers(path, work):
    """The rows of a file as each reader sees them, in order."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    in_duckdb = connection.sql("FROM read_parquet($file)", params={"file": str(path)})
    yield "DuckDB", in_duckdb.to_arrow_table().to_pylist()
    yield "Polars", polars.read_parquet(path).to_dicts()
    catalog = SqlCatalog("tests", uri=f"sqlite:///{work}/catalog.db", warehouse=f"file://{work}")
    catalog.create_namespace_if_not_exists("lake")
    table = catalog.create_table(f"lake.{path.stem}", schema=pq.read_schema(path))
    table.add_files([str(path)])
    yield "PyIceberg", table.scan().to_arrow().to_pylist()


def moment(text):
    """A time of RFC 3339 as whole nanoseconds since the epoch."""
    seconds, fraction, zone = re.fullmatch(r"(.{19})(\.\d+)?(.*)", text).groups()
    whole = datetime.fromisoformat(seconds + zone.replace("Z", "+00:00"))
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    since = whole - epoch
    return (since.days * 86400 + since.seconds) * 10**9 + int((fraction or ".0")[1:].ljust(9, "0"))


def given_back(value, data_type):
    """The JSON value that a column's value stands for."""
    if is_json(data_type):
        return json.loads(value)
    if isinstance(value, list):
        return [given_back(each, [data_type[0].removesuffix("[]")]) for each in value]
    return moment(value.isoformat()) if isinstance(value, datetime) else value


def expected_of(value, data_type):
    """A JSON value, comparable with what a column gives back."""
    if len(data_type) == 1 and data_type[0] == "date":
        return moment(value)
    if len(data_type) == 1 and data_type[0] == "date[]":
        return [moment(each) for each in value]
    return value


def property_differences(row, golden, definition, misfits):
    """Properties that columns and `_rest` together do not give back."""
    stored = json.loads(golden["properties"] or b"null") or {}
    rest = json.loads(row["_rest"] or "{}")
    if row["_rest"] == "{}":
        yield "_rest is empty, not null"
    declared = {each["name"]: each["dataType"] for each in definition.get("properties") or []}
    for name, value in stored.items():
        column = row[name] if name in declared else None
        if column is None:
            if value is not None and (name not in rest or rest[name] != value):
                yield f"{name} is neither in a column nor in _rest: {value!r}"
            misfits[0] += name in declared and value is not None
        elif given_back(column, declared[name]) != expected_of(value, declared[name]):
            yield f"{name} is {column!r}, not {value!r}"
    for name in declared:
        if row[name] is not None and name not in stored:
            yield f"{name} is {row[name]!r}, but the object lacks it"
    yield from (f"_rest has {name}, which the object lacks" for name in rest.keys() - stored.keys())


def bits(numbers):
    """The bytes of a vector."""
    return pa.array(numbers, pa.float32()).buffers()[1].to_pybytes()[: 4 * len(numbers)]


def vector_differences(row, golden, definition):
    """Vectors that columns and `other_vectors` do not give back."""
    found = None if row["vector"] is None else bits(row["vector"])
    if found != golden["vector"]:
        yield f"vector is {found!r}, not {golden['vector']!r}"
    others = json.loads(row["other_vectors"] or "{}", parse_int=float)
    single, multi = vectors_of(definition)
    for part, declared in [("named_vectors", single), ("multi_vectors", multi)]:
        # As floats: an integer has no -0.
        stored = json.loads(golden[part] or b"{}", parse_int=float)
        for name in declared:
            column = row[f"vector_{name}"]
            if (column is None) != (name not in stored):
                yield f"vector_{name} is {column!r}, not {stored.get(name)!r}"
            elif column is not None and part == "named_vectors":
                if bits(column) != bits(stored[name]):
                    yield f"vector_{name} is {column!r}, not {stored[name]!r}"
            elif column is not None and list(map(bits, column)) != list(map(bits, stored[name])):
                yield f"vector_{name} is {column!r}, not {stored[name]!r}"
        for name in stored.keys() - set(declared):
            if others.get(name) != stored[name]:
                yield f"other_vectors lacks {name}"


def compare(export, fixture, work):
    """Every difference, and the number of rows."""
    differences, rows = [], 0
    golden = read_golden(fixture)
    manifest = json.loads((export / "export_metadata.json").read_text())
    schema = json.loads((fixture / "rest/schema.json").read_text())
    for definition in schema["classes"]:
        name, misfits = definition["class"], [0]
        path = export / f"{name}.parquet"
        table = pq.read_table(path)
        if not table.schema.equals(schema_of(definition)):
            differences.append(f"{name}: has {table.schema}, not {schema_of(definition)}")
            continue
        if b"PARQUET:field_id" in (table.schema.field("id").metadata or {}):
            differences.append(f"{name}: has field ids")
        found = table.to_pylist()
        for reader, read in readers(path, work):
            if plain(read) != plain(found):
                differences.append(f"{name}: {reader} reads other values than pyarrow")
        keys = {Key(name, row.get("tenant", ""), row["id"]) for row in found}
        if keys != {key for key in golden if key.class_name == name} or len(keys) != len(found):
            differences.append(f"{name}: other rows than upstream's")
            continue
        for row in found:
            expected = golden[Key(name, row.get("tenant", ""), row["id"])]
            times = [row[each].timestamp() * 1000 for each in ["creation_time", "update_time"]]
            if [round(each) for each in times] != [
                expected["creation_time"],
                expected["update_time"],
            ]:
                differences.append(f"{name} {row['id']}: other times")
            of_row = [
                *property_differences(row, expected, definition, misfits),
                *vector_differences(row, expected, definition),
            ]
            differences += [f"{name} {row['id']}: {each}" for each in of_row]
        files = [each for each in manifest["files"] if each["key"].endswith(f"/{path.name}")]
        files = files or [each for each in manifest["files"] if each["key"] == path.name]
        counters = {k: v for each in files for k, v in (each.get("counters") or {}).items()}
        counted = sum(count for key, count in counters.items() if key.startswith("misfits"))
        if counted != misfits[0]:
            differences.append(f"{name}: {misfits[0]} misfits, {counted} are counted")
        rows += len(found)
    return differences, rows


def main(export, fixture):
    """Compares and reports."""
    with tempfile.TemporaryDirectory() as work:
        differences, rows = compare(Path(export), Path(fixture), work)
    for each in differences[:50]:
        print(each)
    print(f"{rows} rows, {len(differences)} differences")
    return 1 if differences or not rows else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
