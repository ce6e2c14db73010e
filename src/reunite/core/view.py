"""Views: which tables, and which rows of them, a replica is sent. One expression a table.

What it is       a value with a text and a hash: the hub keeps one, the cursor carries the other.
What it is not   rights: who may read what becomes part of the same expression, in the engine.
The rule         two views with one hash are sent the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import msgspec

from reunite.core.asked import reached_tables
from reunite.core.expression import (
    And,
    Expression,
    IsTrue,
    Not,
    Or,
    from_json,
    to_json,
)
from reunite.core.schema import TableSchema

_encode = msgspec.json.Encoder(order="sorted").encode
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_SCHEMAS: Mapping[str, TableSchema] = MappingProxyType({})


class TableView(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent of a table: its rows in this version, all of them or those that match."""

    version: int
    where: Expression | None = None


class View(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What a replica is sent, by table. The expressions are checked ones.

    `shown` are the schemas that its rows are sent in, where a view is made to send rows: columns
    may be missing. Each has the version of its table in the view, which says as much.
    """

    tables: dict[str, TableView]
    shown: Mapping[str, TableSchema] = _NO_SCHEMAS

    @cached_property
    def text(self) -> str:
        """The view as text, from which `parse_view` makes it again."""
        return _view_text(
            {name: table.version for name, table in self.tables.items()},
            {
                name: to_json(table.where)
                for name, table in self.tables.items()
                if table.where is not None
            },
        )

    @cached_property
    def reaches(self) -> bool:
        """Whether rows of other tables decide about its rows."""
        return any(reached_tables(table.where) for table in self.tables.values())

    @cached_property
    def hash(self) -> str:
        return _hash(self.text)


def parse_view(text: str) -> View:
    """The inverse of `View.text`, for a text that a hub has kept."""
    tables = {}
    for name, version, *where in msgspec.json.decode(text):
        expression = from_json(where[0], path=name, is_ours=True) if where else None
        tables[name] = TableView(version=version, where=expression)
    return View(tables=tables)


def last_views(views: Sequence[str], newest: str, *, views_max: int) -> tuple[str, ...]:
    """These hashes with `newest` at the end, each once: the last `views_max` of them."""
    return (*(one for one in views if one != newest), newest)[-views_max:]


def view_hash(tables: Mapping[str, int], where: Mapping[str, Any] = _NOTHING) -> str:
    """The hash of a view: versions by table, and the JSON form of expressions where there are any.
    Order is no matter."""
    return _hash(_view_text(tables, where))


def _view_text(tables: Mapping[str, int], where: Mapping[str, Any]) -> str:
    return _encode(
        [
            [name, version, *([where[name]] if name in where else ())]
            for name, version in sorted(tables.items())
        ]
    ).decode()


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# --- Differences ----------------------------------------------------------------------------------


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to look at, None for all: those that the new view has are put, others evicted.
    With `enters`, it has all of them."""

    where: Expression | None
    enters: bool = False


def difference(old: TableView | None, new: TableView) -> Difference | None:
    """The rows that a replica must be told of when its view of a table changes: those that are in
    one of the two views. None if there cannot be any.

    Rows of another version, and of a table that was not there, are all new.
    """
    if old == new:
        return None
    if old is None or old.version != new.version:
        return Difference(where=new.where, enters=True)
    if old.where is None:
        assert new.where is not None, "views of one version that differ do so in the expression"
        return Difference(where=Not(IsTrue(new.where)))
    was = IsTrue(old.where)
    if new.where is None:
        return Difference(where=Not(was))
    now = IsTrue(new.where)
    return Difference(where=Or((And((now, Not(was))), And((was, Not(now))))))
