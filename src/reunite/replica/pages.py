"""Pages as the replica's tables have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.errors import ReuniteError
from reunite.protocol.codec import decode
from reunite.protocol.pull import Page, TablePage


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
