"""Peak memory of a whole export of 100,000 W1 objects, per worker, with the compiled guest in the cache."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_MIB_A_WORKER = 200
ROWS = 100_000


def export(program: Path, source: Path, to: str, cache: Path, workers: int) -> tuple[float, float]:
    """Seconds and peak resident MiB of one export."""
    started = time.monotonic()
    process = subprocess.Popen(
        [program, "export", "--data-dir", source / "data", "--schema", source / "schema.json",
         "--to", to, "--id", f"workers-{workers}-{time.monotonic_ns()}", "--workers", str(workers),
         "--cache-dir", cache, "--progress", "none"],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"the export failed with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def main() -> int:
    release = Path(sys.argv[1])
    reached = True
    with tempfile.TemporaryDirectory() as folder:
        source, cache = Path(folder) / "source", Path(folder) / "cache"
        subprocess.run(
            [release / "offloom-encoder", "write-directory", "--workload", "w1", "--rows", str(ROWS), source],
            check=True,
        )
        export(release / "offloom", source, f"{folder}/warm-up", cache, 1)
        print(f"\nwhole export of {ROWS:,} W1 objects; goal at most {GOAL_MIB_A_WORKER} MiB a worker")
        print("workers   seconds    rows/s  peak MiB  a worker")
        for workers in (1, 2, 4):
            seconds, peak = export(release / "offloom", source, f"{folder}/lake", cache, workers)
            print(f"{workers:7}  {seconds:8.2f}  {ROWS / seconds:8.0f}  {peak:8.0f}  {peak / workers:8.0f}")
            reached &= peak / workers <= GOAL_MIB_A_WORKER
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
