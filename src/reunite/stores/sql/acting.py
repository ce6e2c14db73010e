"""Who acts at the hub: what a transaction writes there, ascribed to a principal.

    reunite_push      replica 0, which no replica has, and the principal: a run of the log as a
                      push makes one, so whoever reads the log finds both in one way

What it is not   a part of the triggers: they would have to ask who acts for every row.
The rule         runs of one transaction never overlap; what is ascribed already stays so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reunite.errors import BadRequestError, CallerError
from reunite.stores.sql.ports import Session

# The number of no replica.
AT_THE_HUB = 0

# PostgreSQL's code for a missing right.
_NOT_GRANTED = "42501"


def attribute(session: Session, principal: str, *, now_ms: int, after_id: int) -> None:
    """Ascribe what this transaction has written after a change to a principal, but for what is
    ascribed already. A constant number of statements."""
    log = session.dialect.log
    _, first_id, last_id = log.fresh_run(session, table="", after_id=after_id)
    if last_id:
        runs = _between(log.runs(session, after_id=after_id), first_id, last_id)
        log.add_runs(session, (AT_THE_HUB, principal, 0, now_ms), runs)


def last_change_id(session: Session) -> int:
    """The largest id in the log; what is ascribed comes after it."""
    ((last_id,),) = session.execute("SELECT coalesce(max(id), 0) FROM reunite_change")
    return int(last_id)


def _between(runs: Sequence[tuple[int, int]], first_id: int, last_id: int) -> list[tuple[int, int]]:
    """What of the ids from first to last is in none of the runs."""
    found = []
    for run_first, run_last in runs:
        if first_id < run_first:
            found.append((first_id, run_first - 1))
        first_id = run_last + 1
    if first_id <= last_id:
        found.append((first_id, last_id))
    return found


@contextmanager
def acting(connection: Any, principal: str, *, now_ms: int) -> Iterator[None]:
    """What a connection of the application writes in the block, ascribed to a principal."""
    _begin(connection)
    with _session(connection) as session:
        last_id = last_change_id(session)
    try:
        yield
    finally:
        if _is_usable(connection):
            with _session(connection) as session:
                attribute(session, principal, now_ms=now_ms, after_id=last_id)


def _begin(connection: Any) -> None:
    """Begin the transaction that the driver would begin with the first write, if none is open.
    Raises BadRequestError where the driver would commit each write by itself."""
    if isinstance(connection, sqlite3.Connection):
        if connection.in_transaction:
            return
        is_explicit = connection.isolation_level is None
        if is_explicit or getattr(connection, "autocommit", None) is True:
            raise _no_transaction()
        connection.execute("BEGIN")
    elif type(connection).__module__.partition(".")[0] == "psycopg":
        if connection.autocommit and not _is_usable(connection):
            raise _no_transaction()
    else:
        raise BadRequestError(
            f"{type(connection).__name__} is no connection of sqlite3 or psycopg: give the "
            "driver's own, or none, and write with what the block gives."
        )


@contextmanager
def _session(connection: Any) -> Iterator[Session]:
    """A session in the connection's open transaction, whatever its rows look like otherwise."""
    row_factory = connection.row_factory
    try:
        if isinstance(connection, sqlite3.Connection):
            from reunite.stores.sql.database import SqliteSession

            connection.row_factory = None
            yield SqliteSession(connection)
        else:
            from psycopg.rows import tuple_row

            from reunite.stores.sql.postgresql import PostgresSession

            connection.row_factory = tuple_row
            yield PostgresSession(connection, {})
    except CallerError as error:
        if getattr(error.__cause__, "sqlstate", None) != _NOT_GRANTED:
            raise
        raise CallerError(
            f"PostgreSQL: {str(error.__cause__).strip()}. Grant the application's role what "
            "docs/howto/history-undo-and-erasure.md lists for it."
        ) from error.__cause__
    finally:
        connection.row_factory = row_factory


def _is_usable(connection: Any) -> bool:
    """Whether a transaction is open that can still be written in."""
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    return bool(connection.info.transaction_status.name == "INTRANS")


def _no_transaction() -> BadRequestError:
    return BadRequestError(
        "Who acts is a matter of one transaction: begin it before this block, and commit it after."
    )
