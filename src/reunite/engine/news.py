"""The ports through which a hub learns that there is something new.

    Feed    calls listeners, in every process        adapters: `feeds`
    Watchable, Lines, Line   what a feed may ask of a database        adapters: `stores`

The rule         news is a hint that one should look; what there is, only the log says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Watchable(Protocol):
    """A store whose database other programs write to without telling."""

    def look(self) -> object:
        """Another value than before when anything may have been committed, by whatever program;
        perhaps also when nothing was. Cheap enough for 500 times a second, and from any thread."""
        ...

    @property
    def lines(self) -> Lines | None:
        """How the processes of this database reach each other; None if they can only look."""
        ...


class Lines(Protocol):
    """What a database offers to processes that tell each other something. From any thread."""

    def tell(self, word: str) -> None:
        """Send a word, of hexadecimal digits, to all lines that are open."""
        ...

    def open(self) -> Line | None:
        """A line that hears what is told from now on; None if a pooler stands in between, which
        would give its session to somebody else."""
        ...


class Line(Protocol):
    """A session of its own that hears what is told. Used by one thread, but for `hang_up`."""

    def hear(self, timeout_s: float) -> Sequence[str]:
        """The words told since the last call, one's own too; waits for the first one so long."""
        ...

    def take_turn(self) -> bool:
        """Whether this line has the turn. One line of a database has it at most, the first one
        that asks when nobody has, until it is closed or its process ends."""
        ...

    def hang_up(self) -> None:
        """Have `hear` return at once, now and from now on. From any thread."""
        ...

    def close(self) -> None:
        """End the session. May be called twice."""
        ...


class Feed(Protocol):
    """Says that there may be something new in a hub's log, or that tokens were taken back."""

    def wake(self) -> None:
        """Have every listener called, in every process that has a feed of this database. Called
        after numbering, with no transaction open; never waits for what listeners do."""
        ...

    def waking(self) -> AbstractContextManager[None]:
        """A block that commits something, numbers it and then wakes: a feed that looks what others
        commit has no need to notice that first, before it is numbered."""
        ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called soon after each `wake`; what is returned ends that, and may be
        called twice.

        Of several wakes one call may be left, but one always begins after the last of them; there
        may be calls without a cause. They come from any thread, and must neither wait nor raise.
        """
        ...

    def close(self) -> None:
        """Call nobody any more, and release what it has. May be called twice."""
        ...
