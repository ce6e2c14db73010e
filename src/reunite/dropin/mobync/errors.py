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

from typing import ClassVar

from reunite.errors import ReuniteError


class MobyncError(ReuniteError):
    """A call of `apply` was refused as a whole. Correct what the message names, and call again."""

    code: ClassVar[str] = "mobync-error"


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
