"""Versions of reunite's own tables: which a database has, and who may use it.

    reunite_meta.layout       the version that the tables are in
    reunite_meta.layout_min   the oldest version whose code works on them

    database      ours          what happens
    older         newer         the first transaction of ours brings the tables up to date: the
                                steps of each version between, then what is missing is made
    the same      the same      nothing
    newer         older         if `layout_min` is not above ours, we work as ever and change
                                nothing of it; else NewerLayoutError, before anything is read

The rule         a database is never brought back to an older version.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from reunite.errors import NewerLayoutError
from reunite.stores.sql import layout
from reunite.stores.sql.ports import Session

_INTEGERS = frozenset(
    {"layout", "layout_min", "edition", "trimmed_seq", "trimmed_id", "indexed_id"}
)

_MADE = re.compile(r"CREATE (?:TABLE|INDEX|VIEW) IF NOT EXISTS (\w+)", re.IGNORECASE)


def has_tables(session: Session) -> bool:
    """Whether a hub's tables are there, in whatever version."""
    return not session.dialect.missing(session, ["reunite_meta"])


def statements_by_name(statements: Iterable[str]) -> dict[str, str]:
    """Those of a layout's statements that make a table, an index or a view, by its name, in their
    order."""
    return {made[1]: text for text in statements if (made := _MADE.search(text))}


def missing_relations(session: Session) -> list[str]:
    """The names of reunite's tables and indexes of a hub that are not there."""
    return session.dialect.missing(session, statements_by_name(session.dialect.layout()))


def make_missing(session: Session) -> None:
    """Make those of reunite's tables and indexes that are not there. Nothing is made again,
    `IF NOT EXISTS` or not: PostgreSQL would wait, for an index, for every open transaction that
    has written its table, and later ones behind it."""
    statements = statements_by_name(session.dialect.layout())
    for name in session.dialect.missing(session, statements):
        session.execute(statements[name])


def new_epoch() -> str:
    """The identity of a log that begins. Random, so that no restored hub has one of before."""
    return secrets.token_hex(8)


def read_meta(session: Session) -> dict[str, Any]:
    """What `reunite_meta` holds, by name. Raises CallerError if there is no such table."""
    return parse_meta(session.execute_again("SELECT name, value FROM reunite_meta"))


def parse_meta(rows: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Rows of `reunite_meta` by name."""
    return {name: int(value) if name in _INTEGERS else value for name, value in rows}


def set_meta(session: Session, **values: Any) -> None:
    """Store values in `reunite_meta`, by name."""
    session.executemany(
        "INSERT INTO reunite_meta (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, session.dialect.meta_value(value)) for name, value in values.items()],
    )


def is_laid_out(meta: Mapping[str, Any]) -> bool:
    """Whether the tables are in our version, or in a newer one that we can work on. `meta` holds
    `layout` and `layout_min` of `reunite_meta`. Raises NewerLayoutError."""
    found = int(meta["layout"])
    if int(meta.get("layout_min", found)) > layout.LAYOUT_VERSION:
        raise NewerLayoutError(
            f"reunite's tables in this database have layout {found}, which a newer release made; "
            f"this one knows {layout.LAYOUT_VERSION}. Upgrade reunite here."
        )
    return not is_older(meta)


def is_older(meta: Mapping[str, Any]) -> bool:
    """Whether an older release than ours made the tables, and none has opened them since."""
    return int(meta["layout"]) < layout.LAYOUT_VERSION


def bring_up_to_date(session: Session) -> None:
    """Run the steps that lead from the database's version to ours, and make what is missing then.
    Raises NewerLayoutError."""
    meta = read_meta(session)
    if is_laid_out(meta):
        return
    for version in range(meta["layout"], layout.LAYOUT_VERSION):
        for statement in layout.LAYOUT_STEPS[version]:
            session.execute(statement)
    make_missing(session)
    set_meta(session, layout=layout.LAYOUT_VERSION, layout_min=layout.LAYOUT_VERSION_MIN)
