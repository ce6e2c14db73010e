"""Pages as the replica's tables have them."""

from __future__ import annotations

from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.protocol.pull import TablePage


def aligned(schema: TableSchema, part: TablePage) -> list[Row]:
    """The rows of a page in the order of the schema's columns."""
    if part.columns == schema.column_names:
        return part.puts
    position = {name: i for i, name in enumerate(part.columns)}
    places_ = [position.get(name) for name in schema.column_names]
    return [tuple(None if i is None else row[i] for i in places_) for row in part.puts]
