"""The standard row: what every benchmark moves, so that figures can be compared.

Ten columns of the kinds that business tables have; as the wire's JSON array about 340 bytes. The
row of an id is always the same, so a run can be repeated and any two runs compared.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

TABLE = "parcel"
PARENT = "shop"
SHOPS = 100

# With `references` the shop must exist; the children's index is what such a table has in practice.
_CREATE = """
    CREATE TABLE parcel (
        id INTEGER PRIMARY KEY,
        shop INTEGER NOT NULL {references},
        customer TEXT NOT NULL,
        email TEXT NOT NULL,
        street TEXT NOT NULL,
        city TEXT NOT NULL,
        note TEXT,
        quantity INTEGER NOT NULL,
        weight REAL NOT NULL,
        due DATE NOT NULL
    )
"""
INSERT = "INSERT INTO parcel VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Esra", "Fatima", "Grace", "Hiro", "Inés", "Joan")
_LAST = ("Almeida", "Brown", "Ceylan", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ivanov")
_CITIES = ("Athens", "Basel", "Córdoba", "Delft", "Edinburgh", "Florence", "Göteborg")
_NOTES = (
    (
        "Ring twice and leave it with the neighbours on the second floor if nobody answers; the "
        "lift is out of order until the end of the month, so please take the stairs on the left "
        "side of the yard, and mind the bicycles there."
    ),
    (
        "Handle with care: glass inside. Do not stack anything on top of it, keep it upright, and "
        "let the customer check the contents before the receipt is signed. Call the shop at once "
        "if anything is broken or missing."
    ),
    (
        "To be delivered between nine and eleven in the morning, through the gate behind the "
        "building; the code is on the second page of the order. The dog is loud, large and "
        "entirely harmless, but keep the gate shut."
    ),
)
_DAY_ONE = datetime.date(2024, 1, 1)


def row(number: int) -> tuple[int | float | str, ...]:
    """The standard row with this id."""
    first, last = _FIRST[number % len(_FIRST)], _LAST[number % len(_LAST)]
    return (
        number,
        1 + number % SHOPS,
        f"{first} {last}",
        f"customer.{number}@mail.example",
        f"{1 + number % 399} Market Street",
        _CITIES[number % len(_CITIES)],
        f"{_NOTES[number % len(_NOTES)]} (order {number})",
        1 + number % 12,
        (number % 10_000) / 64,
        (_DAY_ONE + datetime.timedelta(days=number % 700)).isoformat(),
    )


def rows(first: int, count: int) -> Iterator[tuple[int | float | str, ...]]:
    """`count` standard rows, from the id `first` on."""
    return map(row, range(first, first + count))


def connect(path: Path) -> sqlite3.Connection:
    """A connection as reunite opens it: WAL, SQLite's own `synchronous`, foreign keys enforced."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def table_statements(*, with_shops: bool) -> list[str]:
    """What makes the standard table, in the words of every database; with shops, every row points
    to one of them."""
    references = "REFERENCES shop (id)" if with_shops else ""
    table = _CREATE.format(references=references)
    if not with_shops:
        return [table]
    shop = "CREATE TABLE shop (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"
    return [shop, table, "CREATE INDEX parcel_shop ON parcel (shop)"]


def shop_rows() -> list[tuple[int, str]]:
    """The shops that standard rows point to."""
    return [(i, f"Shop {i}") for i in range(1, SHOPS + 1)]


def create_tables(connection: sqlite3.Connection, *, with_shops: bool = False) -> None:
    """The standard table in an SQLite file, and the shops."""
    for statement in table_statements(with_shops=with_shops):
        connection.execute(statement)
    if with_shops:
        connection.executemany("INSERT INTO shop VALUES (?, ?)", shop_rows())


def insert(connection: sqlite3.Connection, batch: Iterable[tuple[int | float | str, ...]]) -> None:
    """Insert rows in one transaction: the plain `executemany` that others are compared with."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, batch)
    connection.execute("COMMIT")


def build(path: Path, count: int, *, with_shops: bool = False) -> None:
    """A database file with `count` standard rows."""
    connection = connect(path)
    create_tables(connection, with_shops=with_shops)
    insert(connection, rows(1, count))
    connection.close()
