"""Reads an export folder of Offloom's and checks that its files have the documented form."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Columns of every file, in order; `tenant` stands in the files of multi-tenant classes only.
FIELDS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("class_name", pa.string(), nullable=False),
    pa.field("tenant", pa.string(), nullable=False),
    pa.field("creation_time", pa.int64(), nullable=False),
    pa.field("update_time", pa.int64(), nullable=False),
    pa.field("vector", pa.binary()),
    pa.field("named_vectors", pa.binary()),
    pa.field("multi_vectors", pa.binary()),
    pa.field("properties", pa.binary()),
]
OPTIONAL = ["vector", "named_vectors", "multi_vectors", "properties"]
VALUES = ["creation_time", "update_time", *OPTIONAL]


@dataclass(frozen=True, order=True)
class Key:
    """What names a row: its class, its tenant (empty where there are none), its id."""

    class_name: str
    tenant: str
    id: str

    def __str__(self):
        return " ".join(part for part in (self.class_name, self.tenant, self.id) if part)


def parquet_schema(multi_tenant):
    """The Arrow schema that a class's files must have."""
    return pa.schema([field for field in FIELDS if multi_tenant or field.name != "tenant"])


def schema_classes(fixture):
    """Name -> is it multi-tenant, of every class in the fixture's saved schema."""
    schema = json.loads((fixture / "rest/schema.json").read_text())
    return {
        each["class"]: bool(each.get("multiTenancyConfig", {}).get("enabled"))
        for each in schema["classes"]
    }


def read_export(folder, classes):
    """Rows by key, and a list of what is wrong with the files themselves.

    Wrong are a class without a file, a file of another class, another schema than documented, a
    class name that differs from the file's, an empty value where null is meant, and a row that
    occurs twice.
    """
    rows, faults = {}, []
    unseen = set(classes)
    for path in sorted(Path(folder).glob("*.parquet")):
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata or {}
        name = metadata.get(b"collection", b"").decode()
        if name not in classes:
            faults.append(f"{path.name}: file metadata names class {name!r}, not in the schema")
            continue
        unseen.discard(name)
        stem = name.replace(":", ".")
        if path.stem != stem and path.stem.rpartition("-")[0] != stem:
            faults.append(f"{path.name}: holds class {name!r}")
        expected = parquet_schema(classes[name])
        if not file.schema_arrow.remove_metadata().equals(expected):
            faults.append(f"{path.name}: schema is\n{file.schema_arrow.remove_metadata()}")
            continue
        for row in file.read().to_pylist():
            key = Key(name, row.get("tenant", ""), row["id"])
            if row["class_name"] != name:
                faults.append(f"{key}: class_name is {row['class_name']!r}")
            empty = [each for each in OPTIONAL if row[each] == b""]
            faults.extend(f"{key}: {each} is empty, not null" for each in empty)
            if key in rows:
                faults.append(f"{key}: occurs twice")
            rows[key] = {each: row[each] for each in VALUES}
    faults.extend(f"{name}: has no file" for name in sorted(unseen))
    return rows, faults
