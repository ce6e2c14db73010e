"""What must stay small, however bad the wire is.

I13   a page holds no more rows than were asked for; a replica that is answered does not ask the
      same again and again; what a checkpoint has revealed waits nowhere any more, and of the hub's
      rows a file keeps only those that its pending changes touch
"""

from __future__ import annotations

from collections import Counter

from reunite.protocol.limits import PAGE_ROWS_MAX, PUSH_CHANGES_MAX
from reunite.protocol.pull import Page, PullRequest
from reunite.testing.simulator.book import InvariantBroken, PushedChange
from reunite.testing.simulator.files import SimulatedFile
from reunite.testing.wire import Request

# How often a replica sends one and the same request while one call of it runs. A sync pulls before
# and after its pushes, and once more after each surprise; nothing is sent in a loop.
REPEATS_MAX = 6

# Rows that one touched key can bring: a row that moved is gone from one key and there at another.
ROWS_A_CHANGE = 2


class BoundsCheck:
    """Counts what goes over the wire and what stays in files."""

    def __init__(self) -> None:
        self._sent: dict[str, Counter[tuple[str, bytes]]] = {}

    def began(self, label: str) -> None:
        """A call of a replica begins: sync, push, pull, clone or repair."""
        self._sent[label] = Counter()

    def sending(self, request: Request) -> None:
        """A request is on its way."""
        sent = self._sent.setdefault(request.label, Counter())
        sent[request.operation, request.body] += 1
        if sent[request.operation, request.body] > REPEATS_MAX:
            raise InvariantBroken(
                "I13", f"{request.label} repeats a {request.operation} without end."
            )

    def pushed(self, changes: list[PushedChange]) -> None:
        """A push has reached the hub."""
        if len(changes) > PUSH_CHANGES_MAX:
            raise InvariantBroken("I13", f"A push has {len(changes)} changes.")

    def pulled(self, request: PullRequest, page: Page) -> None:
        """The hub has built a page."""
        limit = min(request.limit or PAGE_ROWS_MAX, PAGE_ROWS_MAX)
        rows = sum(len(p.puts) + len(p.deletes) + len(p.evicts) for p in page.tables)
        if rows > ROWS_A_CHANGE * limit:
            raise InvariantBroken("I13", f"A page that was to hold {limit} rows has {rows}.")

    def revealed(self, file: SimulatedFile) -> None:
        """A file has committed a checkpoint."""
        waiting, kept, pending = file.stored()
        if waiting:
            raise InvariantBroken(
                "I13", f"{file.label} keeps {waiting} pages that its checkpoint has revealed."
            )
        if kept > ROWS_A_CHANGE * pending:
            raise InvariantBroken(
                "I13", f"{file.label} keeps {kept} rows of the hub for {pending} pending changes."
            )
