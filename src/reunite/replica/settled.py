"""A checkpoint after which nothing is pending: the hub's page takes the place of what it answers.

Most pulls that follow a push bring back just what was pushed. If every change in the outbox is
`applied` and covered, and the page holds every row that one of them touched, then the rows to show
are the page's: no image is needed, nothing is merged, and the outbox is empty afterwards.

The rule         any doubt leaves the checkpoint to `inbox.py`, which knows all cases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from reunite.core.key import Key
from reunite.protocol.pull import Page
from reunite.replica import ranges
from reunite.replica.pages import aligned
from reunite.replica.pending import Schemas
from reunite.replica.rows import RowForms
from reunite.replica.state import State
from reunite.replica.users_triggers import rest, wake
from reunite.stores.sql.capture import renew_outbox_triggers

_SUMMARY = """
    select count(*), count(n), coalesce(max(n), 0), coalesce(sum(outcome = 'applied'), 0)
    from reunite_change
"""
_TOUCHED = """
    select table_name, key from reunite_change union all
    select table_name, old_key from reunite_change where old_key is not null
"""


def apply_settled(
    connection: sqlite3.Connection,
    state: State,
    schemas: Schemas,
    forms: RowForms,
    pages: Callable[[], Iterator[Page]],
) -> int | None:
    """Write the pages of a checkpoint and empty the outbox; how many rows they had. None, with
    nothing done, if this checkpoint needs more than that.

    pages   the gathered pages and then the checkpoint itself; read twice
    """
    count, numbered, last_n, applied = connection.execute(_SUMMARY).fetchone()
    in_ranges, applied_there, last_there = ranges.counts(connection)
    if not count or not count == numbered + in_ranges == applied + applied_there:
        return None
    last_n = max(last_n, last_there)
    if state.has_misplaced or state.missing_keys or state.next_schemas is not None:
        return None
    said: dict[str, set[Key]] = {}
    pages_read = 0
    for page in pages():
        pages_read += 1
        if page.reset or page.outcomes or any(part.reset or part.erases for part in page.tables):
            return None
        _add_keys(said, schemas, page)
    answered = page.answered or 0
    if not last_n <= answered < state.next_n:
        return None
    for table, key in connection.execute(_TOUCHED):
        if table not in said or forms.read_key(table, key) not in said[table]:
            return None
    # Rows of several pages were read at several moments and may hold one unique value twice.
    if pages_read > 1:
        forms.drop_unique_indexes(connection)
    resting = rest(connection, schemas)
    rows = sum(_write(connection, schemas, forms, page) for page in pages())
    if pages_read > 1:
        forms.create_indexes(connection)
        renew_outbox_triggers(connection, schemas.values())
    wake(connection, resting)
    connection.execute("delete from reunite_change")
    ranges.forget(connection)
    connection.execute("delete from reunite_base")
    state.known_n = max(state.known_n, answered)
    return rows


def _add_keys(said: dict[str, set[Key]], schemas: Schemas, page: Page) -> None:
    for part in page.tables:
        schema = schemas.get(part.table)
        if schema is not None:
            keys = said.setdefault(part.table, set())
            keys.update(part.deletes, part.evicts)
            keys.update(map(schema.key_of, aligned(schema, part)))


def _write(connection: sqlite3.Connection, schemas: Schemas, forms: RowForms, page: Page) -> int:
    rows = 0
    for part in page.tables:
        schema = schemas.get(part.table)
        if schema is not None:
            gone, puts = [*part.deletes, *part.evicts], aligned(schema, part)
            forms.writer(connection, schema).write(gone, puts)
            rows += len(gone) + len(puts)
    return rows
