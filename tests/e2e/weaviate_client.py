"""Drives exports with the stock client as its users do: create, wait, read, cancel.

Usage: weaviate_client.py HOST PORT BACKEND
"""
import sys

import duckdb
import weaviate
from weaviate.backup.backup import BackupStorage
from weaviate.exceptions import UnexpectedStatusCodeError
from weaviate.export.export import ExportFileFormat, ExportStatus, ShardExportStatus

host, port, backend = sys.argv[1], int(sys.argv[2]), BackupStorage(sys.argv[3])

client = weaviate.connect_to_custom(
    http_host=host, http_port=port, http_secure=False,
    grpc_host=host, grpc_port=port % 65535 + 1, grpc_secure=False,
    skip_init_checks=True,
)
with client:
    arguments = {"backend": backend, "file_format": ExportFileFormat.PARQUET}
    done = client.export.create(
        export_id="Client-1", include_collections=["note", "Target"], wait_for_completion=True, **arguments
    )
    assert done.status == ExportStatus.SUCCESS, done
    assert done.export_id == "client-1" and done.backend == backend.value, done
    assert done.collections == ["Note", "Target"], done
    assert done.completed_at >= done.started_at and done.error is None, done
    shards = [shard for of_class in done.shard_status.values() for shard in of_class.values()]
    assert all(shard.status == ShardExportStatus.SUCCESS for shard in shards), done
    exported = sum(shard.objects_exported for shard in shards)

    folder = done.path.removeprefix("file://")
    [(rows,)] = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [f"{folder}*.parquet"]).fetchall()
    assert rows == exported > 0, (rows, exported)

    begun = client.export.create(export_id="client-2", exclude_collections="Note", **arguments)
    assert begun.status in (ExportStatus.STARTED, ExportStatus.TRANSFERRING), begun
    assert "Note" not in begun.collections and "Target" in begun.collections, begun
    # True while it runs, False once it has ended: either is an answer that the client knows.
    assert client.export.cancel(export_id="client-2", backend=backend) in (True, False)
    ended = client.export.get_status(export_id="client-2", backend=backend)
    assert ended.status in (ExportStatus.CANCELED, ExportStatus.SUCCESS), ended
    assert client.export.cancel(export_id="client-1", backend=backend) is False

    try:
        client.export.create(export_id="client-1", **arguments)
        raise AssertionError("an id was taken twice")
    except UnexpectedStatusCodeError as error:
        assert error.status_code == 409 and "export already in progress" in str(error), error
print(exported)
