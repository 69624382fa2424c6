"""Exports one class with the stock client and waits, or cancels meanwhile; prints the error that the client raises.

Usage: weaviate_errors.py REST_PORT GRPC_PORT KEY BACKEND CLASS wait|cancel

An empty KEY is none. What is printed is the name of the error, its status if it has one, and its text.
"""
import sys
import threading
import time

import weaviate
from weaviate.auth import Auth
from weaviate.backup.backup import BackupStorage
from weaviate.export.export import ExportFileFormat, ExportStatus

rest, grpc, key, backend, of_class, mode = sys.argv[1:]
place = {
    "http_host": "127.0.0.1", "http_port": int(rest), "http_secure": False,
    "grpc_host": "127.0.0.1", "grpc_port": int(grpc), "grpc_secure": False,
    "auth_credentials": Auth.api_key(key) if key else None,
}
export = {"export_id": f"{key}-{of_class}".lower(), "backend": BackupStorage(backend)}


def cancel(client):
    """Cancels the export as soon as its id is taken: until then it cannot be (409, False)."""
    while True:
        try:
            status = client.export.get_status(**export)
        except weaviate.exceptions.WeaviateBaseError:
            time.sleep(0.05)
            continue
        assert status.status in (ExportStatus.STARTED, ExportStatus.TRANSFERRING), status
        if client.export.cancel(**export):
            return
        time.sleep(0.05)


try:
    with weaviate.connect_to_custom(**place) as client, weaviate.connect_to_custom(**place) as other:
        if mode == "cancel":
            threading.Thread(target=cancel, args=(other,)).start()
        arguments = {"file_format": ExportFileFormat.PARQUET, "include_collections": of_class}
        client.export.create(wait_for_completion=True, **export, **arguments)
    print("none")
except Exception as error:
    print(type(error).__name__, getattr(error, "status_code", "-"), error)
