"""Ranges: long groups of the outbox, numbered, sent and answered without a word in their rows.

    raw rows ─► range: number, stamp, mark ─► sent ─► is_applied ─► gone with the checkpoint
                  └─► spread: the same written into each row, as soon as anything needs that

What it is       for groups that only insert, which is most of what a push carries in bulk: a row of
                 the outbox is written once, by its trigger, and not again for its number and again
                 for its outcome.
The rule         whoever opens a transaction that writes finds rows: `ReplicaFile.writing` spreads
                 what is there, unless its caller knows of ranges. Who only reads takes the view
                 `reunite_outbox`, or counts with the functions here.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

# The rows of a range have no number of their own; what was captured and never numbered has larger
# ids than all ranges.
LAYOUT = (
    """
    create table if not exists reunite_range (
        first_id integer primary key, last_id integer not null, n integer not null unique,
        stamp text not null, mark integer not null, covered integer not null,
        is_applied integer not null default 0
    )
    """,
    """
    create view if not exists reunite_outbox as
    select c.id, c.uid, coalesce(c.n, r.n + c.id - r.first_id) as n, coalesce(c.grp, r.n) as grp,
           c.table_name, c.op, c.key, c.old_key, c.old, c.row, c.schema,
           coalesce(c.stamp, r.stamp) as stamp, coalesce(c.mark, r.mark) as mark,
           coalesce(c.covered, r.covered) as covered, c.at_ms,
           coalesce(c.outcome, iif(r.is_applied, 'applied', null)) as outcome
    from reunite_change as c
    left join reunite_range as r on c.n is null and c.id <= r.last_id
         and r.first_id = (select max(first_id) from reunite_range where first_id <= c.id)
    """,
)

_LAST_ID = "coalesce((select last_id from reunite_range order by first_id desc limit 1), 0)"
_HAS_UNSENT = f"""
    select exists (select 1 from reunite_range where not is_applied)
        or exists (select 1 from reunite_change where n is not null and outcome is null)
        or exists (select 1 from reunite_change where n is null and id > {_LAST_ID})
"""
_FIRST_RAW = f"""
    select id from reunite_change where n is null and id > {_LAST_ID} order by id limit 1
"""
_COLUMNS = "n, first_id, last_id, stamp, mark, covered"


class Range(NamedTuple):
    """A group: its first number, the ids of its rows, and what is the same for all of them."""

    n: int
    first_id: int
    last_id: int
    stamp: str
    mark: int
    covered: int

    @property
    def last_n(self) -> int:
        """Its last number."""
        return self.n + self.size - 1

    @property
    def size(self) -> int:
        """How many changes it has."""
        return self.last_id - self.first_id + 1


def add(connection: sqlite3.Connection, found: Range) -> None:
    """Number what was captured from one id to another as a group; inserts with all their rows."""
    connection.execute(f"insert into reunite_range ({_COLUMNS}) values (?, ?, ?, ?, ?, ?)", found)


def unanswered(connection: sqlite3.Connection, *, after_n: int) -> list[Range]:
    """The ranges after a number that have no outcome, in order."""
    rows = connection.execute(
        f"select {_COLUMNS} from reunite_range where n > ? and not is_applied order by n",
        (after_n,),
    )
    return [Range._make(row) for row in rows]


def set_applied(connection: sqlite3.Connection, first_n: int, last_n: int) -> None:
    """Note the outcome of the ranges among these numbers; rows take it for themselves."""
    first, last = _range_of(connection, first_n), _range_of(connection, last_n)
    if (first and first.n < first_n) or (last and last.last_n > last_n):
        spread(connection)  # a part of a group was answered
        return
    connection.execute(
        "update reunite_range set is_applied = 1 where n between ? and ?", (first_n, last_n)
    )


def spread(connection: sqlite3.Connection) -> None:
    """Write numbers and outcomes into the rows. One look at an empty table if there is nothing."""
    found = connection.execute(
        "select n - first_id, n, stamp, mark, covered, iif(is_applied, 'applied', null),"
        " first_id, last_id from reunite_range"
    ).fetchall()
    if found:
        connection.executemany(
            "update reunite_change set n = id + ?, grp = ?, stamp = ?, mark = ?, covered = ?,"
            " outcome = ? where id between ? and ?",
            found,
        )
        forget(connection)


def forget(connection: sqlite3.Connection) -> None:
    """Drop all ranges, with whatever they knew of their rows."""
    connection.execute("delete from reunite_range")


def uid_of(connection: sqlite3.Connection, n: int) -> str | None:
    """The random id of the change of this number, if it is in a range."""
    found = _range_of(connection, n)
    if found is None:
        return None
    (uid,) = connection.execute(
        "select uid from reunite_change where id = ?", (found.first_id + n - found.n,)
    ).fetchone()
    return str(uid)


def counts(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """(changes in ranges, those of them that are applied, the last number)."""
    row = connection.execute(
        "select coalesce(sum(last_id - first_id + 1), 0),"
        " coalesce(sum((last_id - first_id + 1) * is_applied), 0),"
        " coalesce(max(n + last_id - first_id), 0) from reunite_range"
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def has_unsent(connection: sqlite3.Connection) -> bool:
    """Whether a change has no answer: captured, numbered in its row, or in a range."""
    return bool(connection.execute(_HAS_UNSENT).fetchone()[0])


def first_raw(connection: sqlite3.Connection) -> int | None:
    """The id of the first change that was captured and not numbered yet; None if there is none."""
    found = connection.execute(_FIRST_RAW).fetchone()
    return None if found is None else int(found[0])


def _range_of(connection: sqlite3.Connection, n: int) -> Range | None:
    row = connection.execute(
        f"select {_COLUMNS} from reunite_range where n <= ? order by n desc limit 1", (n,)
    ).fetchone()
    found = None if row is None else Range._make(row)
    return found if found is not None and n <= found.last_n else None
