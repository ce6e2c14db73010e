"""Pages: their rows as the replica's tables have them, and what they mean to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.errors import ReuniteError
from reunite.protocol.codec import decode
from reunite.protocol.pull import Page, TablePage
from reunite.replica.state import State

# Rows from which dropping and making the triggers anew is cheaper than their guards.
LARGE_PAGE_ROWS = 2_000


class PageHead(msgspec.Struct, frozen=True, kw_only=True):
    """What of a page is needed to ask for the next one."""

    cursor: str
    checkpoint: bool = False


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
