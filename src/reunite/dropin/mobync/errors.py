"""What `Mobync` raises on purpose.

    MobyncError               nothing of the call was written
    ├── InconsistentDiff      a diff is malformed
    ├── InconsistentClock     the device's clock cannot be, or its past is not this log's
    ├── Unauthorized          the owner may not do this
    ├── UnknownModel          no such model is synchronised
    └── UnknownField          the model has no such field, or a create lacks one

The names without "Error" are mobync's own. Each has a stable `code`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from reunite.errors import ReuniteError


class MobyncError(ReuniteError):
    """A call of `apply` was refused as a whole. Correct what the message names, and call again.

    `diff_id` is the id of the diff that is to blame, None if it is none or nobody knows which.
    """

    code: ClassVar[str] = "mobync-error"
    diff_id: str | None = None


class InconsistentDiff(MobyncError):  # noqa: N818 — mobync's words
    """A diff is not what `Diff.validate` accepts. Correct it where it is made."""

    code = "inconsistent-diff"


class InconsistentClock(MobyncError):  # noqa: N818
    """The clock is negative, no number, or not one that this log gave out.

    With the code `resync_needed` the device starts again at clock 0 and keeps its new diffs.
    """

    code = "inconsistent-clock"

    def __init__(self, message: str, *, code: str = "inconsistent-clock") -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]


class Unauthorized(MobyncError):  # noqa: N818
    """The owner may not do what a diff says. Ask who runs the application for the right."""

    code = "unauthorized"


class UnknownModel(MobyncError):  # noqa: N818
    """No model of this name is synchronised. Correct the name, or add it to the synchronizer."""

    code = "unknown-model"


class UnknownField(MobyncError):  # noqa: N818
    """A diff names a field that its model lacks, or leaves out one that a new row must have.

    Correct it, or declare a lens if the field had that name before.
    """

    code = "unknown-field"


@contextmanager
def about(diff_id: object) -> Iterator[None]:
    """Note on whatever is raised in the block, by the application's code too, which diff it is
    about: `diff_of`."""
    try:
        yield
    except Exception as exc:
        vars(exc)["diff_id"] = diff_id if isinstance(diff_id, str) else None
        raise


def diff_of(error: BaseException) -> str | None:
    """The id of the diff that is to blame for an error, None if that is not known."""
    found: str | None = getattr(error, "diff_id", None)
    return found
