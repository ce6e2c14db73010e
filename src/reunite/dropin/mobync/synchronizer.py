"""The port to the application's storage: what `Mobync` asks, and nothing else touches data.

The rule         the seven methods of mobync are enough. The optional ones are looked for by name;
                 each that is there makes `apply` safer or cheaper:

    transaction()              context manager: what is written inside is committed together.
                               Without it, what a failing call has written is undone one by one
    lock(owner_id)             context manager around a whole call: calls of one owner take turns,
                               across processes too. Without it, all calls of this process do
    last_clock(owner_id)       the owner's highest clock in the log; -1 or None without any diff.
                               Without it, the first call of an owner in a process reads their log
    row_owner(model, id)       who made the row, None if nobody did by a diff. Without it, the log
                               of creates is read when a row is somebody else's
    page(owner_id, clock, n)   the owner's diffs from a clock on, in order: n of them and one more
                               at least, and whole clocks. Without it, a call with `limit` reads all
    models                     names of what may be synchronised. Without it, a model is unknown
                               when reading it raises
    fields(model)              field → whether a create must name it; None if anything goes
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable
from typing import Any


class FilterType(enum.Enum):
    """How a field is compared; the library itself asks `equal` and `majorOrEqual` only."""

    equal = 0
    major = 1
    minor = 2
    majorOrEqual = 3  # noqa: N815 — mobync's words
    minorOrEqual = 4  # noqa: N815


class ReadFilter:
    """Rows whose `field_name` compares to `data` as `filter_by` says; several are joined by AND."""

    def __init__(self, field_name: str, filter_by: FilterType, data: Any) -> None:
        self.field_name = field_name
        self.filter_by = filter_by
        self.data = data

    def __repr__(self) -> str:
        return f"ReadFilter({self.field_name!r}, {self.filter_by}, {self.data!r})"


class Synchronizer(abc.ABC):
    """Reads and writes the models and the table of diffs, and says who may do what."""

    @abc.abstractmethod
    def read(self, where: str, filters: list[ReadFilter]) -> Any:
        """JSON text of a list of objects, or the list itself; without filters, all."""

    @abc.abstractmethod
    def create(self, where: str, data_json: str) -> Any:
        """Store the object; `data_json` has its `id`."""

    @abc.abstractmethod
    def update(self, where: str, data_json: str) -> Any:
        """Set the given fields of the row with the `id`; the others stay."""

    @abc.abstractmethod
    def delete(self, where: str, data_json: str) -> Any:
        """Remove the row with the `id`."""

    @abc.abstractmethod
    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        """Whether the owner may create what the diff, given as keywords, says."""

    @abc.abstractmethod
    def validate_update(self, owner_id: str, **kwargs: Any) -> bool:
        """The same for an update."""

    @abc.abstractmethod
    def validate_delete(self, owner_id: str, **kwargs: Any) -> bool:
        """The same for a delete."""


def offered(synchronizer: Synchronizer, name: str) -> Callable[..., Any] | None:
    """The optional method of this name, if the synchronizer has it."""
    method = getattr(synchronizer, name, None)
    return method if callable(method) else None
