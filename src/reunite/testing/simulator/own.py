"""The simulator on a team's own tables: their schema, their programs, what must always hold.

    OwnTables (schema, track, stories, invariants) ─► OwnWorld ─► the same hub, replicas, bad wire

What it is       a world without the shop: it knows of the tables only what a hub knows of them.
What it is not   a second opinion on merging: that needs tables whose meaning it knows (`world.py`).
The rule         as in `world.py`: all chance of a step follows from the seed and the step's number.

    after each transaction of the hub   foreign keys hold, the team's invariants hold
    at each checkpoint of a replica     what it knows of the hub is what the page's snapshot held
    after each checkpoint with nothing pending, the invariants hold in the replica's file
    when the wire has healed            nothing is pending, and all tables are the hub's
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from reunite.core.schema import TableSchema
from reunite.engine.ports import Store
from reunite.errors import HubUnreachableError
from reunite.hub import Hub
from reunite.replica import Replica
from reunite.testing.clock import FakeClock
from reunite.testing.identity import SeededIds
from reunite.testing.packs import open_page
from reunite.testing.simulator.book import Delivered, InvariantBroken, Snapshot
from reunite.testing.simulator.files import SimulatedFile
from reunite.testing.simulator.hubs import WatchedSqlStore
from reunite.testing.simulator.mortal import MortalDatabase, ProcessKilled
from reunite.testing.simulator.stories import made_stories
from reunite.testing.simulator.telling import TellingWorld
from reunite.testing.wire import FakeWire, Request

Story: TypeAlias = Callable[[sqlite3.Connection, random.Random], None]
Invariant: TypeAlias = Callable[[sqlite3.Connection], None]

REPLICAS = 3
ROUNDS_MAX = 12
BACKUPS_MAX = 3
DEATHS = 0.1
STATEMENTS_MAX = 150

# Shares of what may happen in a step.
_ACTIONS = {
    "write_at_hub": 16,
    "write_group": 24,
    "write_program": 12,
    "sync": 34,
    "deliver_late": 5,
    "back_up": 2,
    "restore": 2,
    "jump": 2,
}


@dataclass(frozen=True, kw_only=True)
class OwnTables:
    """What the simulator needs to know of a team's tables.

    schema       SQL that makes them (and first rows) in an empty SQLite database, or a function
                 that does so with a connection: a migration, or an ORM's `create_all`
    track        tracks them: `lambda hub: hub.track("product", merge={"stock": "counter"})`
    stories      what programs write, at the hub and in replicas: each is called with a connection
                 in an open transaction and a `random.Random`, which must be its only chance.
                 Without any, rows are made, changed and deleted by what the schema says.
    invariants   each is called with a connection to read from, and raises AssertionError where
                 something does not hold that must hold after every transaction

    A story that meets `sqlite3.IntegrityError` is rolled back, as a program would.
    """

    schema: str | Callable[[sqlite3.Connection], None]
    track: Callable[[Hub], None]
    stories: Sequence[Story] = ()
    invariants: Sequence[Invariant] = ()


class OwnWorld(TellingWorld):
    """One run on a team's tables."""

    def __init__(self, tables: OwnTables, *, seed: int, folder: Path) -> None:
        super().__init__(seed=seed, folder=folder)
        self._tables = tables
        self._files: list[SimulatedFile] = []
        self._moment = 0
        self._snapshots: dict[int, dict[str, Any]] = {}
        self._snapshot = 0
        self._built: list[tuple[bytes, int]] = []
        self._closing = ExitStack()
        try:
            self._open(folder / "hub.db", SeededIds(seed))
        except BaseException:
            self._closing.close()
            raise

    def _open(self, path: Path, ids: SeededIds) -> None:
        tables = self._tables
        self._db = self._closing.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")
        if callable(tables.schema):
            tables.schema(self._db)
        else:
            self._db.executescript(tables.schema)
        self._db.execute("pragma foreign_keys = on")
        database = MortalDatabase(path)
        self._closing.callback(database.bury)
        self._store = WatchedSqlStore(database, new_epoch=ids)
        self._clock = FakeClock()
        self._hub = Hub(cast(Store, self._store), clock=self._clock, new_id=ids)
        self._closing.callback(self._hub.close)
        tables.track(self._hub)
        self._token = self._hub.create_token("owner")
        answer = self._hub.schema(self._hub.authenticate(self._token))
        self._schemas: dict[str, TableSchema] = {schema.name: schema for schema in answer.tables}
        self._stories = tuple(tables.stories) or made_stories(self._schemas)
        self._store.watcher = self
        self._wire = FakeWire(self._hub, choose=self._choose_fault, observer=self)

    # -- a life -------------------------------------------------------------------------------

    def live(self, numbers: Sequence[int], steps: int) -> None:
        """Begin, hurt, heal, agree. Raises InvariantBroken, AssertionError, or what broke."""
        self._begin_step(0)
        for _ in range(REPLICAS):
            self._clone()
        self._is_calm = False
        for number in numbers:
            self._begin_step(number)
            for clock in (self._clock, *(file.clock for file in self._files)):
                clock.advance(self._chance.randrange(1, 2_000))
            name = self._chance.choices([*_ACTIONS], [*_ACTIONS.values()])[0]
            self._count(name)
            getattr(self, f"_{name}")()
        self._begin_step(steps + 1)
        self._heal()

    def close(self) -> None:
        """Close everything."""
        for file in self._files:
            file.let_go()
        self._closing.close()

    def _begin_step(self, step: int) -> None:
        self.step = step
        self._chance = random.Random(f"{self._seed}/{step}")

    def _heal(self) -> None:
        self._is_calm = True
        self._wire.deliver_all_late()
        for _ in range(ROUNDS_MAX):
            for file in self._files:
                file.opened().sync()
            if all(file.opened().status().pending == 0 for file in self._files):
                break
        for _ in range(2):
            for file in self._files:
                file.opened().sync()
        hub = self._rows()
        for file in self._files:
            replica = file.opened()
            if replica.status().pending:
                raise InvariantBroken("I9", f"{file.label} is stuck: {replica.status()}")
            self._compare(file, replica, hub, "I4")

    # -- what happens -------------------------------------------------------------------------

    def _clone(self) -> None:
        label = f"replica{len(self._files) + 1}"
        file = SimulatedFile(
            self.folder / f"{label}.db",
            transport=self._wire.transport(self._token, label=label),
            page_rows=self._chance.choice((1, 2, 3, 5, None)),
            on_checkpoint=self._revealed,
            now_ms=self._clock.now_ms() + self._chance.choice((0, -90_000, 70_000)),
        )
        self._files.append(file)
        file.clone()

    def _write_at_hub(self) -> None:
        self._tell_story("hub", self._db)
        self._hub_moved()

    def _write_group(self) -> None:
        file = self._pick()
        try:
            with file.opened().transaction() as db:
                self._log(f"{file.label}: a group")
                self._chance.choice(self._stories)(db, self._chance)
        except sqlite3.IntegrityError as exc:
            self._log(f"{file.label}: rolled back: {exc}")

    def _write_program(self) -> None:
        file = self._pick()
        self._tell_story(file.label, file.program(foreign_keys=True))

    def _tell_story(self, who: str, db: sqlite3.Connection) -> None:
        db.execute("begin immediate")
        try:
            self._log(f"{who}: a program")
            self._chance.choice(self._stories)(db, self._chance)
            db.execute("commit")
        except sqlite3.IntegrityError as exc:
            self._log(f"{who}: rolled back: {exc}")
            db.execute("rollback")

    def _sync(self) -> None:
        file = self._pick()
        replica = file.opened()
        if self._chance.random() < DEATHS:
            file.doom.arm(self._chance.randrange(STATEMENTS_MAX))
        use_case = self._chance.choice((replica.push, replica.pull, replica.sync, replica.sync))
        try:
            self._log(f"{file.label}: {use_case.__name__}")
            use_case()
        except HubUnreachableError as exc:
            self._log(f"{file.label}: gives up: {exc}")
        except ProcessKilled:
            self._count("death")
            self._log(f"{file.label}: dies at a statement")
            file.die()
        finally:
            file.doom.disarm()

    def _deliver_late(self) -> None:
        if self._wire.late:
            self._wire.deliver_late(self._chance.randrange(len(self._wire.late)))

    def _back_up(self) -> None:
        file = self._pick()
        if len(file.backups) < BACKUPS_MAX:
            path = self.folder / f"{file.label}.backup{len(file.backups)}"
            file.backups.append(file.backup(path))

    def _restore(self) -> None:
        file = self._pick()
        if file.backups:
            self._log(f"{file.label}: is restored from an older copy")
            file.restore(self._chance.choice(file.backups))

    def _jump(self) -> None:
        clock = self._chance.choice([self._clock, *(file.clock for file in self._files)])
        clock.jump(self._chance.choice((-3_600_000, -5_000, 5_000, 86_400_000)))

    def _pick(self) -> SimulatedFile:
        return self._chance.choice(self._files)

    # -- who watches --------------------------------------------------------------------------

    def numbered(self) -> None:
        """Numbering is done: nothing to see."""

    def snapshot_begun(self) -> None:
        """A read transaction has begun: what it sees is what is there now."""
        self._snapshot = self._moment
        if self._moment not in self._snapshots:
            self._snapshots[self._moment] = self._rows()

    def write_begun(self) -> None:
        """A write transaction has begun: nothing to see."""

    def write_ended(self) -> None:
        """A write transaction of the hub has committed."""
        self._hub_moved()

    def answered(self, request: Request, answer: bytes) -> None:
        if request.operation == "pull":
            self._built = [*self._built[-3:], (answer, self._snapshot)]

    def received(self, request: Request, answer: bytes) -> None:
        if request.operation != "pull":
            return
        page = open_page(answer)
        if page.checkpoint:
            moment = next(moment for built, moment in reversed(self._built) if built is answer)
            file = next(file for file in self._files if file.label == request.label)
            file.memory.delivered = Delivered(
                page=page,
                replica="",
                snapshot=Snapshot(moment=moment, tables=self._snapshots[moment]),
            )

    def _hub_moved(self) -> None:
        self._moment += 1
        self._count("hub transaction")
        broken = self._db.execute("pragma foreign_key_check").fetchall()
        if broken:
            raise InvariantBroken("foreign keys", f"They do not hold at the hub: {broken}")
        for invariant in self._tables.invariants:
            invariant(self._db)

    def _revealed(self, file: SimulatedFile, replica: Replica) -> None:
        delivered = file.memory.delivered
        if delivered is None:
            raise InvariantBroken("I4", f"{file.label} shows a checkpoint that nobody sent.")
        self._count("checkpoint")
        self._compare(file, replica, delivered.snapshot.tables, "I4")
        if replica.status().pending == 0:
            with closing(sqlite3.connect(file.path)) as db:
                for invariant in self._tables.invariants:
                    invariant(db)

    def _rows(self) -> dict[str, Any]:
        """All rows of the hub by table and key."""
        with self._store.read_unwatched() as tx:
            return {
                name: {
                    schema.key_of(row): row for row in tx.scan(name, after=None, limit=1_000_000)
                }
                for name, schema in self._schemas.items()
            }

    @staticmethod
    def _compare(
        file: SimulatedFile, replica: Replica, hub: Mapping[str, Any], invariant: str
    ) -> None:
        for name, truth in hub.items():
            base = replica.base_rows(name)
            for key in base.keys() | truth.keys():
                if base.get(key) != truth.get(key):
                    raise InvariantBroken(
                        invariant,
                        f"{file.label} believes that the hub's {name}{list(key)} is"
                        f" {base.get(key)}; it was {truth.get(key)}.",
                    )


__all__ = ["Invariant", "OwnTables", "OwnWorld", "Story"]
