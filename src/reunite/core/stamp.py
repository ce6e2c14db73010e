"""Stamps: hybrid logical times, an order that respects cause and stays near wall time.

What it is       values and pure functions; the wall time is always an argument.
What it is not   a source of time, or a record of what a replica has read (that is the cursor).
The rule         a stamp we issue is later than every stamp we have issued or seen.

    | wall_ms, 12 hex digits | - | counter, 4 hex digits | - | replica |
    text sorts as the values do: `0190163d8694-0000-8c0e…`

Two replicas may draw the same wall_ms and counter. The replica then decides, so the order is
total and every side finds the same winner. A change made at the hub names no replica and loses
such a tie. `conformance/stamp/` is the definition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from reunite.errors import StampOverflowError

WALL_MS_MAX = 2**48 - 1
COUNTER_MAX = 2**16 - 1

_TEXT = re.compile(r"([0-9a-f]{12})-([0-9a-f]{4})-([0-9a-z-]{0,64})")


class Stamp(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The time of a change; `str()` gives its text. `replica` is "" for one made at the hub."""

    wall_ms: int
    counter: int = 0
    replica: str = ""

    def __post_init__(self) -> None:
        if not (0 <= self.wall_ms <= WALL_MS_MAX and 0 <= self.counter <= COUNTER_MAX):
            raise ValueError(f"No stamp has wall_ms {self.wall_ms} and counter {self.counter}.")

    def __str__(self) -> str:
        return f"{self.wall_ms:012x}-{self.counter:04x}-{self.replica}"


def next_stamp(last: Stamp, seen: Sequence[Stamp] = (), *, now_ms: int) -> Stamp:
    """Return the stamp of our next change, later than `last` and than all of `seen`.

    last           the newest stamp we issued; the result keeps its replica
    seen           stamps that arrived together, in any order; empty for a local change
    now_ms         wall time in milliseconds since the Unix epoch, UTC

    Raises StampOverflowError at the end of the range, which only a wrong clock reaches.

    Stamps from a device with a wrong clock are clamped where they enter the hub, so that one
    of them cannot move everybody's time; here all of `seen` is believed.

    Linear in `len(seen)`. The algorithm is the hybrid logical clock of Kulkarni et al.,
    "Logical Physical Clocks" (OPODIS 2014), with one step for a whole page instead of
    one per message: only the latest member can matter. A full counter carries into wall_ms, so a
    device whose clock once stood far ahead can go on.
    """
    known = (last, *seen)
    wall_ms = max(now_ms, *(stamp.wall_ms for stamp in known))
    # Only counters of the winning millisecond take part. A later one starts again at zero.
    counter = 1 + max((stamp.counter for stamp in known if stamp.wall_ms == wall_ms), default=-1)
    if counter > COUNTER_MAX:
        wall_ms, counter = wall_ms + 1, 0
    if wall_ms > WALL_MS_MAX:
        raise StampOverflowError(
            "The clock of this device, or of one it heard of, reads beyond the year 10,889."
        )
    return Stamp(wall_ms=wall_ms, counter=counter, replica=last.replica)


def parse_stamp(text: str) -> Stamp:
    """The inverse of `str(stamp)`. Raises ValueError for any other text."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:100]!r} is no stamp.")
    wall_ms, counter, replica = found.groups()
    return Stamp(wall_ms=int(wall_ms, 16), counter=int(counter, 16), replica=replica)


def clamp(stamp: Stamp, *, now_ms: int) -> Stamp:
    """`stamp`, or the last possible one of `now_ms` if it lies in the future.

    Order is kept: of two stamps the later is never clamped to an earlier one. Two of one replica
    may become equal; then the change with the larger number is the later one.
    """
    if stamp.wall_ms <= now_ms:
        return stamp
    return Stamp(wall_ms=max(now_ms, 0), counter=COUNTER_MAX, replica=stamp.replica)


def commit_stamp(at_ms: int) -> str:
    """The stamp, as text, of what was changed at the hub in a commit of this time."""
    return str(Stamp(wall_ms=at_ms))
