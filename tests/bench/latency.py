"""How long the REST service takes to answer while every worker is busy, on a folder and on S3 (SeaweedFS).

Four exports of W1 objects keep the guests busy. One client asks every route in turn. Files lie in memory where
there is such a place: a disk that is full of writes takes hundreds of milliseconds for an fsync. SeaweedFS has the
same cores, so that what waits for it has no goal."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROWS = 60_000
ROUNDS = 200
# The 99th percentile in milliseconds.
GOAL, GOAL_OF_POST = 50, 150
KEYS = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_REGION": "us-east-1"}
IDENTITY = {"identities": [{"name": "test", "actions": ["Admin", "Read", "Write", "List", "Tagging"], "credentials": [
    {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}]}]}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_seaweedfs(folder: Path) -> tuple[subprocess.Popen, str]:
    """A server that has answered its first PUT, and its address."""
    folder.mkdir()
    (folder / "s3.json").write_text(json.dumps(IDENTITY))
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
             "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"]
    ports = dict(zip(names, free_ports(len(names))))
    process = subprocess.Popen(
        [Path(sys.executable).parent / "weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
         f"-dir={folder}", "-master.volumeSizeLimitMB=128", "-master.telemetry=false", "-volume.max=1000", "-filer",
         f"-filer.localSocket={folder}/filer.sock", "-s3", f"-s3.localSocket={folder}/s3.sock",
         "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json",
         *(f"-{name}={port}" for name, port in ports.items())],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    return process, f"http://127.0.0.1:{ports['s3.port']}"


class Server:
    """`offloom serve` with two workers."""

    def __init__(self, program: Path, source: Path, work: Path, cache: Path, backend: str, settings: list, env: dict):
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--data-dir",
             source / "data", "--schema", source / "schema.json", "--state-dir", work / "state", "--cache-dir",
             cache, "--workers", str(os.cpu_count()), *settings],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OFFLOOM_SHUTDOWN_GRACE_SECONDS": "0", **env},
        )
        lines = (line.strip() for line in self.process.stdout)
        address = next((line for line in lines if line.startswith("listening")), "")
        self.address = address.removeprefix("listening on http://")
        if not self.address:
            sys.exit("the server did not start")
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

    def keep_busy(self, stop: threading.Event, ready: threading.Event) -> None:
        """Four exports run at any time; what they wrote is not kept by this bench."""
        running: list[str] = []
        while not stop.is_set():
            running = [name for name in running if self.status(name) in ("STARTED", "TRANSFERRING")]
            while len(running) < 4:
                running.append(self.post()[0])
            if any(self.status(name) == "TRANSFERRING" for name in running):
                ready.set()
            stop.wait(0.2)
        for name in running:
            self.ask("DELETE", f"{self.exports}/{name}")


def measure(server: Server, finished: str) -> dict[str, list[float]]:
    """Milliseconds of every route."""
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for label, path in [("GET live", "/v1/.well-known/live"), ("GET ready", "/v1/.well-known/ready"),
                            ("GET meta", "/v1/meta"), ("GET export", f"{server.exports}/{finished}")]:
            status, body, milliseconds = server.ask("GET", path)
            if status != 200:
                sys.exit(f"{label}: {status} {body}")
            times.setdefault(label, []).append(milliseconds)
        name, _, milliseconds = server.post()
        times.setdefault("POST export", []).append(milliseconds)
        status, body, milliseconds = server.ask("DELETE", f"{server.exports}/{name}")
        if status not in (204, 409):
            sys.exit(f"DELETE: {status} {body}")
        times.setdefault("DELETE export", []).append(milliseconds)
    return times


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[round(share * (len(times) - 1))]


def compare(server: Server, backend: str) -> bool:
    """Prints idle and busy side by side; whether the goals are reached."""
    finished = server.post()[0]
    while server.status(finished) != "SUCCESS":
        time.sleep(0.1)
    idle = measure(server, finished)
    stop, ready = threading.Event(), threading.Event()
    load = threading.Thread(target=server.keep_busy, args=(stop, ready))
    load.start()
    ready.wait()
    busy = measure(server, finished)
    stop.set()
    load.join()
    reached = True
    for route, times in busy.items():
        goal = GOAL_OF_POST if route.startswith("POST") else GOAL
        last = percentile(times, 0.99)
        waits_for_store = backend == "s3" and route.endswith("export")
        reached &= waits_for_store or last <= goal
        print(f"{backend:10}  {route:13}  {percentile(idle[route], 0.5):6.1f}  {percentile(idle[route], 0.99):6.1f}  "
              f"{percentile(times, 0.5):6.1f}  {last:6.1f}  {max(times):6.1f}  {'' if waits_for_store else goal:4}")
    return reached


def main() -> int:
    release = Path(sys.argv[1])
    reached = True
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        folder = Path(folder)
        source, cache = folder / "source", folder / "cache"
        subprocess.run([release / "offloom-encoder", "write-directory", "--workload", "w1", "--rows", str(ROWS), source],
                       check=True)
        store, endpoint = start_seaweedfs(folder / "store")
        try:
            print(f"\nanswers in milliseconds, {ROUNDS} of each route; busy: four exports of {ROWS:,} W1 objects")
            print("backend     route          idle 50%  99%   busy 50%    99%     max  goal of the 99%")
            for backend, settings, env in [
                ("filesystem", ["--filesystem-root", folder / "lake"], {}),
                ("s3", ["--bucket", "lake"], {**KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}),
            ]:
                server = Server(release / "offloom", source, folder / backend, cache, backend, settings, env)
                try:
                    reached &= compare(server, backend)
                finally:
                    server.process.terminate()
                    server.process.wait()
        finally:
            store.kill()
            store.wait()
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
