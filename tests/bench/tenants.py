"""Very many tenants of one object each, in logs alone: seconds of a whole export to a folder."""

import json
import shutil
import statistics
from pathlib import Path

import runs

GOAL_SECONDS = 10
TENANTS = 100_000


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table, and returns what is wrong."""
    tenants = TENANTS // 10 if quick else TENANTS
    source = runs.generate(
        release,
        work / "source-tenants",
        "--preset",
        "tenants",
        "--objects",
        tenants,
        "--tenants",
        tenants,
        "--no-server",
    )
    taken, exported = [], set()
    for _ in range(2 if quick else 4):
        taken.append(runs.of_command(runs.export_command(release, work, source, "tenants", 2)))
        manifest = json.loads((work / "lake/tenants/export_metadata.json").read_text())
        exported.add(manifest["progress"]["Shelf"]["objectsExported"])
        shutil.rmtree(work / "lake")
    shutil.rmtree(source)
    # The first finds it cold.
    del taken[0]
    seconds = statistics.median(run.seconds for run in taken)
    goal = GOAL_SECONDS * tenants / TENANTS
    runs.table(
        ["tenants", "seconds", "processor s", "peak MiB", "goal", ""],
        [
            [
                f"{tenants:,}",
                f"{seconds:.2f}",
                f"{statistics.median(run.cpu for run in taken):.2f}",
                f"{max(run.peak_mib for run in taken):.0f}",
                f"{goal:.0f}",
                runs.verdict(seconds <= goal),
            ]
        ],
    )
    return [] if exported == {tenants} else [f"tenants: {exported} objects of {tenants}"]
