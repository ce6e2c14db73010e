"""A replica in memory: as small as one can be, and strict about what it is told.

It keeps rows, numbers and marks as docs/protocol.md tells a client to, and builds the runs of a
push from dictionaries. What it does not do is merge: cases say what is to come of conflicts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from suite.cases import must, same
from suite.wire import TABLES, Hub

PROTOCOL = 1
PAGES_MAX = 10_000

Row = dict[str, Any]
Key = tuple[Any, ...]
Run = dict[str, Any]
Page = dict[str, Any]


def new_id() -> str:
    """128 random bits as a change's id has them."""
    return secrets.token_hex(16)


def new_name(kind: str = "n") -> str:
    """A text that no other row has."""
    return f"{kind}-{secrets.token_hex(8)}"


class Peer:
    """One identity at the hub, with the rows of its last checkpoint."""

    def __init__(
        self,
        hub: Hub,
        *,
        tables: Sequence[str] | None = TABLES,
        where: dict[str, Any] | None = None,
        pulls: bool = True,
    ) -> None:
        self.hub = hub
        self.where = where or {}
        self.tables = None if tables is None else list(tables)
        self.adopt(
            hub.call(
                "register", {"protocol": PROTOCOL, "name": "conformance", "tables": self.tables}
            )
        )
        self.cursor: str | None = None
        self.checkpoint: str | None = None
        self.rows: dict[str, dict[Key, Row]] = {name: {} for name in self.schemas}
        self._inbox: list[Page] = []
        self.formers: list[dict[str, Any]] = []
        self._counter = 0
        if pulls:
            self.pull()

    def adopt(self, answer: dict[str, Any]) -> None:
        """Become the identity of an answer to registering; rows and cursor stay."""
        self.replica: str = answer["replica"]
        self.epoch: str = answer["epoch"]
        self.schemas = {table["name"]: table for table in answer["tables"]}
        self.columns = {
            name: [column["name"] for column in table["columns"]]
            for name, table in self.schemas.items()
        }
        self._blocks = {block["table"]: block for block in answer["blocks"]}
        self._given: dict[str, int] = {}
        self.stamp: str = answer["stamp"]
        self.mark: int = answer["mark"]
        self.known = 0
        self.answered = 0
        self.next_n = 1

    def take_new_identity(self) -> None:
        """Register again and keep everything that belongs to the file."""
        self.formers.insert(0, {"replica": self.replica, "n": self.known})
        mark = self.mark
        self.adopt(
            self.hub.call(
                "register", {"protocol": PROTOCOL, "name": "conformance", "tables": self.tables}
            )
        )
        self.mark = mark

    # -- keys and stamps ----------------------------------------------------------------------

    def key(self, table: str) -> int:
        """A generated key of this replica's block, each once."""
        block = self._blocks[table]
        given = self._given.get(table, block["first"] - 1) + 1
        must(given <= block["last"], f"the block of {table} is used up")
        self._given[table] = given
        return given

    def add_blocks(self, blocks: Sequence[dict[str, Any]]) -> None:
        """Go on with fresh blocks."""
        for block in blocks:
            self._blocks[block["table"]] = block
            self._given.pop(block["table"], None)

    def next_stamp(self, *, ahead_ms: int = 0) -> str:
        """A stamp later than all that this replica has seen; or so far from now."""
        milliseconds = time.time_ns() // 1_000_000
        if ahead_ms == 0:
            milliseconds = max(milliseconds, int(self.stamp[:12], 16))
        self._counter += 1
        return f"{milliseconds + ahead_ms:012x}-{self._counter:04x}-{self.replica}"

    # -- pulling ------------------------------------------------------------------------------

    def request(self, **fields: Any) -> dict[str, Any]:
        """A pull from where this replica is."""
        return {
            "protocol": PROTOCOL,
            "replica": self.replica,
            "known": self.known,
            "cursor": self.cursor,
            "tables": self.tables,
            **({"where": self.where} if self.where else {}),
            **fields,
        }

    def pull(self, *, limit: int | None = None) -> list[Page]:
        """Pull until a checkpoint with nothing more behind it, and show it; the pages."""
        pages = []
        while True:
            page = self.hub.call("pull", self.request(limit=limit))
            self.take(page)
            pages.append(page)
            if page.get("checkpoint", False) and not page.get("more", False):
                return pages
            must(page.get("more", False), "a page has neither `checkpoint` nor `more`")
            must(len(pages) < PAGES_MAX, f"no checkpoint came in {PAGES_MAX} pages")

    def take(self, page: Page) -> None:
        """Keep a page; a checkpoint applies all that were kept."""
        for name in ("cursor", "stamp"):
            must(isinstance(page.get(name), str), f"a page has no {name}")
        if page.get("reset", False):
            self._inbox = []
        self._inbox.append(page)
        self.cursor = page["cursor"]
        self.stamp = max(self.stamp, page["stamp"])
        is_checkpoint = page.get("checkpoint", False)
        for name in ("answered", "mark"):
            must(
                (page.get(name) is not None) == is_checkpoint,
                f"`{name}` comes with a checkpoint, and only then",
            )
        if is_checkpoint:
            for kept in self._inbox:
                self._apply(kept)
            self._inbox = []
            self.checkpoint = page["cursor"]
            self.mark, self.answered = page["mark"], page["answered"]
            self.confirm(page.get("outcomes", []))

    def confirm(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Note that outcomes are stored."""
        self.known = max([self.known, *(outcome["n"] for outcome in outcomes)])

    def _apply(self, page: Page) -> None:
        if page.get("reset", False):
            self.rows = {name: {} for name in self.schemas}
        for part in page.get("tables", []):
            rows, columns = self.rows[part["table"]], part["columns"]
            key = self.schemas[part["table"]]["key"]
            for gone in [*part.get("deletes", []), *part.get("evicts", [])]:
                rows.pop(tuple(gone), None)
            for values in part.get("puts", []):
                same(len(values), len(columns), f"the length of a row of {part['table']}")
                row = dict(zip(columns, values, strict=True))
                rows[tuple(row[name] for name in key)] = row

    def row(self, table: str, *key: Any) -> Row | None:
        """A row of the last checkpoint, or None."""
        return self.rows[table].get(key)

    # -- pushing ------------------------------------------------------------------------------

    def insert(self, table: str, *rows: Row, **fields: Any) -> Run:
        """A run that inserts rows; columns that are left out are NULL."""
        columns = self.columns[table]
        return self._run(
            table,
            "insert",
            columns,
            len(rows),
            set=[[row.get(name) for name in columns] for row in rows],
            **fields,
        )

    def update(
        self, table: str, key: Sequence[Any], to: Row, was: Row | None = None, **fields: Any
    ) -> Run:
        """A run that updates one row; `was` is what the last checkpoint shows."""
        columns = list(to)
        before: Mapping[str, Any] = was or self.rows[table][tuple(key)]
        moved = [to.get(name, value) for name, value in zip(self._key(table), key, strict=True)]
        if moved != list(key):
            fields.setdefault("old_keys", [list(key)])
        return self._run(
            table,
            "update",
            columns,
            1,
            keys=[moved],
            set=[[to[name] for name in columns]],
            was=[[before[name] for name in columns]],
            **fields,
        )

    def delete(self, table: str, key: Sequence[Any], was: Row | None = None, **fields: Any) -> Run:
        """A run that deletes one row."""
        before = was or self.rows[table][tuple(key)]
        columns = list(before)
        return self._run(
            table,
            "delete",
            columns,
            1,
            keys=[list(key)],
            was=[[before[name] for name in columns]],
            **fields,
        )

    def _key(self, table: str) -> list[str]:
        found: list[str] = self.schemas[table]["key"]
        return found

    def _run(self, table: str, op: str, columns: list[str], size: int, **fields: Any) -> Run:
        return {
            "table": table,
            "op": op,
            "columns": columns,
            "mark": self.mark,
            "covered": self.answered,
            "stamps": [self.next_stamp()],
            "ids": [new_id() for _ in range(size)],
            **fields,
        }

    def message(self, *groups: Sequence[Run] | dict[str, Any], **fields: Any) -> dict[str, Any]:
        """A push of groups, each a list of runs or a whole group, with the next numbers."""
        whole = [group if isinstance(group, dict) else {"runs": list(group)} for group in groups]
        return {
            "protocol": PROTOCOL,
            "epoch": self.epoch,
            "replica": self.replica,
            "known": self.known,
            "first_n": self.next_n,
            "schemas": {name: table.get("version", 1) for name, table in self.schemas.items()},
            "groups": whole,
            **fields,
        }

    def push(self, *groups: Sequence[Run] | dict[str, Any], **fields: Any) -> Outcomes:
        """Push groups and note their numbers; what came of it."""
        return self.send(self.message(*groups, **fields))

    def send(self, message: dict[str, Any]) -> Outcomes:
        """Send a push as it is; what came of it."""
        outcomes = Outcomes(message, self.hub.call("push", message))
        self.next_n = max(self.next_n, outcomes.last_n + 1)
        self.stamp = max(self.stamp, outcomes.answer["stamp"])
        return outcomes


class Outcomes:
    """The answer to a push: an outcome for each change, those that are not listed among them."""

    def __init__(self, message: dict[str, Any], answer: dict[str, Any]) -> None:
        self.answer = answer
        self.first_n: int = answer["first_n"]
        self.last_n: int = answer["last_n"]
        ids = [
            change_id
            for group in message["groups"]
            for run in group["runs"]
            for change_id in run["ids"]
        ]
        same(self.first_n, message["first_n"], "`first_n` of an answer")
        must(
            self.first_n - 1 <= self.last_n <= self.first_n - 1 + len(ids),
            f"`last_n` is {self.last_n} after {len(ids)} changes from {self.first_n} on",
        )
        listed = {outcome["n"]: outcome for outcome in answer["outcomes"]}
        same(
            [outcome["n"] for outcome in answer["outcomes"]],
            sorted(listed),
            "the numbers of the outcomes, which stand in order",
        )
        for n, outcome in listed.items():
            must(
                self.first_n <= n <= self.last_n, f"an outcome is about {n}, which is not answered"
            )
            same(outcome["id"], ids[n - self.first_n], f"the id of the outcome of change {n}")
        self.all = [
            listed.get(n, {"n": n, "id": ids[n - self.first_n], "kind": "applied"})
            for n in range(self.first_n, self.last_n + 1)
        ]

    @property
    def kinds(self) -> list[str]:
        """The kinds of all outcomes, with the code where there is one."""
        return [
            f"{outcome['kind']} {outcome['code']}" if outcome.get("code") else outcome["kind"]
            for outcome in self.all
        ]

    def are(self, *kinds: str) -> Outcomes:
        """The hub is wrong unless the outcomes are of these kinds."""
        reasons = [outcome["reason"] for outcome in self.all if outcome.get("reason")]
        must(
            self.kinds == list(kinds),
            f"the outcomes are {self.kinds}, not {list(kinds)} {reasons or ''}".strip(),
        )
        return self
