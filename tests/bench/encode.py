"""Encoding alone, one thread, from memory to memory: the guest, the same code natively, pyarrow,
DuckDB and Polars.

All encode the same rows. Runs alternate: each round is one run of every writer, in turn from both
ends."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import runs
from runs import generate, spread, verdict

NATIVE_GOAL = 0.95
ROWS = {"w1": 120_000, "w3": 200_000, "w2": 300_000}
WRITERS = {
    "guest": "Offloom, in the guest",
    "native": "Offloom, the same code natively",
    "pyarrow": "pyarrow",
    "pyarrow-all": "pyarrow, vectors compressed too",
    "duckdb": "DuckDB (all columns compressed)",
    "polars": "Polars (all columns compressed)",
}


class Asked:
    """A program that runs what it is asked for, line by line."""

    def __init__(self, command: list):
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.greeting = self.answer()

    def answer(self) -> dict | None:
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, what: str) -> dict | None:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def measure(
    release: Path, work: Path, name: str, rows: int, rounds: int
) -> dict[str, list[dict]] | None:
    """The runs of every writer; None if the guest writes other bytes than native code, or not all
    rows."""
    with Asked(
        [
            release / "offloom-bench",
            "encode",
            "--workload",
            name,
            "--rows",
            rows,
            "--target-dir",
            release.parent,
        ]
    ) as ours:
        if ours.greeting is None:
            return None
        # Whole blocks, so some more rows than asked for.
        rows = ours.greeting["rows"]
        source = generate(
            release,
            work / f"source-{name}",
            "--preset",
            name,
            "--objects",
            rows,
            "--updates-percent",
            0,
            "--deletes-percent",
            0,
            "--no-server",
        )
        class_name = json.loads((source / "schema.json").read_text())["classes"][0]["class"]
        lake = work / "lake"
        runs.of_command(runs.export_command(release, work, source, "table", 2))
        shutil.rmtree(source)
        with Asked(
            [
                sys.executable,
                Path(__file__).with_name("writers.py"),
                lake / "table",
                class_name,
                ours.greeting["block_rows"],
            ]
        ) as theirs:
            taken = {writer: [] for writer in WRITERS} if theirs.greeting == {"rows": rows} else None
            for number in range(rounds + 1 if taken else 0):
                in_turn = list(WRITERS)
                for writer in in_turn if number % 2 else in_turn[::-1]:
                    run = (ours if writer in ("guest", "native") else theirs).ask(writer)
                    # The first round finds some of it cold.
                    if number > 0:
                        taken[writer].append({**run, "rows": rows})
        shutil.rmtree(lake)
    return taken


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the tables, and returns what is wrong."""
    speeds, goals, wrong = [], [], []
    for name, rows in ROWS.items():
        taken = measure(release, work, name, rows // 10 if quick else rows, 2 if quick else 5)
        if taken is None:
            wrong.append(f"{name}: the guest writes other bytes than native code, or not all rows")
            continue
        for writer, label in WRITERS.items():
            if name == "w2" and writer == "pyarrow-all":
                continue  # There are no vectors.
            of = taken[writer]
            speeds.append(
                [
                    name.upper(),
                    label,
                    spread([run["rows"] / run["cpu"] / 1000 for run in of], 0),
                    spread([run["rows"] / run["seconds"] / 1000 for run in of], 0),
                    f"{of[0]['bytes'] / of[0]['rows']:.0f}",
                ]
            )
        for other, goal in [("native", NATIVE_GOAL), ("pyarrow", 1), ("duckdb", 1), ("polars", 1)]:
            cpu, wall = (
                statistics.median(b[time] / a[time] for a, b in zip(taken["guest"], taken[other]))
                for time in ("cpu", "seconds")
            )
            goals.append(
                [
                    name.upper(),
                    f"guest against {WRITERS[other]}",
                    f"{cpu:.2f}",
                    f"{wall:.2f}",
                    f"{goal}",
                    verdict(min(cpu, wall) >= goal),
                ]
            )
    print("One thread, thousands of rows: medians (quartiles).\n")
    runs.table(["", "", "a processor second", "a second", "bytes a row"], speeds)
    runs.table(["", "", "processor time", "wall", "goal", ""], goals)
    return wrong
