"""What a whole export of W1, W3 and W2 spends its processor time on, by `perf`, and the flame graph of
W1."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import flamegraph
import runs
from servers import ROOT

ROWS = {"w1": 120_000, "w3": 200_000, "w2": 300_000}
GRAPH = ROOT / "target/bench/w1.svg"
# The first that fits the innermost function counts.
GROUPS = {
    "zstd": re.compile(r"^(_?ZSTD|HUF|FSE|HIST|XXH)|zstd"),
    "digest": re.compile(r"sha2|sha256|blake3"),
    "copies": re.compile(r"mem(move|cpy|set|cmp)"),
    "guest": re.compile(r"^guest code$"),
    "kernel": re.compile(r"\[kernel\]$"),
    "parsing": re.compile(r"offloom_(weaviate|rows)|serde_json|crc32|from_utf8"),
}
LABELS = {
    "zstd": "Zstandard",
    "digest": "digest",
    "copies": "copies of memory",
    "kernel": "kernel (reads, writes, page faults, wake-ups)",
    "parsing": "reading and parsing",
    "guest": "code of the guest",
    "other": "all else",
}


def group(function: str) -> str:
    return next((name for name, pattern in GROUPS.items() if pattern.search(function)), "other")


def stacks_of(command: list, data: Path, options: list[str]) -> Counter:
    """Stacks of all samples, the outermost function first."""
    subprocess.run(
        ["perf", "record", "--quiet", "--output", data, *options, "--", *command],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    script = subprocess.run(
        ["perf", "script", "--input", data, "--no-inline", "-F", "comm,ip,sym,dso"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    stacks: Counter = Counter()
    for sample in script.split("\n\n"):
        thread, *frames = [line for line in sample.splitlines() if line.strip()] or [""]
        names = [name_of(frame) for frame in frames]
        if names:
            # What was copied of a stack may end within it.
            while len(names) > 1 and names[-1] == "guest code":
                names.pop()
            stacks[(thread.strip(), *reversed(names))] += 1
    return stacks


def name_of(frame: str) -> str:
    """The function of a frame, without its hash and its arguments of types."""
    _, name, place = re.match(r"\s*([0-9a-f]+) (.*) \((.*)\)$", frame).groups()
    if "kernel" in place:
        return f"{name} [kernel]"
    # Compiled guests have numbers for names, or none while they are not in a file.
    return "guest code" if name == "[unknown]" or name.startswith("wasm[") else re.sub(r"::h[0-9a-f]{16}$|\+0x[0-9a-f]+$", "", name)


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the table, and writes the graph."""
    if not shutil.which("perf"):
        print("perf is not installed: no profile.\n")
        return []
    shares = {name: Counter() for name in ROWS}
    for name, rows in ROWS.items():
        source = runs.generate(
            release,
            work / f"source-{name}",
            "--preset",
            name,
            "--objects",
            rows // 10 if quick else rows,
            "--no-server",
        )
        command = runs.export_command(release, work, source, "profile", 2)
        # Otherwise the compilation of the guest would be in the profile.
        runs.of_command(command)
        shutil.rmtree(work / "lake")
        for stack, count in stacks_of(
            command, work / "perf.data", ["--freq", "1999", "--call-graph", "fp"]
        ).items():
            shares[name][group(stack[-1])] += count
        shutil.rmtree(work / "lake")
        if name == "w1":
            stacks = stacks_of(
                command, work / "perf.data", ["--freq", "499", "--call-graph", "dwarf,16384"]
            )
            GRAPH.parent.mkdir(parents=True, exist_ok=True)
            flamegraph.write(GRAPH, stacks, f"offloom export of {rows:,} W1 objects, 2 workers", group)
            shutil.rmtree(work / "lake")
        shutil.rmtree(source)
    rows = [
        [label, *(f"{100 * of[key] / max(1, of.total()):.0f} %" for of in shares.values())]
        for key, label in LABELS.items()
    ]
    print("Share of the processor time, by the innermost function.\n")
    runs.table(["", *(name.upper() for name in ROWS)], rows)
    print(f"The flame graph of W1 is in {GRAPH.relative_to(ROOT)}.\n")
    return []
