"""Compares an export of the minimal guest (JSON lines) row by row with the dump of a fixture.

    compare_json_lines.py EXPORT FIXTURE

Prints every difference, and ends with status 1 if there was one. Named vectors are not compared:
that guest leaves them out.
"""

import json
import sys
import uuid
from collections import Counter
from pathlib import Path

from compare import meaning, meaning_of_rest, rest_objects


def exported(folder):
    """Every exported row: class, id and meaning."""
    for path in sorted(folder.glob("*.jsonl")):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line, parse_int=float)
                text = meaning(
                    row["creation_time"],
                    row["update_time"],
                    row.get("vector"),
                    {},
                    row.get("properties", {}),
                )
                yield path.stem, str(uuid.UUID(row["id"])), text


def served(fixture):
    """Every object of the dump, in the same form."""
    for each in rest_objects(fixture):
        yield each["class"], each["id"], meaning_of_rest(each | {"vectors": None})


def main(export, fixture):
    """Compares both as multisets."""
    found, expected = Counter(exported(Path(export))), Counter(served(Path(fixture)))
    differences = [f"the export alone has {row}" for row in (found - expected).elements()]
    differences += [f"REST alone has {row}" for row in (expected - found).elements()]
    for difference in differences:
        print(difference)
    print(f"{found.total()} rows exported, {len(differences)} differences")
    return 1 if differences or not found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
