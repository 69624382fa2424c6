"""Whole exports against Weaviate's own, of the same directory in the same run: one worker and two, to
a folder and to S3 (SeaweedFS). Everything lies in memory, and the runs of a round follow each other,
in turn from both ends."""

import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import runs
from runs import Run, spread, verdict
from servers import SeaweedFs, Weaviate

# Wall and processor time of Weaviate's export over ours.
GOALS = {"w1": (2.5, 2.5), "w3": (2.2, 2.3), "w2": (1.8, 1.8)}
CORES_GOAL = 1.9
S3_GOAL = 0.8


@dataclass
class Series:
    """All runs of one way to export, in the order of the rounds."""

    name: str
    runs: list[Run]

    def ratios(self, other: "Series", of) -> list[float]:
        """Of each round, what the other took over what this took."""
        return [of(theirs) / of(ours) for ours, theirs in zip(self.runs, other.runs)]


class Bench:
    """One directory, opened by a Weaviate, and the ways to export it."""

    def __init__(self, release: Path, work: Path, name: str, options: list[str]):
        self.release, self.work, self.name = release, work, name
        self.source = runs.generate(release, work / f"source-{name}", *options)
        self.class_name = json.loads((self.source / "schema.json").read_text())["classes"][0]["class"]
        self.number = 0

    def offloom(self, to: str, workers: int, env: dict | None = None) -> Run:
        """One export; with a folder, its files and then nothing remain."""
        self.number += 1
        return runs.of_command(
            [
                self.release / "offloom",
                "export",
                "--data-dir",
                self.source / "data",
                "--to",
                to,
                "--id",
                f"ours-{self.number}",
                "--workers",
                str(workers),
                "--progress",
                "none",
                "--cache-dir",
                self.work / "cache",
            ],
            env,
        )

    def to_folder(self, workers: int) -> Run:
        lake = self.work / "lake"
        run = self.offloom(str(lake), workers)
        run.size = runs.size_of(lake / f"ours-{self.number}")
        shutil.rmtree(lake)
        return run

    def by_weaviate(self, server: Weaviate) -> Run:
        self.number += 1
        name = f"theirs-{self.number}"
        run = runs.of_server(server.process.pid, lambda: server.export(name))
        run.size = runs.size_of(server.exports / name)
        shutil.rmtree(server.exports / name)
        return run

    def rows_are_equal(self, server: Weaviate, keep: bool = False) -> bool:
        """Whether the two exports have the same rows. It also warms both up."""
        server.export("compared")
        self.offloom(str(self.work / "lake"), 2)
        print(f"{self.name}: ", end="", flush=True)
        compared = subprocess.run(
            [
                sys.executable,
                Path(__file__).with_name("rows.py"),
                self.work / f"lake/ours-{self.number}",
                server.exports / "compared",
                self.class_name,
            ]
        )
        if not keep:
            shutil.rmtree(server.exports / "compared")
            shutil.rmtree(self.work / "lake")
        return compared.returncode == 0

    def measure(self, rounds: int) -> tuple[dict[str, Series], bool]:
        """All series, and whether the rows are equal."""
        with (
            Weaviate(self.source / "data", self.work / f"weaviate-{self.name}") as server,
            SeaweedFs(self.work / f"s3-{self.name}") as store,
        ):
            equal = self.rows_are_equal(server)
            ways = {
                "weaviate": lambda: self.by_weaviate(server),
                "two": lambda: self.to_folder(2),
                "one": lambda: self.to_folder(1),
                "s3": lambda: self.offloom("s3://lake/bench", 2, store.environment),
            }
            series = {name: Series(name, []) for name in ways}
            for number in range(rounds + 1):
                in_turn = list(ways.items())
                for name, run in in_turn if number % 2 else in_turn[::-1]:
                    taken = run()
                    # The first round finds some of it cold.
                    if number > 0:
                        series[name].runs.append(taken)
        shutil.rmtree(self.work / f"weaviate-{self.name}", ignore_errors=True)
        shutil.rmtree(self.work / f"s3-{self.name}", ignore_errors=True)
        shutil.rmtree(self.source)
        return series, equal


def median(series: Series, of) -> float:
    return statistics.median(of(run) for run in series.runs)


def print_tables(measured: dict[str, dict[str, Series]]) -> None:
    labels = {
        "weaviate": "Weaviate",
        "two": "Offloom, 2 workers",
        "one": "Offloom, 1 worker",
        "s3": "2 workers, S3",
    }
    table = []
    for name, series in measured.items():
        for key, label in labels.items():
            cores = [run.cpu / run.seconds for run in series[key].runs]
            size = median(series[key], lambda run: run.size) / 1e6
            table.append(
                [
                    name.upper(),
                    label,
                    spread([run.seconds for run in series[key].runs]),
                    spread([run.cpu for run in series[key].runs]),
                    spread(cores),
                    f"{size:.1f}" if size else "",
                    f"{median(series[key], lambda run: run.peak_mib):.0f}",
                ]
            )
    print("Medians (quartiles). Processor time is user and system.\n")
    runs.table(["", "", "seconds", "processor s", "cores busy", "MB written", "peak MiB"], table)

    table = []
    for name, series in measured.items():
        two, weaviate = series["two"], series["weaviate"]
        wall = two.ratios(weaviate, lambda run: run.seconds)
        cpu = two.ratios(weaviate, lambda run: run.cpu)
        size = statistics.median(two.ratios(weaviate, lambda run: 1 / run.size))
        cores = statistics.median(run.cpu / run.seconds for run in two.runs)
        # What the folder took over what S3 took, round by round.
        s3 = statistics.median(series["s3"].ratios(two, lambda run: run.seconds))
        wall_goal, cpu_goal = GOALS.get(name, (1.0, 1.0))
        for what, text, value, goal, reached in [
            (
                "wall",
                spread(wall),
                statistics.median(wall),
                f"{wall_goal}",
                statistics.median(wall) >= wall_goal,
            ),
            (
                "processor time",
                spread(cpu),
                statistics.median(cpu),
                f"{cpu_goal}",
                statistics.median(cpu) >= cpu_goal,
            ),
            ("size of the files, Offloom's share", f"{size:.3f}", size, "at most 1", size <= 1),
            ("cores busy with 2 workers", f"{cores:.2f}", cores, f"{CORES_GOAL}", cores >= CORES_GOAL),
            ("S3, share of the folder's speed", f"{s3:.2f}", s3, f"{S3_GOAL}", s3 >= S3_GOAL),
        ]:
            table.append([name.upper(), what, text, goal, verdict(reached)])
    print("Offloom with 2 workers against Weaviate: how often its time fits into Weaviate's.\n")
    runs.table(["", "", "median (quartiles)", "goal", ""], table)


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints the tables, and returns what is wrong."""
    measured, wrong = {}, []
    for name in GOALS:
        rows_of = {"w1": 12_000, "w3": 20_000, "w2": 30_000}[name]
        options = ["--preset", name] + (["--objects", str(rows_of)] if quick else [])
        series, equal = Bench(release, work, name, options).measure(2 if quick else 5)
        measured[name] = series
        if not equal:
            wrong.append(f"{name}: the rows differ from those of Weaviate's export")
    print_tables(measured)
    return wrong
