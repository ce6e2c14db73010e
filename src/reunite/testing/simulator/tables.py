"""The simulated shop: which tables there are and what the checkers know of them.

    shop ◄─cascade─ sale ◄─set null─ note        seat            account      twin_left = twin_right
     generated      generated        text key    composite key   transfers    written together
     slot unique    check            rank unique chosen keys     sum is 0
     stock counter  hook writes trace visits counter

    doc  ◄─cascade─ remark                       song ◄─cascade─ verse
     its key moves, remarks follow                update wins over delete

What it is       DDL, and facts that are independent of reunite's own idea of a schema.
The rule         `ident` is set when a row is inserted and never again, so that a row can be told
                 from another one that got its key; `<parent>_ident` is the parent's, likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

Scalar: TypeAlias = int | str | None
Key: TypeAlias = tuple[Scalar, ...]
Row: TypeAlias = tuple[Scalar, ...]
Tables: TypeAlias = dict[str, dict[Key, Row]]

DDL = """
create table shop (
    id integer primary key,
    ident text not null,
    name text not null,
    slot text unique,
    stock integer not null default 0
);
create table sale (
    id integer primary key,
    ident text not null,
    shop_id integer references shop (id) on delete cascade,
    shop_ident text,
    amount integer not null check (amount >= 0)
);
create table note (
    code text primary key not null,
    ident text not null,
    sale_id integer references sale (id) on delete set null,
    sale_ident text,
    body text,
    rank integer unique,
    visits integer not null default 0
);
create table seat (
    hall integer not null,
    number integer not null,
    ident text not null,
    guest text,
    primary key (hall, number)
);
create table doc (
    code text primary key not null,
    ident text not null,
    title text,
    stars integer not null default 0
);
create table remark (
    id integer primary key,
    ident text not null,
    doc_code text references doc (code) on delete cascade on update cascade,
    doc_ident text
);
create table song (
    code text primary key not null,
    ident text not null,
    title text,
    plays integer not null default 0
);
create table verse (
    id integer primary key,
    ident text not null,
    song_code text references song (code) on delete cascade,
    song_ident text
);
create table account (code text primary key not null, balance integer not null);
create table twin_left (code text primary key not null, ident text not null, value text);
create table twin_right (code text primary key not null, ident text not null, value text);
create table trace (code text primary key not null, about text);
"""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A foreign key: `column` holds the parent's key, `ident_column` the parent's ident."""

    table: str
    column: str
    ident_column: str
    cascade: bool


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the checkers may take for granted of one table.

    In a `chosen` one programs choose the same keys, so rows of several idents may be merged.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    merge: Mapping[str, str]  # columns that are not last_writer
    generated: bool = False
    chosen: bool = False
    update_wins: bool = False
    has_ident: bool = True
    parent: Parent | None = None
    uniques: tuple[str, ...] = ()

    @cached_property
    def lasting(self) -> tuple[str, ...]:
        """The columns but for keys that reunite may move."""
        movable = {*(self.key if self.generated else ())}
        if self.parent is not None:
            movable.add(self.parent.column)
        return tuple(column for column in self.columns if column not in movable)

    def at(self, row: Row, column: str) -> Scalar:
        """One value of a row."""
        return row[self.columns.index(column)]

    def key_of(self, row: Row) -> Key:
        """A row's key."""
        return tuple(self.at(row, column) for column in self.key)

    def key_in(self, values: Mapping[str, Scalar]) -> Key:
        """A row's key, from its values by column."""
        return tuple(values[column] for column in self.key)

    def as_dict(self, row: Row) -> dict[str, Scalar]:
        """A row by column."""
        return dict(zip(self.columns, row, strict=True))


_FACTS = (
    Facts(
        name="shop",
        columns=("id", "ident", "name", "slot", "stock"),
        key=("id",),
        generated=True,
        merge={"stock": "counter"},
        uniques=("slot",),
    ),
    Facts(
        name="sale",
        columns=("id", "ident", "shop_id", "shop_ident", "amount"),
        key=("id",),
        generated=True,
        merge={"amount": "maximum"},
        parent=Parent(table="shop", column="shop_id", ident_column="shop_ident", cascade=True),
    ),
    Facts(
        name="note",
        columns=("code", "ident", "sale_id", "sale_ident", "body", "rank", "visits"),
        key=("code",),
        merge={"visits": "counter"},
        parent=Parent(table="sale", column="sale_id", ident_column="sale_ident", cascade=False),
        uniques=("rank",),
    ),
    Facts(
        name="seat",
        columns=("hall", "number", "ident", "guest"),
        key=("hall", "number"),
        merge={},
        chosen=True,
    ),
    Facts(
        name="doc",
        columns=("code", "ident", "title", "stars"),
        key=("code",),
        merge={"stars": "counter"},
    ),
    Facts(
        name="remark",
        columns=("id", "ident", "doc_code", "doc_ident"),
        key=("id",),
        generated=True,
        merge={},
        parent=Parent(table="doc", column="doc_code", ident_column="doc_ident", cascade=True),
    ),
    Facts(
        name="song",
        columns=("code", "ident", "title", "plays"),
        key=("code",),
        merge={"plays": "counter"},
        update_wins=True,
    ),
    Facts(
        name="verse",
        columns=("id", "ident", "song_code", "song_ident"),
        key=("id",),
        generated=True,
        merge={},
        parent=Parent(table="song", column="song_code", ident_column="song_ident", cascade=True),
    ),
    Facts(
        name="account",
        columns=("code", "balance"),
        key=("code",),
        merge={"balance": "counter"},
        has_ident=False,
    ),
    # Both twins are decided alike whatever the stamps are, so they may only differ if a
    # transaction was torn.
    Facts(
        name="twin_left",
        columns=("code", "ident", "value"),
        key=("code",),
        merge={"ident": "hub_wins", "value": "hub_wins"},
        chosen=True,
    ),
    Facts(
        name="twin_right",
        columns=("code", "ident", "value"),
        key=("code",),
        merge={"ident": "hub_wins", "value": "hub_wins"},
        chosen=True,
    ),
    Facts(name="trace", columns=("code", "about"), key=("code",), merge={}, has_ident=False),
)

FACTS: dict[str, Facts] = {facts.name: facts for facts in _FACTS}
TABLES = tuple(FACTS)

CHILDREN: dict[str, tuple[Facts, ...]] = {
    name: tuple(facts for facts in _FACTS if facts.parent and facts.parent.table == name)
    for name in TABLES
}

# Rows that are only ever written several in one transaction.
WHOLE_TABLES = ("account", "twin_left", "twin_right")

# Tiny pools, so that writers meet.
SLOTS = ("a", "b", "c")
RANKS = (1, 2, 3)
HALLS = (1, 2)
NUMBERS = (1, 2)
ACCOUNTS = ("cash", "bank", "card")
TWINS = ("t1", "t2", "t3")
FORBIDDEN = "forbidden"  # the veto of a hook

# Rows that the hub has before the first replica comes.
FIRST_ROWS: dict[str, tuple[Row, ...]] = {
    "shop": ((1, "shop@first1", "North", "a", 10), (2, "shop@first2", "South", None, 20)),
    "sale": ((1, "sale@first1", 1, "shop@first1", 5), (2, "sale@first2", 2, "shop@first2", 7)),
    "note": (("n1", "note@first1", 1, "sale@first1", "hello", 1, 0),),
    "seat": ((1, 1, "seat@first1", "Ada"),),
    "doc": (("d1", "doc@first1", "Plan", 0),),
    "remark": ((1, "remark@first1", "d1", "doc@first1"),),
    "song": (("s1", "song@first1", "Ode", 0),),
    "verse": ((1, "verse@first1", "s1", "song@first1"),),
    "account": tuple((code, 0) for code in ACCOUNTS),
    "twin_left": (("t1", "twin@first", "one"),),
    "twin_right": (("t1", "twin@first", "one"),),
    "trace": (),
}


class Readable(Protocol):
    """A connection, of whatever database."""

    def execute(self, sql: Any, /) -> Iterable[Any]: ...


def read_tables(db: Readable) -> Tables:
    """All rows of all tables, read in one transaction if the caller has begun one."""
    tables: Tables = {}
    for facts in FACTS.values():
        rows = db.execute(f"select {', '.join(facts.columns)} from {facts.name}")
        tables[facts.name] = {facts.key_of(row): row for row in rows}
    return tables


def differences(left: Tables, right: Tables) -> list[str]:
    """Where two states differ, a line each."""
    return [
        f"{name}{list(key)}: {left[name].get(key)} ≠ {right[name].get(key)}"
        for name in TABLES
        for key in sorted(left[name].keys() | right[name].keys(), key=repr)
        if left[name].get(key) != right[name].get(key)
    ]
