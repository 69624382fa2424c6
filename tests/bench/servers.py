"""Servers that benchmarks run against: SeaweedFS, Weaviate and `offloom serve`, each in a folder of
its own."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_REGION": "us-east-1"}
IDENTITY = {
    "identities": [
        {
            "name": "test",
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            "credentials": [
                {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
            ],
        }
    ]
}
# As tests/parts has it.
START_SECONDS = 120


def free_ports(count: int) -> list[int]:
    """Ports in a row, below those that Linux gives to outgoing connections. Weaviate counts on some
    that follow others when it makes its first cluster."""
    while True:
        first = random.randrange(10_000, 32_768 - count)
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + count))
        except OSError:
            pass
        finally:
            for each in sockets:
                each.close()


def ask(address: str, method: str, path: str, body: dict | None = None) -> tuple[int, bytes]:
    """Status and body of a request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request(
        method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


class Process:
    """A server that is killed at the end of a `with`."""

    def __init__(self, command: list, env: dict, log: Path):
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out)

    def wait_until(self, ready, what: str) -> None:
        """Returns when `ready()` does not raise and is true."""
        begun = time.monotonic()
        while True:
            try:
                if ready():
                    return
            except (OSError, http.client.HTTPException):
                pass
            if self.process.poll() is not None or time.monotonic() - begun > START_SECONDS:
                sys.exit(f"{what} did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class SeaweedFs(Process):
    """An S3 server with one volume server."""

    def __init__(self, folder: Path):
        folder.mkdir()
        (folder / "s3.json").write_text(json.dumps(IDENTITY))
        names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        ]
        ports = dict(zip(names, free_ports(len(names))))
        super().__init__(
            [
                Path(sys.executable).parent / "weed",
                "-logtostderr=true",
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-dir={folder}",
                "-master.volumeSizeLimitMB=128",
                "-master.telemetry=false",
                "-volume.max=1000",
                "-filer",
                f"-filer.localSocket={folder}/filer.sock",
                "-s3",
                f"-s3.localSocket={folder}/s3.sock",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.config={folder}/s3.json",
                *(f"-{name}={port}" for name, port in ports.items()),
            ],
            {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            folder / "log",
        )
        address = f"127.0.0.1:{ports['s3.port']}"
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://{address}", "AWS_ALLOW_HTTP": "true"}
        # Any answer will do: without a signature it is a refusal.
        self.wait_until(lambda: ask(address, "GET", "/"), "SeaweedFS")


class Weaviate(Process):
    """Weaviate on one node over `data`, which it writes to."""

    def __init__(self, data: Path, folder: Path):
        folder.mkdir()
        self.exports = folder / "exports"
        rest, grpc, gossip, cluster, raft, raft_rpc, profiling = map(str, free_ports(7))
        self.address = f"127.0.0.1:{rest}"
        program = ROOT / "target/servers/weaviate-server"
        if not program.exists():
            sys.exit(f"{program} is missing: run ./dev test once")
        super().__init__(
            [program, "--scheme", "http", "--host", "127.0.0.1", "--port", rest],
            {
                "PERSISTENCE_DATA_PATH": str(data),
                "BACKUP_FILESYSTEM_PATH": str(folder / "backups"),
                "EXPORT_DEFAULT_PATH": str(self.exports),
                "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true",
                "CLUSTER_HOSTNAME": "node1",
                "CLUSTER_IN_LOCALHOST": "true",
                "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
                "RAFT_BOOTSTRAP_EXPECT": "1",
                "RAFT_JOIN": f"node1:{raft}",
                "DEFAULT_VECTORIZER_MODULE": "none",
                "DISABLE_TELEMETRY": "true",
                "ENABLE_MODULES": "backup-filesystem",
                "EXPORT_ENABLED": "true",
                "EXPORT_SKIP_ACCESS_CHECK": "true",
                # No compaction: all exports of a run find the same segments.
                "PERSISTENCE_LSM_MAX_SEGMENT_SIZE": "1MB",
                "CLUSTER_GOSSIP_BIND_PORT": gossip,
                "CLUSTER_DATA_BIND_PORT": cluster,
                "RAFT_PORT": raft,
                "RAFT_INTERNAL_RPC_PORT": raft_rpc,
                "GRPC_PORT": grpc,
                "GO_PROFILING_PORT": profiling,
            },
            folder / "log",
        )
        self.wait_until(lambda: ask(self.address, "GET", "/v1/.well-known/ready")[0] == 200, "Weaviate")

    def get(self, path: str) -> dict:
        status, body = ask(self.address, "GET", path)
        if status != 200:
            sys.exit(f"Weaviate: GET {path}: {status} {body}")
        return json.loads(body)

    def export(self, name: str) -> None:
        """One whole export to a folder, until it says SUCCESS."""
        request = {"id": name, "file_format": "parquet"}
        status, body = ask(self.address, "POST", "/v1/export/filesystem", request)
        if status != 200:
            sys.exit(f"Weaviate: POST: {status} {body}")
        while (status := self.status(name)) != "SUCCESS":
            if status not in ("STARTED", "TRANSFERRING"):
                sys.exit(f"Weaviate: {name}: {status}")
            time.sleep(0.01)

    def status(self, name: str) -> str:
        path = f"/v1/export/filesystem/{name}"
        status, body = ask(self.address, "GET", path)
        # It reads the file in which it keeps the status, and may find it half written.
        if status == 500 and b"unmarshal" in body:
            return "TRANSFERRING"
        if status != 200:
            sys.exit(f"Weaviate: GET {path}: {status} {body}")
        return json.loads(body)["status"]


class Server:
    """`offloom serve` with a worker for each core."""

    def __init__(
        self,
        program: Path,
        source: Path,
        work: Path,
        cache: Path,
        backend: str,
        settings: list,
        env: dict,
    ):
        self.process = subprocess.Popen(
            [
                program,
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--grpc-listen",
                "127.0.0.1:0",
                "--data-dir",
                source / "data",
                "--schema",
                source / "schema.json",
                "--state-dir",
                work / "state",
                "--cache-dir",
                cache,
                "--workers",
                str(os.cpu_count()),
                *settings,
            ],
            stdout=subprocess.PIPE,
            stderr=work.with_suffix(".log").open("wb"),
            text=True,
            env={**os.environ, "OFFLOOM_SHUTDOWN_GRACE_SECONDS": "0", **env},
        )
        lines = (line.strip() for line in self.process.stdout)
        address = next((line for line in lines if line.startswith("listening")), "")
        self.address = address.removeprefix("listening on http://")
        if not self.address:
            sys.exit(f"the server did not start: {work.with_suffix('.log').read_text(errors='replace')}")
        self.exports = f"/v1/export/{backend}"
        self.number = 0

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, bytes, float]:
        """Status, body and milliseconds, on a connection of its own."""
        started = time.monotonic()
        connection = http.client.HTTPConnection(self.address, timeout=120)
        connection.request(method, path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, (time.monotonic() - started) * 1000

    def post(self) -> tuple[str, int, float]:
        """Id, status and milliseconds of a new export."""
        self.number += 1
        name = f"export-{self.number}"
        status, body, milliseconds = self.ask("POST", self.exports, {"id": name})
        if status != 200:
            sys.exit(f"POST: {status} {body}")
        return name, status, milliseconds

    def status(self, name: str) -> str:
        return json.loads(self.ask("GET", f"{self.exports}/{name}")[1])["status"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
