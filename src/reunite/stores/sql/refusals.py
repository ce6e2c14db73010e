"""What becomes of a transaction whose COMMIT is refused; `core/refusal.py` has the words."""

from __future__ import annotations

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
