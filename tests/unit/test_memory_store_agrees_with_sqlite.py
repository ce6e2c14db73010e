"""The memory store's tables behave as SQLite's do, so that a test on one means the other too."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reunite.core.schema import TableSchema
from reunite.errors import ConstraintError
from reunite.stores.memory import MemoryHandle, MemoryStore
from reunite.testing.contracts import STANDARD_DDL_SQLITE, STANDARD_SCHEMAS

SCHEMAS = {schema.name: schema for schema in STANDARD_SCHEMAS if schema.name != "sample"}

texts = st.sampled_from(["p", "q", "r"])
numbers = st.integers(1, 3)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "parent.id": texts,
    "parent.name": texts | st.none(),
    "parent.code": texts | st.none(),
    "note.a": texts,
    "note.b": numbers,
    "note.body": texts,
    "child.id": numbers | st.none(),
    "child.parent_id": texts | st.none(),
    "child.note_a": texts | st.none(),
    "child.note_b": numbers | st.none(),
    "child.title": texts | st.none(),
    "child.amount": numbers,
    "person.id": numbers | st.none(),
    "person.email": texts | st.none(),
    "person.boss_id": numbers | st.none(),
}


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str, tuple[Any, ...], dict[str, Any]]:
    """(verb, table, key, values); an update may move the key, an insert may leave columns out."""
    schema = draw(st.sampled_from(list(SCHEMAS.values())))
    verb = draw(st.sampled_from(["insert", "insert", "insert", "update", "replace", "delete"]))
    key = tuple(draw(VALUES[f"{schema.name}.{name}"]) for name in schema.key)
    values = {
        name: draw(VALUES[f"{schema.name}.{name}"])
        for name in schema.column_names
        if (verb != "update" and name in schema.key) or draw(st.booleans())
    }
    if verb == "update":
        values = {name: v for name, v in values.items() if name not in schema.key or v is not None}
    return verb, schema.name, key, values


class PlainSqlite:
    """The standard tables in SQLite, without any store."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("pragma foreign_keys = on")
        for ddl in STANDARD_DDL_SQLITE:
            self.connection.execute(ddl)

    def run(self, verb: str, schema: TableSchema, key: Any, values: Mapping[str, Any]) -> None:
        names = ", ".join(values)
        marks = ", ".join("?" for _ in values)
        where = " and ".join(f"{name} = ?" for name in schema.key)
        if verb in ("insert", "replace"):
            sql = f"{verb} into {schema.name} ({names}) values ({marks})"
            self.connection.execute(sql, tuple(values.values()))
        elif verb == "delete":
            self.connection.execute(f"delete from {schema.name} where {where}", key)
        elif values:
            changes = ", ".join(f"{name} = ?" for name in values)
            sql = f"update {schema.name} set {changes} where {where}"
            self.connection.execute(sql, (*values.values(), *key))

    def rows(self, schema: TableSchema) -> list[Any]:
        order = ", ".join(schema.key)
        return self.connection.execute(f"select * from {schema.name} order by {order}").fetchall()


def run_on_memory(
    handle: MemoryHandle, verb: str, table: str, key: Any, values: Mapping[str, Any]
) -> None:
    if verb == "insert":
        handle.insert(table, values)
    elif verb == "replace":
        handle.replace(table, values)
    elif verb == "delete":
        handle.delete(table, key)
    elif values:
        handle.update(table, key, values)


@given(st.lists(statements(), max_size=25))
def test_the_same_statements_have_the_same_effect(steps: list[Any]) -> None:
    memory, plain = MemoryStore(), PlainSqlite()
    memory.track(STANDARD_SCHEMAS)
    for verb, table, key, values in steps:
        try:
            plain.run(verb, SCHEMAS[table], key, values)
            is_refused_by_sqlite = False
        except sqlite3.IntegrityError:
            is_refused_by_sqlite = True
        before = {name: memory_rows(memory, name) for name in SCHEMAS}
        try:
            with memory.foreign_write() as handle:
                run_on_memory(handle, verb, table, key, values)
            is_refused = False
        except ConstraintError:
            is_refused = True
        assert is_refused == is_refused_by_sqlite
        after = {name: memory_rows(memory, name) for name in SCHEMAS}
        assert after == {name: plain.rows(schema) for name, schema in SCHEMAS.items()}
        if is_refused:
            assert after == before
    plain.connection.close()
    everything_is_logged(memory)


def memory_rows(memory: MemoryStore, table: str) -> list[Any]:
    with memory.read() as transaction:
        return list(transaction.scan(table, after=None, limit=1_000))


def everything_is_logged(memory: MemoryStore) -> None:
    """Walking back through the log from the rows of today ends at empty tables (I11)."""
    tables = {
        name: {schema.key_of(row): row for row in memory_rows(memory, name)}
        for name, schema in SCHEMAS.items()
    }
    with memory.read() as transaction:
        entries = transaction.log(after_id=0, until_id=2**53, limit=100_000)
    for entry in reversed(entries):
        rows = tables[entry.table]
        rows.pop(entry.key, None)
        if entry.old is not None:
            rows[entry.old_key or entry.key] = entry.old
    assert all(rows == {} for rows in tables.values())
