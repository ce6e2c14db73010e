"""What is in a pack, for whoever checks pages."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import msgspec

from reunite.protocol.pack import decode_page
from reunite.protocol.pull import Page


def open_page(answer: bytes) -> Page:
    """The page of an answer to a pull; the rows of a pack are its puts, as they are stored.

    Raises BadRequestError for what is no page, and what `sqlite3` raises for what is no pack.
    """
    page = decode_page(answer, Page)
    if not page.pack:
        return page
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(page.pack)
        tables = tuple(
            msgspec.structs.replace(
                part, puts=db.execute(f"SELECT * FROM {part.packed}").fetchall(), packed=""
            )
            for part in page.tables
        )
    return msgspec.structs.replace(page, tables=tables, pack=b"")
