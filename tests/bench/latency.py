"""How long the REST service takes to answer while every worker is busy, on a folder and on S3
(SeaweedFS).

Four exports of W1 objects keep the guests busy. One client asks every route in turn. Files lie in
memory where there is such a place: a disk that is full of writes takes hundreds of milliseconds for an
fsync. SeaweedFS has the same cores, so that what waits for it has no goal."""

import shutil
import sys
import threading
import time
from pathlib import Path

from runs import generate, table, verdict
from servers import SeaweedFs, Server

ROWS = 60_000
ROUNDS = 200
# The 99th percentile in milliseconds.
GOAL, GOAL_OF_POST = 50, 150


def keep_busy(server: Server, stop: threading.Event, ready: threading.Event) -> None:
    """Four exports run at any time; what they wrote is not kept by this bench."""
    running: list[str] = []
    while not stop.is_set():
        running = [name for name in running if server.status(name) in ("STARTED", "TRANSFERRING")]
        while len(running) < 4:
            running.append(server.post()[0])
        if any(server.status(name) == "TRANSFERRING" for name in running):
            ready.set()
        stop.wait(0.2)
    for name in running:
        server.ask("DELETE", f"{server.exports}/{name}")


def measure(server: Server, finished: str) -> dict[str, list[float]]:
    """Milliseconds of every route."""
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for label, path in [
            ("GET live", "/v1/.well-known/live"),
            ("GET ready", "/v1/.well-known/ready"),
            ("GET meta", "/v1/meta"),
            ("GET export", f"{server.exports}/{finished}"),
        ]:
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


def compare(server: Server, backend: str) -> list[list[str]]:
    """Rows of the table: idle and busy side by side."""
    finished = server.post()[0]
    while server.status(finished) != "SUCCESS":
        time.sleep(0.1)
    idle = measure(server, finished)
    stop, ready = threading.Event(), threading.Event()
    load = threading.Thread(target=keep_busy, args=(server, stop, ready))
    load.start()
    ready.wait()
    busy = measure(server, finished)
    stop.set()
    load.join()
    rows = []
    for route, times in busy.items():
        goal = GOAL_OF_POST if route.startswith("POST") else GOAL
        waits_for_store = backend == "s3" and route.endswith("export")
        last = percentile(times, 0.99)
        numbers = [
            percentile(idle[route], 0.5),
            percentile(idle[route], 0.99),
            percentile(times, 0.5),
            last,
            max(times),
        ]
        rows.append(
            [
                backend,
                route,
                *(f"{number:.1f}" for number in numbers),
                "" if waits_for_store else str(goal),
                "" if waits_for_store else verdict(last <= goal),
            ]
        )
    return rows


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table."""
    rows_there = ROWS // 10 if quick else ROWS
    source = generate(
        release, work / "source-latency", "--preset", "w1", "--objects", rows_there, "--no-server"
    )
    rows = []
    with SeaweedFs(work / "s3-latency") as store:
        for backend, settings, env in [
            ("filesystem", ["--filesystem-root", work / "lake"], {}),
            ("s3", ["--bucket", "lake"], store.environment),
        ]:
            with Server(
                release / "offloom", source, work / backend, work / "cache", backend, settings, env
            ) as server:
                rows += compare(server, backend)
    shutil.rmtree(source)
    print(f"Milliseconds, {ROUNDS} of each route. Busy: four exports of {rows_there:,} W1 objects.\n")
    table(["", "", "idle, median", "99 %", "busy, median", "99 %", "max", "goal of the 99 %", ""], rows)
    return []
