"""What `offloom-bench generate` writes is what a real server reads: the number of objects and some of them over REST,
and all rows of its own export against those of ours."""

import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq

from exports import Bench
from servers import Weaviate

# Name, objects that are live, and the options. All kinds of vectors, tenants, many files, many changes.
SHAPES = [
    ("single", 3_000, ["--preset", "w1", "--objects", 3_000, "--embeddings", "single"]),
    ("named", 500, ["--objects", 500, "--class-name", "Named", "--dimensions", 0, "--named", "title:16", "--named",
                    "body:8", "--multi", "colbert:4x3", "--properties-bytes", 100, "--updates-percent", 30,
                    "--deletes-percent", 50, "--segments", 7, "--embeddings", "half"]),
    ("tenants", 300, ["--objects", 300, "--class-name", "Tenants", "--dimensions", 4, "--tenants", 20, "--segments", 1,
                      "--deletes-percent", 20, "--seed", 7]),
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
    return wrong


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
