"""What a database refuses, said in the words of a table's owner instead of the driver's.

    UNIQUE constraint failed: t.code        t has another row with the same code.
    null value in column "code" of ...      t.code may not be NULL.

The rule         what a trigger or a function of the user's says is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from reunite.engine.ports import UndoneError
from reunite.errors import ConstraintError, UnknownTableError

TABLE_GONE = "A table that this change leads to is not at the hub; it can be sent again later."
WRITE_FAILED = "The hub's database failed at this change; it can be sent again later."


def refused_at_commit(error: Exception, cause: Exception) -> Exception:
    """What a transaction is told whose COMMIT met this error of ours, or of the driver's where ours
    is the same: a trigger or constraint that waited has undone all of it."""
    if isinstance(error, ConstraintError):
        return UndoneError(error.message, code=error.code, table=error.table, columns=error.columns)
    if isinstance(error, UnknownTableError):
        return UndoneError(TABLE_GONE, code="unknown-table")
    return UndoneError(WRITE_FAILED, code="write-failed") if error is cause else error


def refusal_text(
    code: str, said: str, *, table: str | None, columns: Sequence[str], check: str | None = None
) -> str:
    """The reason of a refusal with this code, for people.

    said     the driver's own words, for what has no others
    check    the CHECK that does not hold: its expression, or its name
    """
    names = ", ".join(columns)
    if code == "unique" and table and names:
        return f"{table} has another row with the same {names}."
    if code == "not-null" and table and names:
        return f"{table}.{names} may not be NULL."
    if code == "foreign-key":
        return f"A row{f' of {table}' if table else ''} points to no row, or to one that is to go."
    if code == "check" and check is not None:
        return f"A CHECK of the hub does not hold: {check}."
    return said
