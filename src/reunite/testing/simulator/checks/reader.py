"""A reader of raw pages: it follows the hub by cursors alone, and is no replica file.

    I3    no commit is skipped: the pages, folded, are the hub's tables at every checkpoint
    I5    what it holds at a checkpoint is a state that the hub had

It reads with tiny pages, goes back to old cursors, and asks some of them twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from reunite.protocol.codec import decode, encode
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.testing.simulator.book import InvariantBroken, Snapshot
from reunite.testing.simulator.tables import FACTS, TABLES, Tables, differences

# States kept to go back to.
_STATES_MAX = 5


@dataclass(frozen=True, kw_only=True)
class _State:
    cursor: str | None
    tables: Tables


@dataclass(kw_only=True)
class Reader:
    """Pulls through `call`; `snapshot` gives what the hub's last page was read from."""

    call: Callable[[str, bytes], bytes]
    snapshot: Callable[[], Snapshot]
    _replica: str = ""
    _now: _State = field(default_factory=lambda: _State(cursor=None, tables=_empty()))
    _checkpoints: list[_State] = field(default_factory=list)

    def read_on(self, chance: random.Random) -> None:
        """Read a few pages, perhaps from an older cursor."""
        if self._checkpoints and chance.random() < 0.3:
            self._now = chance.choice(self._checkpoints)
        for _ in range(chance.randrange(1, 6)):
            if self._read_page(chance.randrange(1, 6)) and chance.random() < 0.8:
                return

    def read_all(self) -> None:
        """Read until there is nothing more."""
        while not self._read_page(3):
            pass

    def _read_page(self, limit: int) -> bool:
        """Read one page; whether it was a checkpoint with nothing more behind it."""
        if not self._replica:
            hello = RegisterRequest(protocol=PROTOCOL_VERSION, name="reader")
            answer = decode(self.call("register", encode(hello)), RegisterAnswer)
            self._replica = answer.replica
        request = PullRequest(
            protocol=PROTOCOL_VERSION,
            replica=self._replica,
            known=0,
            cursor=self._now.cursor,
            limit=limit,
        )
        page = decode(self.call("pull", encode(request)), Page)
        tables = _empty() if page.reset else {name: dict(self._now.tables[name]) for name in TABLES}
        for part in page.tables:
            facts = FACTS[part.table]
            order = [part.columns.index(column) for column in facts.columns]
            for key in (*part.deletes, *part.evicts):
                tables[part.table].pop(key, None)
            for values in part.puts:
                row = tuple(values[index] for index in order)
                tables[part.table][facts.key_of(row)] = row
        self._now = _State(cursor=page.cursor, tables=tables)
        if page.checkpoint:
            hub = self.snapshot().tables
            if tables != hub:
                raise InvariantBroken(
                    "I3", f"The pages do not add up: {differences(tables, hub)} (pages ≠ hub)"
                )
            self._checkpoints = [*self._checkpoints[-_STATES_MAX:], self._now]
        return page.checkpoint and not page.more


def _empty() -> Tables:
    return {name: {} for name in TABLES}
