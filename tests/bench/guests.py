"""What guests cost: exports through transforms and in the typed layout, each beside the plain export of the
same directory, in pairs."""

import json
import shutil
import statistics
from pathlib import Path

import pyarrow.parquet as pq

import runs
from runs import generate, spread, verdict

OBJECTS = {"w1": 120_000, "w3": 200_000, "w2": 300_000}

# What is measured, its options, and the goal: at most so much more wall-clock time.
GUESTS = [
    ("filter by id", ["--transform", "filter?where=id != ''"], 0.03),
    ("redact one property", ["--transform", "redact?mask=title&missing=ignore"], 0.15),
    ("layout=typed", ["--guest-option", "layout=typed"], 0.40),
]


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table, and returns what is wrong."""
    rows, wrong = [], []
    for preset, objects in OBJECTS.items():
        objects //= 10 if quick else 1
        options = ["--preset", preset, "--objects", objects, "--no-server"]
        source = generate(release, work / "source-guests", *options)
        title = first_property(release, work, source)
        for name, more, goal in GUESTS:
            more = [option.replace("title", title) for option in more]
            wall, cpu = [], []
            for _ in range(3 if quick else 6):
                plain, kept = export(release, work, source, [])
                changed, rows_kept = export(release, work, source, more)
                wall.append(changed.seconds / plain.seconds - 1)
                cpu.append(changed.cpu / plain.cpu - 1)
                if rows_kept != kept:
                    wrong.append(f"{preset}, {name}: {rows_kept} rows of {kept}")
            # The first finds guests uncompiled.
            del wall[0], cpu[0]
            reached = verdict(statistics.median(wall) <= goal)
            rows.append([preset, name, spread(wall), spread(cpu), f"{goal:.2f}", reached])
        shutil.rmtree(source)
    print("More time than the plain export of the same directory, as a part of it.\n")
    runs.table(["objects", "guest", "wall", "processor", "goal", ""], rows)
    return wrong


def first_property(release: Path, work: Path, source: Path) -> str:
    """A property of the class: the first of its first row."""
    runs.of_command(runs.export_command(release, work, source, "guests", 2))
    file = next((work / "lake/guests").glob("*.parquet"))
    row = next(pq.ParquetFile(file).iter_batches(1, columns=["properties"])).to_pylist()[0]
    shutil.rmtree(work / "lake")
    return next(iter(json.loads(row["properties"])))


def export(release: Path, work: Path, source: Path, more: list) -> tuple[runs.Run, int]:
    """One export, and its rows."""
    run = runs.of_command([*runs.export_command(release, work, source, "guests", 2), *more])
    manifest = json.loads((work / "lake/guests/export_metadata.json").read_text())
    shutil.rmtree(work / "lake")
    return run, sum(each["objectsExported"] for each in manifest["progress"].values())
