"""How long after a POST the first bytes of a data file are in its folder: idle server, folder, cached
listing and access check. The folder is looked at every half millisecond."""

import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from runs import generate, table, verdict
from servers import Server

GOAL_MILLISECONDS = 50
ROUNDS = 20
ROWS = 20_000
LIMIT_SECONDS = 30


def first_write(folder: Path, begun: float) -> float:
    """Milliseconds until a file in the folder of the export that is neither claim nor manifest has
    bytes."""
    while time.monotonic() - begun < LIMIT_SECONDS:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    # A file is written under another name that begins with its own.
                    if ".parquet" in entry.name and entry.stat().st_size > 0:
                        return (time.monotonic() - begun) * 1000
        except FileNotFoundError:
            pass
        time.sleep(0.0005)
    sys.exit(f"no data file in {folder} within {LIMIT_SECONDS} s")


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table."""
    source = generate(release, work / "source-first", "--preset", "w1", "--objects", ROWS, "--no-server")
    lake = work / "lake"
    times, answers = [], []
    with Server(
        release / "offloom",
        source,
        work / "first",
        work / "cache",
        "filesystem",
        ["--filesystem-root", lake],
        {},
    ) as server:
        for number in range((5 if quick else ROUNDS) + 1):
            begun = time.monotonic()
            name, _, answered = server.post()
            # POST is answered long before the end of the export, and mostly before its first write.
            written = first_write(lake / name, begun)
            while server.status(name) != "SUCCESS":
                time.sleep(0.02)
            shutil.rmtree(lake / name)
            # The first finds no guest, no listing and no access check.
            if number > 0:
                times.append(written)
                answers.append(answered)
    shutil.rmtree(source)
    print(f"{ROWS:,} W1 objects, {len(times)} exports one after the other.\n")
    table(
        ["milliseconds after POST", "median", "max", "goal", ""],
        [
            ["answer", f"{statistics.median(answers):.1f}", f"{max(answers):.1f}", "", ""],
            [
                "first bytes of a data file",
                f"{statistics.median(times):.1f}",
                f"{max(times):.1f}",
                str(GOAL_MILLISECONDS),
                verdict(max(times) <= GOAL_MILLISECONDS),
            ],
        ],
    )
    return []
