"""What `offloom-bench generate` writes is what a real server reads: the number of objects and some of
them over REST, and all rows of its own export against those of ours."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
from exports import Bench
from servers import ROOT, Weaviate

PAGE = ROOT / "docs/performance.md"

# Name, objects that are live, and the options. All kinds of vectors, tenants, many files, many changes.
SHAPES = [
    ("single", 3_000, ["--preset", "w1", "--objects", 3_000, "--embeddings", "single"]),
    (
        "named",
        500,
        [
            "--objects",
            500,
            "--class-name",
            "Named",
            "--dimensions",
            0,
            "--named",
            "title:16",
            "--named",
            "body:8",
            "--multi",
            "colbert:4x3",
            "--properties-bytes",
            100,
            "--updates-percent",
            30,
            "--deletes-percent",
            50,
            "--segments",
            7,
            "--embeddings",
            "half",
        ],
    ),
    (
        "tenants",
        300,
        [
            "--objects",
            300,
            "--class-name",
            "Tenants",
            "--dimensions",
            4,
            "--tenants",
            20,
            "--segments",
            1,
            "--deletes-percent",
            20,
            "--seed",
            7,
        ],
    ),
]


def run(release: Path, work: Path, quick: bool) -> list[str]:
    """Prints what was compared, and returns what is wrong."""
    del quick  # The shapes are small.
    wrong = []
    for name, objects, options in SHAPES:
        bench = Bench(release, work, name, list(map(str, options)))
        tenants = "tenant" in name
        with Weaviate(bench.source / "data", work / f"weaviate-{name}") as server:
            if not bench.rows_are_equal(server, keep=True):
                wrong.append(f"{name}: the rows differ from those of Weaviate's export")
            wrong += [f"{name}: {each}" for each in over_rest(server, bench, objects, tenants)]
        shutil.rmtree(bench.source)
        shutil.rmtree(work / "lake")
        shutil.rmtree(work / f"weaviate-{name}")
    documented(release, work)
    return wrong


def documented(release: Path, work: Path) -> None:
    """Runs the lines of the page that generate directories, in a folder of this run."""
    page = PAGE.read_text().replace("\\\n", " ")
    lines = re.findall(r"^target/release/offloom-bench (generate .*?)(?: +#.*)?$", page, re.MULTILINE)
    if not lines:
        raise ValueError(f"{PAGE} generates nothing")
    for line in lines:
        words = [
            str(work / word.strip("/")) if word.startswith("/") else word for word in shlex.split(line)
        ]
        subprocess.run([release / "offloom-bench", *words], check=True)
        print(f"{PAGE.name}: {line}", flush=True)
        shutil.rmtree(words[-1])


def over_rest(server: Weaviate, bench: Bench, objects: int, tenants: bool) -> list[str]:
    """What REST contradicts: of the number of objects, and of the properties of some."""
    folder = bench.work / f"lake/ours-{bench.number}"
    rows = pq.read_table(next(folder.glob("*.parquet"))).slice(0, 20).to_pylist()
    wrong = []
    for row in rows:
        of_tenant = f"?tenant={row['tenant']}" if tenants else ""
        served = server.get(f"/v1/objects/{bench.class_name}/{row['id']}{of_tenant}")
        if served["lastUpdateTimeUnix"] != row["update_time"]:
            wrong.append(f"{row['id']}: updated at {served['lastUpdateTimeUnix']} over REST")
    shards = server.get("/v1/nodes?output=verbose")["nodes"][0]["shards"]
    counted = sum(shard["objectCount"] for shard in shards)
    if counted != objects:
        wrong.append(f"{counted} objects over REST, not {objects}")
    return wrong
