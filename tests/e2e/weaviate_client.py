"""Drives exports with the stock client as its users do, its own checks on, and prints what it saw.

Usage: weaviate_client.py REST_PORT GRPC_PORT

The server has the classes of the fixture `basic` and the backend `filesystem`. What is printed is one JSON
object: for each step what came back, or the error that the client raised. It has no ids of shards, times or
places, which differ from server to server.
"""
import ast
import asyncio
import json
import sys
import time

import duckdb
import weaviate
from weaviate.backup.backup import BackupStorage
from weaviate.exceptions import UnexpectedStatusCodeError
from weaviate.export.export import ExportFileFormat, ExportStatus

rest, grpc = int(sys.argv[1]), int(sys.argv[2])
place = {
    "http_host": "127.0.0.1", "http_port": rest, "http_secure": False,
    "grpc_host": "127.0.0.1", "grpc_port": grpc, "grpc_secure": False,
}
of_files = {"backend": BackupStorage.FILESYSTEM, "file_format": ExportFileFormat.PARQUET}
seen = {}


def ended(export_id):
    """The last status of an export."""
    while True:
        status = client.export.get_status(export_id=export_id, backend=BackupStorage.FILESYSTEM)
        if status.status not in (ExportStatus.STARTED, ExportStatus.TRANSFERRING):
            return status
        time.sleep(0.05)


def message(error):
    """What the server says, which the client quotes as a dictionary."""
    _, body = str(error.message).split("with response body: ")
    [error] = ast.literal_eval(body.removesuffix("."))["error"]
    return error["message"]


def step(name, call):
    """Notes what `call` returns or raises."""
    try:
        value = call()
    except UnexpectedStatusCodeError as error:
        seen[name] = {"raises": type(error).__name__, "status": error.status_code, "message": message(error)}
    except Exception as error:
        seen[name] = {"raises": type(error).__name__, "message": str(error)}
    else:
        seen[name] = value
    return seen[name]


def shown(export):
    """What of an answer is the same everywhere."""
    shown = {
        "type": type(export).__name__, "id": export.export_id, "backend": export.backend,
        "status": export.status.value, "collections": sorted(export.collections),
        "has path": bool(export.path), "has start": export.started_at is not None,
    }
    if hasattr(export, "shard_status") and export.shard_status:
        shown["rows"] = {
            name: sorted((shard.status.value, shard.objects_exported, shard.skip_reason) for shard in shards.values())
            for name, shards in sorted(export.shard_status.items())
        }
        shown["ends after start"] = export.completed_at >= export.started_at
        shown["error"] = export.error
    return shown


def rows_in(export):
    """How many rows a reader finds in the files."""
    folder = export.path.removeprefix("file://").rstrip("/")
    [(rows,)] = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [f"{folder}/*.parquet"]).fetchall()
    return rows


def create(export_id, **arguments):
    """Creates an export and waits for its end."""
    return shown(client.export.create(export_id=export_id, wait_for_completion=True, **of_files, **arguments))


async def create_async():
    """The same over the client's asynchronous interface."""
    async with weaviate.use_async_with_custom(**place) as client:
        arguments = {"export_id": "client-async", "include_collections": ["Target"], "wait_for_completion": True}
        return shown(await client.export.create(**arguments, **of_files))


with weaviate.connect_to_custom(**place) as client:
    step("live", client.is_live)
    step("ready", client.is_ready)
    step("connected", client.is_connected)
    step("openid", client.get_open_id_configuration)

    # Ids become lower case, names of classes begin with a capital.
    step("created", lambda: create("Client-1", include_collections=["note", "Target"]))
    step("read", lambda: rows_in(ended("client-1")))
    step("all", lambda: create("client-all"))
    step("begun", lambda: shown(client.export.create(export_id="client-2", exclude_collections="Note", **of_files)))
    # Either is an answer: it may have ended already.
    step("cancel", lambda: client.export.cancel(export_id="client-2", backend=BackupStorage.FILESYSTEM) in (True, False))
    step("after cancel", lambda: ended("client-2").status in (ExportStatus.CANCELED, ExportStatus.SUCCESS))
    step("asynchronous", lambda: asyncio.run(create_async()))

    step("cancel what has ended", lambda: client.export.cancel(export_id="client-1", backend=BackupStorage.FILESYSTEM))
    step("an id once more", lambda: create("client-1"))
    step("an unknown id", lambda: shown(ended("unknown")))
    step("cancel an unknown id", lambda: client.export.cancel(export_id="unknown", backend=BackupStorage.FILESYSTEM))
    step("an id with a blank", lambda: create("a b"))
    step("a long id", lambda: create("x" * 129))
    step("no id", lambda: create(""))
    step("an unknown class", lambda: create("unknown-class", include_collections="NotThere"))
    step("an unknown class and a known one", lambda: create("half-known", include_collections=["NotThere", "Target"]))
    step("a class in the wrong case", lambda: create("wrong-case", include_collections="TARGET"))
    all_classes = ["AllTypes", "Empty", "NamedVectors", "NoVector", "Note", "Note_Draft", "Target"]
    step("no class left", lambda: create("none-left", exclude_collections=all_classes))
    step("include and exclude", lambda: create("both", include_collections="Note", exclude_collections="Target"))
    of_files["backend"] = BackupStorage.S3
    step("a backend that is not there", lambda: create("no-backend"))
    status = {"export_id": "client-1", "backend": BackupStorage.S3}
    step("a status of that backend", lambda: client.export.get_status(**status))
    step("a cancel of that backend", lambda: client.export.cancel(**status))
print(json.dumps(seen, indent=1))
