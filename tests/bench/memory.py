"""Peak memory of whole exports, per worker: of W1 objects with one worker, two and four, and of ever
more small objects."""

import shutil
from pathlib import Path

import runs
from runs import generate, verdict

GOAL_MIB_A_WORKER = 200
WORKERS = (1, 2, 4)
SMALL_OBJECTS = (100_000, 1_000_000, 10_000_000)


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table."""
    w1 = ("W1", ["--preset", "w1", "--objects", 12_000 if quick else 120_000], WORKERS)
    small = [
        (f"{objects:,} small", ["--preset", "small", "--objects", objects], (2,))
        for objects in (SMALL_OBJECTS[:2] if quick else SMALL_OBJECTS)
    ]
    rows = []
    for name, options, workers in [w1, *small]:
        source = generate(release, work / "source-memory", *options, "--no-server")
        for count in workers:
            # The first compiles the guest, where the cache is empty.
            for _ in range(2):
                run = runs.of_command(runs.export_command(release, work, source, "memory", count))
                shutil.rmtree(work / "lake")
            rows.append(
                [
                    name,
                    str(count),
                    f"{run.seconds:.2f}",
                    f"{run.peak_mib:.0f}",
                    f"{run.peak_mib / count:.0f}",
                    verdict(run.peak_mib / count <= GOAL_MIB_A_WORKER),
                ]
            )
        shutil.rmtree(source)
    print(f"Goal: at most {GOAL_MIB_A_WORKER} MiB a worker, however many objects there are.\n")
    runs.table(["objects", "workers", "seconds", "peak MiB", "a worker", ""], rows)
    return []
