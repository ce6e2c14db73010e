"""What programs write: small transactions on whatever rows they find.

    a story (swap two slots, sell, move a seat …) ──► Writer ──► SQLite connection
                                                            └──► MemoryHandle

What it is       seeded stories over one row-level interface, the same for hub and replicas.
The rule         a story draws only from its `random.Random` and from the rows it reads, so a step
                 can be left out of a run without changing what the others draw.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from reunite.errors import ConstraintError
from reunite.stores.memory import MemoryHandle
from reunite.testing.simulator.tables import (
    ACCOUNTS,
    FACTS,
    FORBIDDEN,
    HALLS,
    NUMBERS,
    RANKS,
    SLOTS,
    TWINS,
    Key,
    Row,
    Scalar,
)

# Rows that a table may have before stories delete rather than insert.
ROWS_MAX = 6

# What a database says to a statement that it does not want.
REFUSALS = (sqlite3.IntegrityError, ConstraintError)


class Writer(Protocol):
    """Row-level statements. Each raises one of REFUSALS and then has done nothing."""

    def rows(self, table: str) -> dict[Key, Row]: ...

    def insert(self, table: str, values: Mapping[str, Scalar], *, replace: bool = False) -> Key: ...

    def update(self, table: str, key: Key, values: Mapping[str, Scalar]) -> None: ...

    def add(self, table: str, key: Key, column: str, delta: int) -> None: ...

    def delete(self, table: str, key: Key) -> None: ...


class SqlWriter:
    """Writes through an SQLite connection, in the transaction that its owner has begun."""

    def __init__(self, db: sqlite3.Connection, log: Callable[[str], None]) -> None:
        self._db = db
        self._log = log

    def rows(self, table: str) -> dict[Key, Row]:
        facts = FACTS[table]
        found = self._db.execute(f"select {', '.join(facts.columns)} from {table}")
        return {facts.key_of(tuple(row)): tuple(row) for row in found}

    def insert(self, table: str, values: Mapping[str, Scalar], *, replace: bool = False) -> Key:
        verb = "insert or replace" if replace else "insert"
        self._log(f"{verb} into {table} {dict(values)}")
        cursor = self._db.execute(
            f"{verb} into {table} ({', '.join(values)}) values ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        facts = FACTS[table]
        if facts.generated:
            return (cursor.lastrowid,)
        return tuple(values[column] for column in facts.key)

    def update(self, table: str, key: Key, values: Mapping[str, Scalar]) -> None:
        self._log(f"update {table}{list(key)} {dict(values)}")
        sets = ", ".join(f"{column} = ?" for column in values)
        self._db.execute(
            f"update {table} set {sets} where {self._where(table)}", (*values.values(), *key)
        )

    def add(self, table: str, key: Key, column: str, delta: int) -> None:
        self._log(f"update {table}{list(key)} {column} {delta:+}")
        self._db.execute(
            f"update {table} set {column} = {column} + ? where {self._where(table)}",
            (delta, *key),
        )

    def delete(self, table: str, key: Key) -> None:
        self._log(f"delete {table}{list(key)}")
        self._db.execute(f"delete from {table} where {self._where(table)}", key)

    def _where(self, table: str) -> str:
        return " and ".join(f"{column} = ?" for column in FACTS[table].key)


class MemoryWriter:
    """Writes through a MemoryStore's handle."""

    def __init__(self, handle: MemoryHandle, log: Callable[[str], None]) -> None:
        self._handle = handle
        self._log = log

    def rows(self, table: str) -> dict[Key, Row]:
        return cast(dict[Key, Row], self._handle.rows(table))

    def insert(self, table: str, values: Mapping[str, Scalar], *, replace: bool = False) -> Key:
        self._log(f"{'insert or replace' if replace else 'insert'} into {table} {dict(values)}")
        write = self._handle.replace if replace else self._handle.insert
        return cast(Key, write(table, values))

    def update(self, table: str, key: Key, values: Mapping[str, Scalar]) -> None:
        self._log(f"update {table}{list(key)} {dict(values)}")
        self._handle.update(table, key, values)

    def add(self, table: str, key: Key, column: str, delta: int) -> None:
        row = self.rows(table).get(key)
        if row is not None:
            value = FACTS[table].at(row, column)
            assert isinstance(value, int), "only numbers are added to"
            self.update(table, key, {column: value + delta})

    def delete(self, table: str, key: Key) -> None:
        self._log(f"delete {table}{list(key)}")
        self._handle.delete(table, key)


@dataclass(kw_only=True)
class Author:
    """One program at work: where its chance comes from, and what it may do.

    program        which of the step's programs it is
    whole          its transactions reach the hub whole: it may write what must not be torn
    replaces       it may use INSERT OR REPLACE and give generated keys again
    keys           generated keys by table that somebody else may give one day
    """

    chance: random.Random
    step: int
    whole: bool
    replaces: bool
    keys: Mapping[str, list[int]] = field(default_factory=dict)
    program: int = 0
    _fresh: int = 0

    def ident(self, table: str) -> str:
        """A name that no other row ever has."""
        self._fresh += 1
        return f"{table}@{self.step}.{self.program}.{self._fresh}"

    def pick(self, rows: dict[Key, Row]) -> Key | None:
        """One of the keys."""
        return self.chance.choice(sorted(rows, key=repr)) if rows else None

    def key(self, table: str) -> dict[str, Scalar]:
        """The key of a new row in a table with generated keys: mostly none, sometimes a bad one."""
        keys = self.keys.get(table)
        if keys and self.chance.random() < 0.25:
            return {"id": self.chance.choice(keys)}
        return {}


Story = Callable[[Writer, Author], None]


def new_shop(writer: Writer, author: Author) -> None:
    """A shop, perhaps with sales that point to the key it just got."""
    if len(writer.rows("shop")) >= ROWS_MAX:
        delete_some(writer, author)
        return
    ident = author.ident("shop")
    slot = author.chance.choice((None, None, *SLOTS))
    stock = author.chance.randrange(20)
    values = {"ident": ident, "name": ident.upper(), "slot": slot, "stock": stock}
    (shop_id,) = writer.insert("shop", author.key("shop") | values)
    for _ in range(author.chance.choice((0, 0, 1, 2))):
        _insert_sale(writer, author, shop_id, ident)


def new_sale(writer: Writer, author: Author) -> None:
    """A sale of a shop that is there, perhaps with a note."""
    shops = writer.rows("shop")
    key = author.pick(shops)
    if key is None or len(writer.rows("sale")) >= ROWS_MAX:
        delete_some(writer, author)
        return
    sale_id, ident = _insert_sale(writer, author, key[0], FACTS["shop"].at(shops[key], "ident"))
    if author.chance.random() < 0.3:
        _insert_note(writer, author, sale_id, ident)


def new_note(writer: Writer, author: Author) -> None:
    """A note on a sale, or on none."""
    sales = writer.rows("sale")
    if len(writer.rows("note")) >= ROWS_MAX:
        delete_some(writer, author)
        return
    key = author.pick(sales)
    if key is None or author.chance.random() < 0.3:
        _insert_note(writer, author, None, None)
    else:
        _insert_note(writer, author, key[0], FACTS["sale"].at(sales[key], "ident"))


def _insert_sale(
    writer: Writer, author: Author, shop_id: Scalar, shop_ident: Scalar
) -> tuple[Scalar, str]:
    ident = author.ident("sale")
    amount = -1 if author.chance.random() < 0.06 else author.chance.randrange(50)
    values = {"ident": ident, "shop_id": shop_id, "shop_ident": shop_ident, "amount": amount}
    (sale_id,) = writer.insert("sale", author.key("sale") | values)
    return sale_id, ident


def _insert_note(writer: Writer, author: Author, sale_id: Scalar, sale_ident: Scalar) -> None:
    ident = author.ident("note")
    writer.insert(
        "note",
        {
            "code": f"code of {ident}",
            "ident": ident,
            "sale_id": sale_id,
            "sale_ident": sale_ident,
            "body": FORBIDDEN if author.chance.random() < 0.08 else "new",
            "rank": author.chance.choice((None, None, *RANKS)),
            "visits": author.chance.randrange(3),
        },
    )


def write_doc(writer: Writer, author: Author) -> None:
    """A new doc, a remark on one, or a doc that moves to another key with its remarks."""
    key = author.pick(writer.rows("doc"))
    if key is not None and author.chance.random() < 0.3:
        writer.update("doc", key, {"code": f"moved by {author.ident('doc')}"})
    else:
        _write_family(writer, author, "doc", "remark")


def write_song(writer: Writer, author: Author) -> None:
    """A new song, or a verse of one."""
    _write_family(writer, author, "song", "verse")


def _write_family(writer: Writer, author: Author, table: str, child_table: str) -> None:
    parents = writer.rows(table)
    key = author.pick(parents)
    if key is None or (author.chance.random() < 0.4 and len(parents) < ROWS_MAX):
        ident = author.ident(table)
        writer.insert(table, {"code": f"code of {ident}", "ident": ident, "title": "new"})
    elif len(writer.rows(child_table)) < ROWS_MAX:
        values: dict[str, Scalar] = {"ident": author.ident(child_table)}
        values[f"{table}_code"] = key[0]
        values[f"{table}_ident"] = FACTS[table].at(parents[key], "ident")
        writer.insert(child_table, author.key(child_table) | values)


def edit(writer: Writer, author: Author) -> None:
    """A plain value of a row; sometimes the one that it has, sometimes one that is refused."""
    table, column = author.chance.choice(
        (
            ("shop", "name"),
            ("note", "body"),
            ("seat", "guest"),
            ("sale", "amount"),
            ("doc", "title"),
            ("song", "title"),
        )
    )
    rows = writer.rows(table)
    key = author.pick(rows)
    if key is None:
        return
    value: Scalar = f"value@{author.step}.{author.chance.randrange(100)}"
    if column == "amount":
        value = author.chance.choice((-1, *range(20)))
    elif column == "body" and author.chance.random() < 0.1:
        value = FORBIDDEN
    elif author.chance.random() < 0.2:
        value = FACTS[table].at(rows[key], column)
    elif column != "name" and author.chance.random() < 0.1:
        value = None
    writer.update(table, key, {column: value})


def count(writer: Writer, author: Author) -> None:
    """Move counters: one, or that of every row."""
    table, column = author.chance.choice(
        (("shop", "stock"), ("note", "visits"), ("doc", "stars"), ("song", "plays"))
    )
    keys = sorted(writer.rows(table), key=repr)
    if keys and author.chance.random() < 0.8:
        keys = [author.chance.choice(keys)]
    for key in keys:
        writer.add(table, key, column, author.chance.choice((-1, -1, -2, 3, 5)))


def take(writer: Writer, author: Author) -> None:
    """Give a row a unique value that another one may have."""
    table, column, pool = _unique(author)
    key = author.pick(writer.rows(table))
    if key is not None:
        writer.update(table, key, {column: author.chance.choice((None, *pool))})


def swap(writer: Writer, author: Author) -> None:
    """Exchange the unique values of two rows, or rotate those of three, by way of NULL."""
    table, column, _ = _unique(author)
    rows = writer.rows(table)
    keys = sorted(rows, key=repr)
    if len(keys) < 2:
        return
    keys = author.chance.sample(keys, min(len(keys), author.chance.choice((2, 2, 3))))
    values = [FACTS[table].at(rows[key], column) for key in keys]
    for key in keys:
        writer.update(table, key, {column: None})
    for key, value in zip(keys, values[1:] + values[:1], strict=True):
        writer.update(table, key, {column: value})


def _unique(author: Author) -> tuple[str, str, tuple[Scalar, ...]]:
    return author.chance.choice((("shop", "slot", SLOTS), ("note", "rank", RANKS)))


def delete_some(writer: Writer, author: Author) -> None:
    """Delete a row; its children go or lose their parent, as their foreign key says."""
    table = author.chance.choice(("shop", "sale", "note", "seat", "doc", "song", "song", "verse"))
    key = author.pick(writer.rows(table))
    if key is not None:
        writer.delete(table, key)


def come_and_go(writer: Writer, author: Author) -> None:
    """A row that is there only within its transaction, or that is changed at once."""
    ident = author.ident("shop")
    key = writer.insert("shop", {"ident": ident, "name": "brief", "stock": 1})
    writer.add("shop", key, "stock", 1)
    if author.chance.random() < 0.6:
        writer.delete("shop", key)


def sit(writer: Writer, author: Author) -> None:
    """A seat under a key that others use as well: insert, replace, leave, move."""
    rows = writer.rows("seat")
    hall, number = author.chance.choice(HALLS), author.chance.choice(NUMBERS)
    place: dict[str, Scalar] = {"hall": hall, "number": number}
    guest = {"ident": author.ident("seat"), "guest": f"guest@{author.step}"}
    if (hall, number) not in rows:
        occupied = author.pick(rows)
        if occupied is not None and author.chance.random() < 0.3:
            writer.update("seat", occupied, place)
        else:
            writer.insert("seat", place | guest)
        return
    match author.chance.randrange(3):
        case 0:
            writer.delete("seat", (hall, number))
        case 1:
            writer.delete("seat", (hall, number))
            writer.insert("seat", place | guest)
        case _:
            if author.replaces:
                writer.insert("seat", place | guest, replace=True)


def give_key_again(writer: Writer, author: Author) -> None:
    """A new shop or sale under the key of one that it removes or replaces."""
    if not author.replaces:
        return
    table = author.chance.choice(("shop", "sale"))
    facts = FACTS[table]
    rows = writer.rows(table)
    key = author.pick(rows)
    if key is None:
        return
    values = facts.as_dict(rows[key]) | {"ident": author.ident(table)}
    is_replacing = author.chance.random() < 0.5
    if not is_replacing:
        writer.delete(table, key)
    if values_still_hold(writer, table, values):
        writer.insert(table, values, replace=is_replacing)


def replace_by_unique(writer: Writer, author: Author) -> None:
    """INSERT OR REPLACE that overwrites whatever rows hold its unique value."""
    if not author.replaces:
        return
    values: dict[str, Scalar]
    if author.chance.random() < 0.5:
        slot = author.chance.choice(SLOTS)
        values = {"ident": author.ident("shop"), "name": "usurper", "slot": slot, "stock": 1}
        writer.insert("shop", values, replace=True)
    else:
        ident = author.ident("note")
        rank = author.chance.choice(RANKS)
        values = {"code": f"code of {ident}", "ident": ident, "rank": rank, "visits": 0}
        writer.insert("note", values, replace=True)


def values_still_hold(writer: Writer, table: str, values: Mapping[str, Scalar]) -> bool:
    """Whether the parent that `values` point to is still the one that they name."""
    parent = FACTS[table].parent
    if parent is None or values[parent.column] is None:
        return True
    row = writer.rows(parent.table).get((values[parent.column],))
    return row is not None and FACTS[parent.table].at(row, "ident") == values[parent.ident_column]


def transfer(writer: Writer, author: Author) -> None:
    """Move an amount between two accounts: their sum never changes."""
    if not author.whole:
        count(writer, author)
        return
    giver, taker = author.chance.sample(ACCOUNTS, 2)
    amount = author.chance.randrange(1, 9)
    writer.add("account", (giver,), "balance", -amount)
    writer.add("account", (taker,), "balance", amount)


def write_twins(writer: Writer, author: Author) -> None:
    """Write two rows that are only ever written together."""
    if not author.whole:
        edit(writer, author)
        return
    code = author.chance.choice(TWINS)
    value = f"twin@{author.step}.{author.chance.randrange(100)}"
    is_there = (code,) in writer.rows("twin_left")
    is_leaving = author.chance.random() < 0.3
    ident = author.ident("twin")
    for table in author.chance.sample(("twin_left", "twin_right"), 2):
        if not is_there:
            writer.insert(table, {"code": code, "ident": ident, "value": value})
        elif is_leaving:
            writer.delete(table, (code,))
        else:
            writer.update(table, (code,), {"value": value})


STORIES: tuple[tuple[Story, int], ...] = (
    (new_shop, 10),
    (new_sale, 10),
    (new_note, 7),
    (write_doc, 6),
    (write_song, 5),
    (edit, 10),
    (count, 9),
    (take, 7),
    (swap, 7),
    (delete_some, 8),
    (come_and_go, 2),
    (sit, 8),
    (give_key_again, 5),
    (replace_by_unique, 4),
    (transfer, 7),
    (write_twins, 7),
)


def write_something(writer: Writer, author: Author) -> None:
    """Tell one to three stories. A refused one ends half-way: the program goes on or gives up.

    Raises one of REFUSALS if it gives up; the caller rolls back.
    """
    stories, weights = zip(*STORIES, strict=True)
    for story in author.chance.choices(stories, weights, k=author.chance.choice((1, 1, 2, 3))):
        try:
            story(writer, author)
        except REFUSALS:
            # What must not be torn is not left half-written.
            if author.whole or author.chance.random() < 0.5:
                raise
