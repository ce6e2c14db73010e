"""The book: what went over the wire, kept outside hub and replicas.

What it is       every push that the hub answered and every checkpoint page that it built, decoded
                 once, with the state that the hub was in.
What it is not   a judge: checkers read it.
The rule         only what crossed the wire is written here, in the order in which the hub did it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from reunite.core.change import Op, OutcomeKind
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import GroupMessage, OutcomeMessage, PushAnswer, PushRequest
from reunite.testing.simulator.tables import FACTS, Key, Row, Scalar, Tables


class InvariantBroken(Exception):  # noqa: N818 — it says what it is
    """A promise of design section 18 did not hold; `invariant` is its number, or a name."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


@dataclass(frozen=True, kw_only=True)
class Captured:
    """One row of the outbox."""

    id: int
    uid: str
    n: int | None
    group: int | None
    table: str
    op: Op
    key: Key
    old_key: Key | None
    old: Row | None
    row: Row | None

    @property
    def is_touch(self) -> bool:
        """A row that OR REPLACE may overwrite: whether it did shows later."""
        return self.op is Op.UPDATE and self.row is None

    @property
    def ident(self) -> Scalar:
        """Whose row it is; the key where the table has no idents."""
        facts = FACTS[self.table]
        image = self.row if self.row is not None else self.old
        if not facts.has_ident or image is None:
            return str(self.key)
        return facts.at(image, "ident")


@dataclass(frozen=True, kw_only=True)
class PushedChange:
    """One change of a push, taken out of its run."""

    n: int
    id: str
    table: str
    op: Op
    key: Key
    old_key: Key | None
    set: dict[str, Scalar]
    was: dict[str, Scalar]
    group: int
    divisible: bool

    def __str__(self) -> str:
        moved = "" if self.old_key is None else f" from {list(self.old_key)}"
        changes = " ".join(
            f"{column}:{self.was.get(column)}→{self.set.get(column)}"
            for column in self.set | self.was
        )
        return f"n{self.n} {self.op} {self.table}{list(self.key)}{moved} {changes}"


def pushed_changes(request: PushRequest) -> list[PushedChange]:
    """The changes of a push in order of n."""
    changes = []
    n = request.first_n
    for position, group in enumerate(request.groups):
        for change in _unpacked(group, position, n):
            changes.append(change)
            n += 1
    return changes


def _unpacked(group: GroupMessage, position: int, n: int) -> Iterator[PushedChange]:
    for run in group.runs:
        for index, change_id in enumerate(run.ids):
            values = dict(zip(run.columns, run.set[index], strict=True)) if run.set else {}
            yield PushedChange(
                n=n,
                id=change_id,
                table=run.table,
                op=run.op,
                key=run.keys[index] if run.keys else FACTS[run.table].key_in(values),
                old_key=run.old_keys[index] if run.old_keys else None,
                set=values,
                was=dict(zip(run.columns, run.was[index], strict=True)) if run.was else {},
                group=position,
                divisible=group.divisible,
            )
            n += 1


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The hub's first word on a change."""

    change: PushedChange
    replica: str
    outcome: OutcomeMessage
    moment: int

    @property
    def is_rejected(self) -> bool:
        return self.outcome.kind is OutcomeKind.REJECTED

    @property
    def key(self) -> Key:
        """The key under which it took effect."""
        return self.change.key if self.outcome.key is None else self.outcome.key


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a page's database snapshot held. `moment` counts the hub's transactions."""

    moment: int
    tables: Tables


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A checkpoint page that a replica file was given."""

    page: Page
    replica: str
    snapshot: Snapshot


@dataclass(kw_only=True)
class Book:
    """All that was said, and some counts of it for people.

    `captured` is what the triggers of a file made of each change when a program wrote it,
    `pending_before` the changes that were pending there then, and so in what the program saw.
    """

    judged: dict[str, Judged] = field(default_factory=dict)
    captured: dict[str, Captured] = field(default_factory=dict)
    pending_before: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_number: dict[tuple[str, int], str] = field(default_factory=dict)
    last_n: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        """Something happened that a run's summary tells."""
        self.counts[what] = self.counts.get(what, 0) + by

    def note_blocks(self, blocks: object) -> None:
        """Remember which generated keys were leased."""
        assert isinstance(blocks, tuple), "a message's blocks"
        for block in blocks:
            self.blocks.setdefault(block.table, []).append((block.first, block.last))

    def note_push(
        self, request: PushRequest, answer: PushAnswer, moment: int
    ) -> tuple[list[PushedChange], dict[str, OutcomeMessage]]:
        """Enter a push and its answer; (all its changes, those that were answered first now)."""
        changes = pushed_changes(request)
        listed = {outcome.n: outcome for outcome in answer.outcomes}
        fresh: dict[str, OutcomeMessage] = {}
        self.note_blocks(answer.blocks)
        for change in changes:
            if change.n > answer.last_n:
                break
            outcome = listed.get(change.n) or OutcomeMessage(
                n=change.n, id=change.id, kind=OutcomeKind.APPLIED
            )
            if outcome.id != change.id:
                raise InvariantBroken("I2", f"The outcome of {change} names {outcome.id}.")
            self._enter(change, request.replica, outcome, moment, fresh)
            self.last_n[request.replica] = max(self.last_n.get(request.replica, 0), change.n)
        return changes, fresh

    def _enter(
        self,
        change: PushedChange,
        replica: str,
        outcome: OutcomeMessage,
        moment: int,
        fresh: dict[str, OutcomeMessage],
    ) -> None:
        known_id = self.by_number.setdefault((replica, change.n), change.id)
        if known_id != change.id:
            raise InvariantBroken(
                "I2", f"Number {change.n} of {replica} was answered for two changes: {change}"
            )
        known = self.judged.get(change.id)
        if known is None:
            fresh[change.id] = outcome
            self.judged[change.id] = Judged(
                change=change, replica=replica, outcome=outcome, moment=moment
            )
            self.count(f"outcome {outcome.kind} {outcome.code or ''}".strip())
            return
        self.count("outcome told again")
        said_rejected = outcome.kind is OutcomeKind.REJECTED
        if said_rejected != known.is_rejected:
            raise InvariantBroken("I2", f"First {known.outcome.kind}, now {outcome.kind}: {change}")

    def check_page(self, request: PullRequest, page: Page, snapshot: Snapshot) -> None:
        """A checkpoint's `answered` and outcomes are those of its snapshot (design section 7)."""
        if not page.checkpoint:
            return
        expected = self.last_n.get(request.replica, 0)
        if page.answered != expected:
            raise InvariantBroken(
                "I1",
                f"The checkpoint says answered={page.answered}; the hub had answered {expected}"
                f" of {request.replica}.",
            )
        told = {outcome.n: outcome for outcome in page.outcomes}
        for n in range(request.known + 1, expected + 1):
            change_id = self.by_number[request.replica, n]
            judged = self.judged[change_id]
            outcome = told.get(n)
            if outcome is None or outcome.id != change_id:
                raise InvariantBroken("I1", f"The checkpoint leaves out the outcome of n{n}.")
            if (outcome.kind is OutcomeKind.REJECTED) != judged.is_rejected:
                raise InvariantBroken("I1", f"The checkpoint tells another outcome of n{n}.")
