"""Which rows a change touches or points to: what makes one change depend on another.

Hub and replica ask the same question (the hub to reject a group with one that it hangs on, the
replica to park it), so there is one answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reunite.core.key import Key
from reunite.core.schema import ForeignKey, TableSchema
from reunite.core.values import Row


def pointer_places(
    schemas: Mapping[str, TableSchema], foreign_key: ForeignKey, columns: Sequence[str]
) -> list[int]:
    """Where in values of these columns the parent's primary key stands, in its order; nowhere for
    parents that are not tracked or are pointed to by another unique key, and where the columns
    hold only a part of the pointer."""
    parent = schemas.get(foreign_key.parent)
    if parent is None or set(foreign_key.parent_columns) != set(parent.key):
        return []
    column_of = dict(zip(foreign_key.parent_columns, foreign_key.columns, strict=True))
    names = [column_of[name] for name in parent.key]
    if not all(name in columns for name in names):
        return []
    return [columns.index(name) for name in names]


def pointed_parents(
    schemas: Mapping[str, TableSchema], table: str, columns: Sequence[str], values: Row
) -> Iterator[tuple[str, Key]]:
    """(table, key) of the parents that values of these columns point to; NULL points nowhere."""
    for foreign_key in schemas[table].foreign_keys:
        places = pointer_places(schemas, foreign_key, columns)
        key = tuple([values[place] for place in places])
        if key and None not in key:
            yield foreign_key.parent, key


def pointed_keys(
    schemas: Mapping[str, TableSchema], table: str, rows: Sequence[Row]
) -> dict[str, set[Key]]:
    """By parent, the keys that whole rows of one table point to, each once."""
    found: dict[str, set[Key]] = {}
    schema = schemas[table]
    for foreign_key in schema.foreign_keys:
        places = pointer_places(schemas, foreign_key, schema.column_names)
        if places:
            keys = set(zip(*([row[place] for row in rows] for place in places), strict=True))
            found.setdefault(foreign_key.parent, set()).update(keys)
    return {parent: {key for key in keys if None not in key} for parent, keys in found.items()}
