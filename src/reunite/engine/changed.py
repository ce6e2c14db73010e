"""Changed rows: what pushed changes say of rows, before anybody judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from reunite.core.change import Change, Op
from reunite.core.key import Key
from reunite.core.pointers import pointed_parents
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value, same
from reunite.engine.parse import CheckedRun
from reunite.engine.reaching import Made
from reunite.engine.tables import Tables


class Inserts(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """New rows of one table, each whole and in the order of the schema's columns. `is_plain` says
    that none of their values is tagged; False, that nobody knows."""

    keys: list[Key]
    rows: list[Row]
    is_plain: bool = False


def inserts_of(
    changes: Sequence[Change], tables: Tables, default: Callable[[str], Row]
) -> dict[str, Inserts]:
    """Inserts as rows by table."""
    found: dict[str, Inserts] = {}
    for change in changes:
        schema = tables.schemas[change.table]
        given = found.setdefault(change.table, Inserts(keys=[], rows=[]))
        given.keys.append(change.key)
        given.rows.extend(whole_rows(schema, change.columns, [change.set], default))
    return found


def inserts_of_runs(
    runs: Sequence[CheckedRun], tables: Tables, default: Callable[[str], Row]
) -> dict[str, Inserts]:
    """Runs of inserts as rows by table, without an object for each change."""
    schemas = tables.schemas
    # What the replica does not know of has its default, which may well be tagged.
    is_plain = all(
        run.is_plain and len(run.run.columns) == len(schemas[run.run.table].columns) for run in runs
    )
    found: dict[str, Inserts] = {}
    for run in runs:
        schema, columns = schemas[run.run.table], run.run.columns
        given = found.setdefault(schema.name, Inserts(keys=[], rows=[], is_plain=is_plain))
        given.keys.extend(run.keys)
        given.rows.extend(whole_rows(schema, columns, run.run.set, default))
    return found


def places_of(change: Change, tables: Tables) -> Iterator[tuple[str, Key]]:
    """(table, key) of every row that the change touches or that the values it sets point to."""
    yield change.table, change.key
    if change.old_key is not None:
        yield change.table, change.old_key
    if change.op is not Op.DELETE:
        yield from pointed_parents(tables.schemas, change.table, change.columns, change.set)


def whole_rows(
    schema: TableSchema,
    columns: Sequence[str],
    rows: Sequence[Row],
    default: Callable[[str], Row],
) -> Sequence[Row]:
    """Rows of inserts, which hold every column that their replica knows, in the order of the
    schema's columns; `default` gives a row of a table to take the others from."""
    if columns == schema.column_names:
        return rows
    if len(columns) == len(schema.columns):
        places = [columns.index(name) for name in schema.column_names]
        return [tuple([row[place] for place in places]) for row in rows]
    return [with_values(schema, default(schema.name), columns, row) for row in rows]


def with_values(
    schema: TableSchema, row: Row, columns: Sequence[str], values: Sequence[Value]
) -> Row:
    """A row with other values in these columns."""
    changed = list(row)
    for name, value in zip(columns, values, strict=True):
        changed[schema.position[name]] = value
    return tuple(changed)


def columns_set(schema: TableSchema, change: Change) -> list[str]:
    """The columns to which an update gives another value."""
    return [
        name
        for name, was, value in zip(change.columns, change.was, change.set, strict=True)
        if not same(schema.column[name].type, was, value)
    ]


def without_key(
    schema: TableSchema, change: Change
) -> tuple[tuple[str, ...], tuple[Value, ...], tuple[Value, ...]]:
    """Columns, was and set of an update, without the key's columns: those move, not merge."""
    if change.old_key is None:
        return change.columns, change.was, change.set
    kept = [i for i, name in enumerate(change.columns) if name not in schema.key]
    return (
        tuple(change.columns[i] for i in kept),
        tuple(change.was[i] for i in kept),
        tuple(change.set[i] for i in kept),
    )


def wanted_rows(
    schema: TableSchema, changes: Sequence[Change], rows: Mapping[Key, Row]
) -> Iterator[Row]:
    """What the rows of a table may become by these changes, each taken alone."""
    for change in changes:
        if change.table == schema.name and change.op is not Op.DELETE:
            nothing = (None,) * len(schema.columns)
            row = rows.get(change.old_key or change.key, nothing)
            yield with_values(schema, row, change.columns, change.set)


def rows_made(inserts: Mapping[str, Inserts]) -> Made:
    """Where to find new rows, by their keys."""
    by_table: dict[str, dict[Key, Row]] = {}

    def made(table: str, key: Key) -> tuple[bool, Row | None]:
        if table not in inserts:
            return False, None
        if table not in by_table:
            given = inserts[table]
            by_table[table] = dict(zip(given.keys, given.rows, strict=True))
        row = by_table[table].get(key)
        return row is not None, row

    return made
