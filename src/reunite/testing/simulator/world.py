"""The world of one run: a hub, replica files, the wire between them, and everyone who watches.

    actions ─► files, hub ─► wire, store ─► World (observes) ─► book ─► checkers

What it is       where the observers of wire and store meet the checkers, and where chance comes in.
What it is not   a schedule: `actions.py` says what happens, `simulator.py` in which order.
The rule         all chance of a step comes from `chance`, which `begin_step` makes from the seed
                 and the step's number alone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reunite.errors import ReuniteError
from reunite.protocol.codec import decode
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import PushAnswer, PushRequest
from reunite.protocol.register import RegisterAnswer
from reunite.replica import Replica
from reunite.testing.identity import SeededIds
from reunite.testing.packs import open_page
from reunite.testing.simulator.book import (
    Book,
    Delivered,
    InvariantBroken,
    Snapshot,
    pushed_changes,
)
from reunite.testing.simulator.checks.bounds import BoundsCheck
from reunite.testing.simulator.checks.hub import HubCheck
from reunite.testing.simulator.checks.push import PushCheck
from reunite.testing.simulator.checks.reader import Reader
from reunite.testing.simulator.checks.replica import ReplicaCheck
from reunite.testing.simulator.files import SimulatedFile
from reunite.testing.simulator.hubs import HubSide
from reunite.testing.simulator.mortal import ProcessKilled
from reunite.testing.simulator.streams import FakeStreams
from reunite.testing.simulator.tables import FACTS, Tables
from reunite.testing.simulator.writers import REFUSALS, Author, write_something
from reunite.testing.wire import FakeWire, Fault, Request, SeededFaults, WireObserver

# Lines of the story that a failure tells.
LINES_MAX = 400

# How often, while the wire is bad, somebody writes at the hub between numbering and snapshot.
INTRUSIONS = 0.12

# How often a replica's process dies just before a request, or just after its answer arrived.
DEATHS = 0.02

# How often the hub's process dies at a statement of a request, and of how many.
HUB_DEATHS = 0.03
HUB_STATEMENTS_MAX = 60

# Transactions that programs leave open at a hub where several can be, at one time.
OPEN_TRANSACTIONS_MAX = 2

# How often another process writes to a replica file while it waits for the hub.
MEDDLINGS = 0.05

_READER = "reader"


@dataclass(frozen=True, kw_only=True)
class _Built:
    """An answer of a pull, with the snapshot it was read from."""

    answer: bytes
    page: Page
    snapshot: Snapshot


class World(WireObserver):
    """One run's state. Call `begin_step` before anything happens in a step."""

    def __init__(self, *, seed: int, hub: str, folder: Path, live: bool = False) -> None:
        self.folder = folder
        self.step = 0
        self.is_calm = True
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.book = Book()
        self.files: list[SimulatedFile] = []
        self.meddle: Callable[[SimulatedFile], None] = lambda file: None
        self._seed = seed
        self._moment = 0
        self._is_intruding = False
        self._begun: Tables | None = None
        self._push_states: list[tuple[Tables, Tables]] = []
        self._program_step = -1
        self._programs = 0
        self._built: deque[_Built] = deque(maxlen=4)
        self.begin_step(0)
        self.hub = HubSide(hub, folder, new_id=SeededIds(seed))
        self.hub_check = HubCheck(
            self.hub.tables(),
            self.hub.last_change_id(),
            is_concurrent=self.hub.place is not None,
        )
        self._snapshot = Snapshot(moment=0, tables=self.hub_check.tables)
        self.push_check = PushCheck(self.book, restored=self.hub_check.restored)
        self.replica_check = ReplicaCheck(self.book)
        self.bounds_check = BoundsCheck()
        self._token = self.hub.hub.create_token("owner")
        self.streams = (
            FakeStreams(
                hub=lambda: self.hub.hub,
                token=self._token,
                snapshot=lambda: self._snapshot,
                book=self.book,
            )
            if live
            else None
        )
        self.hub.store.watcher = self
        self.wire = FakeWire(self.hub, choose=self._choose_fault, observer=self)
        self.reader = Reader(
            call=self.wire.transport(self._token, label=_READER).call,
            snapshot=lambda: self._snapshot,
        )

    def begin_step(self, step: int) -> None:
        """Everything by chance until the next call depends on the seed and this number alone."""
        self.step = step
        self.chance = random.Random(f"{self._seed}/{step}")

    def log(self, line: str) -> None:
        """Add a line to the story."""
        self.lines.append(f"{self.step:4}  {line}")

    def close(self) -> None:
        """Close everything."""
        for file in self.files:
            file.let_go()
        self.hub.close()

    # -- who is there -------------------------------------------------------------------------

    def add_file(self) -> SimulatedFile:
        """A new replica file, not cloned yet."""
        label = f"replica{len(self.files) + 1}"
        file = SimulatedFile(
            self.folder / f"{label}.db",
            transport=self.wire.transport(self._token, label=label),
            page_rows=self.chance.choice((1, 2, 3, 5, None)),
            on_checkpoint=self._revealed,
            now_ms=self.hub.clock.now_ms() + self.chance.choice((0, 0, -90_000, 70_000)),
        )
        self.files.append(file)
        return file

    def author(self, *, whole: bool, replaces: bool, keys: bool = False) -> Author:
        """A program that is about to write."""
        if self._program_step != self.step:
            self._program_step, self._programs = self.step, 0
        self._programs += 1
        return Author(
            chance=self.chance,
            step=self.step,
            program=self._programs,
            whole=whole,
            replaces=replaces,
            keys=self._leased_keys() if keys else {},
        )

    def _leased_keys(self) -> dict[str, list[int]]:
        """Keys that a replica may give next: the first ones of every block."""
        return {
            table: [first + offset for first, _ in blocks for offset in range(4)]
            for table, blocks in self.book.blocks.items()
        }

    # -- the hub's store ----------------------------------------------------------------------

    def numbered(self) -> None:
        with self.hub.look() as tx:
            commits = tx.commits(after=self.hub_check.last_seq, limit=10_000)
            last_change_id = tx.last_change_id()
        unnumbered = 0 if self.hub.place is None else self.hub.place.unnumbered()
        self.hub_check.numbered(commits, last_change_id, unnumbered=unnumbered)
        if not self.is_calm and not self._is_intruding and self.chance.random() < INTRUSIONS:
            self.book.count("intrusion")
            self.write_at_hub("between numbering and snapshot: ")

    def snapshot_begun(self) -> None:
        self._snapshot = Snapshot(moment=self._moment, tables=self.hub_check.tables)

    def write_begun(self) -> None:
        # One that was undone before may have been tried as another.
        self._begun = self.hub_check.tables

    def write_ended(self) -> None:
        # A death after this is an answer that was lost: the wire sees to those.
        self.hub.disarm()
        self._hub_moved()
        assert self._begun is not None, "what ends has begun"
        self._push_states.append((self._begun, self.hub_check.tables))

    def write_at_hub(self, who: str = "hub: ") -> None:
        """A transaction of a program that knows nothing of reunite."""
        self._is_intruding = True
        try:
            with self.hub.foreign_write(lambda line: self.log(who + line)) as writer:
                write_something(writer, self.author(whole=True, replaces=True, keys=True))
        except REFUSALS as exc:
            self.log(f"{who}rolled back: {exc}")
        finally:
            self._is_intruding = False
        self._hub_moved()

    def leave_open(self) -> None:
        """A program writes in a transaction that it leaves open, where others can write then."""
        place = self.hub.place
        if place is None or place.open_count >= OPEN_TRANSACTIONS_MAX:
            return
        try:
            with place.left_open(lambda line: self.log(f"hub, left open: {line}")) as writer:
                write_something(writer, self.author(whole=True, replaces=True, keys=True))
        except REFUSALS as exc:
            self.log(f"hub, left open: rolled back: {exc}")
        else:
            self.book.count("transaction left open")

    def end_open(self, *, commits: bool) -> None:
        """One of the open transactions ends; not always that which began first."""
        place = self.hub.place
        if place is None or place.open_count == 0:
            return
        index = self.chance.randrange(place.open_count)
        self.log(f"hub: open transaction {index + 1} ends: {'commit' if commits else 'rollback'}")
        place.end(index, commits=commits)
        self._hub_moved()

    def _hub_moved(self) -> None:
        before = self.hub_check.tables
        self._moment += 1
        tables = self.hub.tables()
        entries = self.hub.entries_after(self.hub_check.last_change_id)
        for entry in entries:
            if entry.old_key is not None and entry.old is not None:
                position = entry.old_columns.index("ident")
                self.push_check.moved.add(entry.old[position])  # type: ignore[arg-type]
        self.hub_check.moved(tables, entries)
        if tables != before:
            self.book.count("hub transaction")

    # -- the wire -----------------------------------------------------------------------------

    def _choose_fault(self, request: Request) -> Fault:
        if self.is_calm or request.label == _READER:
            return Fault.NONE
        return SeededFaults(chance=self.chance)(request)

    def sending(self, request: Request, fault: Fault) -> None:
        if fault is not Fault.NONE:
            self.book.count(f"fault {fault}")
            self.log(f"{request.label} {request.operation}: {fault}")
        if request.label != _READER:
            self.bounds_check.sending(request)
        self._perhaps_meddle(request)
        self._perhaps_kill(request, "before its request was sent")

    def arriving(self, request: Request) -> None:
        self._push_states = []
        is_reader = request.label == _READER
        if not (self.is_calm or is_reader) and self.chance.random() < HUB_DEATHS:
            self.hub.arm(self.chance.randrange(HUB_STATEMENTS_MAX))
        if request.operation == "push":
            self._told(request)

    def _told(self, request: Request) -> None:
        message = decode(request.body, PushRequest)
        changes = pushed_changes(message)
        self.log(
            f"{request.label} pushes as {message.replica[:6]} known={message.known}:"
            f" {'; '.join(str(change) for change in changes)}"
        )
        self.bounds_check.pushed(changes)
        for change in changes:
            self.push_check.sent(change)
        hub = self.hub_check
        self.push_check.check_families(changes, hub.tables, hub.led_astray)

    def answered(self, request: Request, answer: bytes) -> None:
        match request.operation:
            case "push":
                self._push_answered(request, decode(answer, PushAnswer))
            case "pull":
                self._pull_answered(request, answer)
            case "register":
                self.book.count("registration")
                message = decode(answer, RegisterAnswer)
                self.book.note_blocks(message.blocks)
                self.log(f"{request.label} is registered as {message.replica[:6]}")
            case _:
                pass

    def _push_answered(self, request: Request, answer: PushAnswer) -> None:
        message = decode(request.body, PushRequest)
        if answer.renumber is not None:
            self.book.count("renumber")
        told = ", ".join(
            f"n{outcome.n} {outcome.kind} {outcome.code or ''} {outcome.key or ''}".rstrip()
            + "".join(
                f" [{conflict.column or 'row'}: hub {conflict.hub}, replica {conflict.replica}"
                f" → {conflict.result}]"
                for conflict in outcome.conflicts
            )
            for outcome in answer.outcomes
        )
        self.log(
            f"  answered to n{answer.last_n}"
            + (f" ({told})" if told else "")
            + (f", renumber {answer.renumber}" if answer.renumber else "")
        )
        changes, fresh = self.book.note_push(message, answer, self._moment)
        if len(self._push_states) > 1:
            raise InvariantBroken("transactions", "A push is one transaction of the hub.")
        before, after = (self._push_states or [(self.hub_check.tables,) * 2])[0]
        self.push_check.answered(message, changes, fresh, before, after)

    def _pull_answered(self, request: Request, answer: bytes) -> None:
        page = open_page(answer)
        self.book.count("page")
        message = decode(request.body, PullRequest)
        self.bounds_check.pulled(message, page)
        self.book.check_page(message, page, self._snapshot)
        self._built.append(_Built(answer=answer, page=page, snapshot=self._snapshot))

    def refused(self, request: Request, error: ReuniteError) -> None:
        if isinstance(error.__cause__, ProcessKilled):
            self.book.count("death of the hub")
        self.book.count(f"refused {error.code}")
        self.log(f"  {request.label} {request.operation} refused: {error.code} {error.message}")
        if self.hub.tables() != self.hub_check.tables:
            raise InvariantBroken("I2", f"A {request.operation} was refused and had an effect.")

    def received(self, request: Request, answer: bytes) -> None:
        if request.operation == "pull" and request.label != _READER:
            built = next(item for item in reversed(self._built) if item.answer is answer)
            self.log(f"{request.label} pulls {_described(built.page)}")
            if built.page.checkpoint:
                message = decode(request.body, PullRequest)
                self._file(request.label).memory.delivered = Delivered(
                    page=built.page, replica=message.replica, snapshot=built.snapshot
                )
        self._perhaps_meddle(request)
        self._perhaps_kill(request, "before it took the answer in")

    def _perhaps_meddle(self, request: Request) -> None:
        if self.is_calm or request.label == _READER or self.chance.random() >= MEDDLINGS:
            return
        file = self._file(request.label)
        if file.is_cloned:
            self.meddle(file)

    def _perhaps_kill(self, request: Request, when: str) -> None:
        if self.is_calm or request.label == _READER or self.chance.random() >= DEATHS:
            return
        self.book.count("death")
        self.log(f"{request.label} dies {when}")
        raise ProcessKilled

    def _file(self, label: str) -> SimulatedFile:
        return next(file for file in self.files if file.label == label)

    # -- replica files ------------------------------------------------------------------------

    def _revealed(self, file: SimulatedFile, replica: Replica) -> None:
        self.replica_check.revealed(file, replica)
        self.bounds_check.revealed(file)
        if not self.is_calm and self.chance.random() < DEATHS:
            self.book.count("death")
            self.log(f"{file.label} dies after its checkpoint")
            raise ProcessKilled

    def look_at(self, file: SimulatedFile) -> None:
        """Check a file at rest."""
        if file.is_cloned:
            self.replica_check.looked(file, file.look())


def _described(page: Page) -> str:
    parts = [
        f"{part.table} "
        + " ".join(
            [f"+{list(FACTS[part.table].key_of(row))}" for row in part.puts]
            + [f"-{list(key)}" for key in (*part.deletes, *part.evicts)]
        )
        for part in page.tables
    ]
    kind = "reset " * page.reset + "checkpoint " * page.checkpoint
    answered = "" if page.answered is None else f"answered={page.answered} mark={page.mark} "
    return f"{kind}{answered}{', '.join(parts) or 'nothing'}"
