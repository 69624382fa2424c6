"""The resource `transformer`: one text property in capital letters."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.transform import Edits, Shape
from wit_world.imports.types import (
    Column,
    DataType_Json,
    Error_Unsupported,
    Field,
    Values_VariableWidth,
    VariableWidth,
)


class Transformer(exports.transform.Transformer):
    def __init__(self, name):
        self.name = name

    @classmethod
    def open(cls, input, options):
        given = dict(options)
        if set(given) != {"property"}:
            raise Err(Error_Unsupported("it needs one option, property"))
        return cls(given["property"])

    def shape(self):
        return Shape(["properties"], [Field("properties", DataType_Json(), True)], [])

    def apply(self, batch):
        column = batch.columns[0]
        offsets, values = column.values.value.offsets, column.values.value.bytes
        written, ends = bytearray(), [0]
        for start, end in zip(offsets, offsets[1:]):
            text = values[start:end]
            if text:
                row = json.loads(text)
                if isinstance(row.get(self.name), str):
                    row[self.name] = row[self.name].upper()
                text = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            written += text
            ends.append(len(written))
        rewritten = Values_VariableWidth(VariableWidth(ends, bytes(written)))
        return Edits(None, [Column(column.validity, rewritten)], [], [])
