"""Cursors of lists: texts that say where the next part begins, and that nobody else writes.

The rule         a cursor that is none is refused, never taken for the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from reunite.engine.kept import ReadsRecords, Record
from reunite.engine.remembered import moment_id
from reunite.errors import BadRequestError

Item = TypeVar("Item")


def _bad(given: str) -> BadRequestError:
    return BadRequestError(
        f"{given[:80]!r} is no place in this list: take `next` of the part before.", path="after"
    )


def after_place(given: str | None) -> int:
    """Where a list that is made anew each time goes on. Raises BadRequestError."""
    if given is None:
        return 0
    if not (given.isascii() and given.isdecimal() and len(given) < 16):
        raise _bad(given)
    return int(given)


def after_id(given: str | None) -> str | None:
    """The id of a record after which a list goes on. Raises BadRequestError."""
    if given is not None and not (given.isascii() and given.isalnum() and len(given) < 200):
        raise _bad(given)
    return given


class Stretch(Protocol):
    """What a list of records is asked for."""

    @property
    def after(self) -> str | None: ...

    @property
    def limit(self) -> int: ...

    @property
    def since_ms(self) -> int | None: ...

    @property
    def until_ms(self) -> int | None: ...


def newest_of(
    tx: ReadsRecords, kind: type[Record], asked: Stretch, where: Mapping[str, str | int]
) -> Sequence[Record]:
    """The newest records that are asked for, and one more if there are more. Of a stretch of time,
    and of those before where the list goes on."""
    bounds = [
        bound
        for bound in (
            after_id(asked.after),
            None if asked.until_ms is None else moment_id(asked.until_ms),
        )
        if bound is not None
    ]
    return tx.latest(
        kind,
        limit=asked.limit + 1,
        since=None if asked.since_ms is None else moment_id(asked.since_ms),
        before=min(bounds, default=None),
        **where,
    )


def part_of(found: Sequence[Item], limit: int, place: int) -> tuple[list[Item], str | None]:
    """A part of a whole list, and where the next one begins."""
    part = list(found[place : place + limit])
    following = place + len(part)
    return part, str(following) if following < len(found) else None


def part_by_id(
    found: Sequence[Item], limit: int, id_of: Callable[[Item], str]
) -> tuple[list[Item], str | None]:
    """The same of a list of which one more than `limit` was read."""
    part = list(found[:limit])
    return part, id_of(part[-1]) if len(found) > limit else None
