"""Pages: their rows as the replica's tables have them, and what they mean to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from reunite.core.schema import TableSchema
from reunite.core.stored import TAG_BYTES
from reunite.core.values import Row
from reunite.errors import ReuniteError
from reunite.protocol.codec import decode
from reunite.protocol.pull import Page, TablePage
from reunite.replica.state import State

# Rows from which dropping and making the triggers anew is cheaper than their guards.
LARGE_PAGE_ROWS = 2_000


class LateTable(TablePage, frozen=True, kw_only=True):
    """A part of a page whose puts are still text."""

    puts: msgspec.Raw = msgspec.Raw(b"[]")  # type: ignore[assignment]

    def read(self) -> tuple[TablePage, bool]:
        """The part, and whether there may be a tagged value in it. Raises BadRequestError."""
        text = bytes(self.puts)
        part = TablePage(
            table=self.table,
            columns=self.columns,
            puts=decode(text, list[tuple[Any, ...]], bytes_max=None),
            deletes=self.deletes,
            evicts=self.evicts,
            erases=self.erases,
            reset=self.reset,
            packed=self.packed,
        )
        return part, TAG_BYTES in text


class LatePage(Page, frozen=True, kw_only=True):
    """A page that is read through part by part: what asks for the next one is known at once, and
    the rows of one part are in memory at a time."""

    tables: tuple[LateTable, ...] = ()


class InboxDamagedError(Exception):
    """A page that was gathered cannot be read any more: gather again."""


def gathered(connection: sqlite3.Connection, final: Page) -> Iterator[Page]:
    """The pages of this checkpoint in order, one in memory at a time."""
    last = connection.execute("select max(id) from reunite_inbox").fetchone()[0] or 0
    seen = 0
    while seen < last:
        seen, body = connection.execute(
            "select id, page from reunite_inbox where id > ? order by id limit 1", (seen,)
        ).fetchone()
        try:
            page = decode(body, Page, bytes_max=None)
        except ReuniteError as exc:
            raise InboxDamagedError from exc
        yield page
    yield final


def aligned(schema: TableSchema, part: TablePage) -> list[Row]:
    """The rows of a page in the order of the schema's columns."""
    if part.columns == schema.column_names:
        return part.puts
    position = {name: i for i, name in enumerate(part.columns)}
    places_ = [position.get(name) for name in schema.column_names]
    return [tuple(None if i is None else row[i] for i in places_) for row in part.puts]


def versions(schemas: Sequence[TableSchema]) -> dict[str, int]:
    """Each table's version."""
    return {schema.name: schema.version for schema in schemas}


def fits(page: Page, schemas: Sequence[TableSchema], revision: str) -> bool:
    """Whether a page means these schemas."""
    return page.revision == revision and page.schemas == versions(schemas)


def brings_nothing(page: Page, state: State) -> bool:
    """Whether the page only says that the replica shows the hub's newest state already."""
    return (
        page.checkpoint
        and not page.tables
        and not page.outcomes
        and page.cursor == state.checkpoint == state.cursor
        and state.repaired is None
        and page.answered == state.covered_n
        and page.answered == state.known_n
        and state.next_schemas is None
        and fits(page, state.schemas, state.revision)
    )


def is_large(page: Page) -> bool:
    """Whether writing the page without triggers pays."""
    return sum(len(part.puts) + len(part.deletes) for part in page.tables) > LARGE_PAGE_ROWS
