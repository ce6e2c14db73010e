"""Steps: from a row to the rows that its foreign keys point to, by name.

    project.team_id         the column team_id of the row that project_id points to
    project.client.name     and on from there

A step is named by the column of a foreign key, with or without its `_id`, or by the table that the
key points to, where there is one such key.

The rule         a step leads to one row at most: foreign keys to a primary key, of the same types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema
from reunite.errors import BadRequestError

# Steps in one field.
EXPRESSION_STEPS_MAX = 4

# Keys whose values are equal in every database if and only if their wire forms are.
_KEY_TYPES = frozenset({ColumnType.INTEGER, ColumnType.TEXT, ColumnType.UUID})


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` of a row hold the key of a row of `parent`, in the order of its columns."""

    columns: tuple[str, ...]
    parent: str


def resolve(
    field: str, schema: TableSchema, schemas: Mapping[str, TableSchema], *, path: str
) -> tuple[list[Step], Column]:
    """The steps that a field takes from a table's row, and the column at their end. Raises
    BadRequestError."""
    *names, last = field.split(".")
    if len(names) > EXPRESSION_STEPS_MAX:
        raise BadRequestError(
            f"{field!r} has more than {EXPRESSION_STEPS_MAX} steps: ask a nearer row.", path=path
        )
    steps = []
    for name in names:
        step = _step(_foreign_key(name, schema, path), schema, schemas, path)
        steps.append(step)
        schema = schemas[step.parent]
    column = schema.column.get(last)
    if column is None:
        raise BadRequestError(f"The table {schema.name!r} has no column {last!r}.", path=path)
    return steps, column


def is_step(
    columns: Sequence[str],
    parent: str,
    schema: TableSchema,
    schemas: Mapping[str, TableSchema],
    path: str,
) -> bool:
    """Whether rows of a table point by these columns, in this order, to the key of rows of
    `parent`. Raises BadRequestError for a foreign key that is no step."""
    return any(
        _step(key, schema, schemas, path).columns == tuple(columns)
        for key in schema.foreign_keys
        if key.parent == parent and set(key.columns) == set(columns)
    )


def _foreign_key(name: str, schema: TableSchema, path: str) -> ForeignKey:
    keys = [key for key in schema.foreign_keys if key.columns in ((name,), (f"{name}_id",))]
    keys = keys or [key for key in schema.foreign_keys if key.parent == name]
    if len(keys) == 1:
        return keys[0]
    if not keys:
        reason = f"The table {schema.name!r} has no foreign key {name!r}: name its column or table."
    else:
        reason = f"{schema.name!r} points to {name!r} by several foreign keys: name the column."
    raise BadRequestError(reason, path=path)


def _step(
    key: ForeignKey, schema: TableSchema, schemas: Mapping[str, TableSchema], path: str
) -> Step:
    parent = schemas.get(key.parent)
    if parent is None:
        raise BadRequestError(
            f"{schema.name!r} points to {key.parent!r}, which is not tracked: track it first.",
            path=path,
        )
    column_of = dict(zip(key.parent_columns, key.columns, strict=True))
    if column_of.keys() != set(parent.key):
        raise BadRequestError(
            f"{schema.name!r} does not point to the primary key of {key.parent!r}: only such a "
            "foreign key is a step.",
            path=path,
        )
    for name, column in column_of.items():
        types = {parent.column[name].type, schema.column[column].type}
        if len(types) > 1 or not types <= _KEY_TYPES:
            raise BadRequestError(
                f"{column!r} of {schema.name!r} cannot be a step: it and {name!r} of "
                f"{key.parent!r} must both be integers, or texts, or UUIDs.",
                path=path,
            )
    return Step(columns=tuple(column_of[name] for name in parent.key), parent=key.parent)
