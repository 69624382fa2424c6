"""Compares an export through `redact` with the whole one, row by row.

Usage: compare_redacted.py WHOLE.parquet REDACTED.parquet REDACTIONS(JSON)
"""

import hashlib
import hmac
import json
import sys

import pyarrow.parquet as pq

asked = json.loads(sys.argv[3])
expected_count = {"drop": 0, "hash": 0, "mask": 0}


def parts(value, path):
    """The objects that hold the last name of a path, through lists of objects."""
    if isinstance(value, list):
        return [each for item in value for each in parts(item, path)]
    if not isinstance(value, dict):
        return []
    if len(path) == 1:
        return [value] if path[0] in value else []
    return parts(value.get(path[0]), path[1:])


def texts(row):
    """The JSON text of each top property, as it stands in the row."""
    decoder = json.JSONDecoder()
    found, at = {}, row.index("{") + 1
    while row[at] != "}":
        name, at = decoder.raw_decode(row, at)
        start = at + 1
        value, at = decoder.raw_decode(row, start)
        found[name] = row[start:at]
        at += row[at] == ","
    return found


def redacted(row):
    value, text = json.loads(row), texts(row)
    for kind in expected_count:
        for path in asked[kind]:
            names = path.split(".")
            for holder in parts(value, names):
                last = names[-1]
                if kind == "drop":
                    del holder[last]
                elif holder[last] is None:
                    continue
                elif kind == "mask":
                    holder[last] = "***"
                else:
                    plain = holder[last] if isinstance(holder[last], str) else text[path]
                    key = asked["key"].encode()
                    holder[last] = hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()
                expected_count[kind] += 1
    return value


whole, changed = (pq.read_table(path).to_pylist() for path in sys.argv[1:3])
assert len(whole) == len(changed) > 0
touched = {path.split(".")[0] for kind in expected_count for path in asked[kind]}
for before, after in zip(whole, changed):
    text, new_text = before.pop("properties"), after.pop("properties")
    assert before == after, before["id"]
    if text is None:
        assert new_text is None
        continue
    text, new_text = text.decode(), new_text.decode()
    assert json.loads(new_text) == redacted(text), (text, new_text)
    old, new = texts(text), texts(new_text)
    # What is not redacted stays as it stands, and in its order.
    kept = [(name, value) for name, value in old.items() if name not in touched]
    assert kept == [(name, value) for name, value in new.items() if name not in touched], text
assert all(expected_count.values()), expected_count
print(expected_count)
