"""All benchmarks, or some: prints Markdown tables, with the machine before them. Status 1 only when
rows or bytes are wrong: whether a goal is reached stands in the tables.

    python tests/bench/bench.py target/release [--quick] [TABLE...]"""

import argparse
import sys
import tempfile
from pathlib import Path

import encode
import exports
import first_write
import generated
import guests
import latency
import machine
import memory
import stages
import tenants

TABLES = {
    "encode": encode.run,
    "generated": generated.run,
    "exports": exports.run,
    "memory": memory.run,
    "first-write": first_write.run,
    "latency": latency.run,
    "tenants": tenants.run,
    "guests": guests.run,
    "stages": stages.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("release", type=Path, help="where cargo put the programs")
    parser.add_argument("tables", nargs="*", help=f"some of {', '.join(TABLES)}; all, if there is none")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a look")
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.tables) - TABLES.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    memory = Path("/dev/shm")
    wrong = []
    with tempfile.TemporaryDirectory(
        prefix="offloom-bench-", dir=memory if memory.is_dir() else None
    ) as work:
        # Servers that offloom-bench starts have their files there too.
        tempfile.tempdir = work
        machine.show(Path(work))
        for name in arguments.tables or TABLES:
            print(f"\n## {name}\n", flush=True)
            wrong += TABLES[name](arguments.release.absolute(), Path(work), arguments.quick)
    for each in wrong:
        print(f"wrong: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
