"""Seconds, processor seconds and peak memory of a run, and what many runs have in common."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """What one run took."""

    seconds: float
    cpu: float
    peak_mib: float
    size: int = 0


def of_command(command: list, env: dict | None = None) -> Run:
    """Runs a command to its end."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: status {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def of_server(pid: int, work) -> Run:
    """What a server takes while `work()` waits for it. Its peak memory starts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    begun, cpu = time.monotonic(), cpu_of(pid)
    work()
    seconds, cpu = time.monotonic() - begun, cpu_of(pid) - cpu
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return Run(seconds, cpu, int(peak_kib) / 1024)


def cpu_of(pid: int) -> float:
    """Processor seconds of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def size_of(folder: Path) -> int:
    """Bytes of the Parquet files in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def spread(numbers: list[float], digits: int = 2) -> str:
    """Median and quartiles."""
    median = statistics.median(numbers)
    if len(numbers) < 2:
        return f"{median:.{digits}f}"
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def verdict(reached: bool) -> str:
    """A goal is reported, and never fails a run."""
    return "reached" if reached else "missed"


def table(header: list[str], rows: list[list[str]]) -> None:
    """Prints a Markdown table with aligned columns."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print(flush=True)


def generate(release: Path, folder: Path, *options) -> Path:
    """A data directory that offloom-bench writes into `folder`, and its schema.json beside it."""
    subprocess.run([release / "offloom-bench", "generate", *map(str, options), folder], check=True)
    return folder


def export_command(
    release: Path, work: Path, source: Path, name: str, workers: int, to: str | None = None
) -> list:
    """An export of a directory that no server has opened into `work/lake/NAME`, or to another place."""
    return [
        release / "offloom",
        "export",
        "--data-dir",
        source / "data",
        "--schema",
        source / "schema.json",
        "--to",
        to or work / "lake",
        "--id",
        name,
        "--workers",
        str(workers),
        "--cache-dir",
        work / "cache",
        "--progress",
        "none",
    ]
