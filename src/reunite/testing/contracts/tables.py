"""What a store's tests start from: the standard tables and the subject under test.

    parent (id) ◄─cascade─ child (generated id) ─set null─► note (a, b)
    person (generated id) ◄─no action─ person.boss_id       sample (id): a column of each type

The DDL is the same in SQLite's words; other databases say it in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.core.values import Row, Value
from reunite.engine.ports import Store, Update, Writes, WriteTransaction

_INTEGER, _TEXT = ColumnType.INTEGER, ColumnType.TEXT

PARENT = TableSchema(
    name="parent",
    columns=(
        Column(name="id", type=_TEXT, nullable=False),
        Column(name="name", type=_TEXT),
        Column(name="code", type=_TEXT),
    ),
    key=("id",),
    uniques=(Unique(columns=("code",)),),
)
NOTE = TableSchema(
    name="note",
    columns=(
        Column(name="a", type=_TEXT, nullable=False),
        Column(name="b", type=_INTEGER, nullable=False),
        Column(name="body", type=_TEXT),
    ),
    key=("a", "b"),
)
CHILD = TableSchema(
    name="child",
    columns=(
        Column(name="id", type=_INTEGER, nullable=False),
        Column(name="parent_id", type=_TEXT),
        Column(name="note_a", type=_TEXT),
        Column(name="note_b", type=_INTEGER),
        Column(name="title", type=_TEXT, nullable=False),
        Column(name="amount", type=_INTEGER, nullable=False, default="0"),
    ),
    key=("id",),
    generated_key=True,
    foreign_keys=(
        ForeignKey(
            columns=("parent_id",),
            parent="parent",
            parent_columns=("id",),
            on_delete="cascade",
            on_update="cascade",
        ),
        ForeignKey(
            columns=("note_a", "note_b"),
            parent="note",
            parent_columns=("a", "b"),
            on_delete="set null",
        ),
    ),
)
PERSON = TableSchema(
    name="person",
    columns=(
        Column(name="id", type=_INTEGER, nullable=False),
        Column(name="email", type=_TEXT),
        Column(name="boss_id", type=_INTEGER),
    ),
    key=("id",),
    generated_key=True,
    uniques=(Unique(columns=("email",)),),
    foreign_keys=(ForeignKey(columns=("boss_id",), parent="person", parent_columns=("id",)),),
)
SAMPLE = TableSchema(
    name="sample",
    columns=(
        Column(name="id", type=_TEXT, nullable=False),
        *(
            Column(name=f"a_{column_type}", type=column_type)
            for column_type in ColumnType
            if column_type is not _TEXT
        ),
    ),
    key=("id",),
)

STANDARD_SCHEMAS = (PARENT, NOTE, CHILD, PERSON, SAMPLE)

STANDARD_DDL_SQLITE = (
    "create table parent (id text not null primary key, name text, code text unique)",
    "create table note (a text not null, b integer not null, body text, primary key (a, b))",
    """create table child (
        id integer not null primary key,
        parent_id text references parent (id) on delete cascade on update cascade,
        note_a text,
        note_b integer,
        title text not null,
        amount integer not null default 0,
        foreign key (note_a, note_b) references note (a, b) on delete set null
    )""",
    """create table person (
        id integer not null primary key,
        email text unique,
        boss_id integer references person (id)
    )""",
    """create table sample (
        id text not null primary key,
        a_integer integer,
        a_real real,
        a_blob blob,
        a_boolean boolean,
        a_decimal decimal,
        a_date date,
        a_time time,
        a_datetime datetime,
        a_uuid uuid,
        a_json json, a_any
    )""",
)


class Writer(Protocol):
    """Writes rows past the engine, each call a statement. Values stand in wire form."""

    def insert(self, table: str, values: Mapping[str, Value]) -> Key:
        """Insert a row; its key, which the database makes for a generated one left out."""
        ...

    def update(self, table: str, key: Key, values: Mapping[str, Value]) -> object:
        """Set some columns, perhaps the key's."""
        ...

    def delete(self, table: str, key: Key) -> object: ...

    def replace(self, table: str, values: Mapping[str, Value]) -> object:
        """Insert a row, after deleting those with its key or unique values. A database that does
        this without a statement of its own (INSERT OR REPLACE) uses DELETE and INSERT."""
        ...


class StoreSubject(Protocol):
    """A store under test over a fresh database that has the standard tables, all tracked.

    Its lock timeout is short, about 0.2 seconds: some tests run into it.
    """

    @property
    def store(self) -> Store: ...

    def foreign(self) -> AbstractContextManager[Writer]:
        """A transaction of another program: committed at the end, rolled back on an exception."""
        ...

    def writer(self, handle: Any) -> Writer:
        """Writes with what `WriteTransaction.handle()` gives."""
        ...

    def reopen(self) -> Store:
        """Close the store and open its database again; `store` is the new one."""
        ...

    def add_column(self, table: str, column: Column) -> None:
        """Give a table one more nullable column, past the store (ALTER TABLE)."""
        ...


def parent(id_: str, *, name: str | None = None, code: str | None = None) -> Row:
    return id_, name, code


def child(
    id_: Value,
    parent_id: str | None,
    *,
    note: Key = (None, None),
    title: str = "t",
    amount: int = 0,
) -> Row:
    return id_, parent_id, *note, title, amount


def writes(
    *,
    inserts: Mapping[str, Sequence[Row]] | None = None,
    updates: Mapping[str, Sequence[Update]] | None = None,
    deletes: Mapping[str, Sequence[Key]] | None = None,
) -> Writes:
    return Writes(inserts=inserts or {}, updates=updates or {}, deletes=deletes or {})


def update(key: Key, **values: Value) -> Update:
    return Update(key=key, columns=tuple(values), values=tuple(values.values()))


def leased(
    transaction: WriteTransaction, table: str, replica: str, *, size: int
) -> tuple[int, int]:
    """A block of keys of a table that has some left."""
    block = transaction.lease(table, replica, size=size)
    assert block is not None
    return block


def inserted(writer: Writer, schema: TableSchema, *rows: Row) -> None:
    """Insert whole rows, in order."""
    for row in rows:
        writer.insert(schema.name, dict(zip(schema.column_names, row, strict=True)))
