"""Replica files: opening, crashing, copying and restoring them, and reading what is in them.

What it is       the one place that knows where a replica file keeps its outbox and parked changes.
What it is not   a judge (`checks/replica.py`), or a way to write reunite's tables.
The rule         everything the checkers remember of a file is in `Memory`, so that an older copy of
                 the file comes back together with what was known when it was made.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from reunite.core.change import Op
from reunite.replica import Replica
from reunite.replica.transport import Transport
from reunite.testing.clock import FakeClock
from reunite.testing.simulator.book import Captured, Delivered
from reunite.testing.simulator.mortal import Doom, bury, make_mortal
from reunite.testing.simulator.tables import Scalar, Tables, read_tables


@dataclass(frozen=True, kw_only=True)
class Written:
    """A transaction that a program committed to a file, and what the triggers captured of it."""

    step: int
    before: Tables
    after: Tables
    captured: tuple[Captured, ...]


@dataclass(kw_only=True)
class Memory:
    """What the checkers remember of a file.

    `unsettled` are the changes in its outbox when it was last looked at, by id; `writings` are
    the transactions of programs of which some change had no number yet.
    """

    delivered: Delivered | None = None
    unsettled: dict[str, Captured] = field(default_factory=dict)
    writings: list[Written] = field(default_factory=list)

    def copy(self) -> Memory:
        """The same, for a copy of the file."""
        return Memory(
            delivered=self.delivered,
            unsettled=dict(self.unsettled),
            writings=list(self.writings),
        )


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A copy of a file, with what was known of it when it was made."""

    path: Path
    memory: Memory


class SimulatedFile:
    """A replica file with its clock. `replica` is None until it has been cloned, or is down."""

    def __init__(
        self,
        path: Path,
        *,
        transport: Transport,
        page_rows: int | None,
        on_checkpoint: Callable[[SimulatedFile, Replica], None],
        now_ms: int,
    ) -> None:
        self.path = path
        self.label = path.stem
        self.memory = Memory()
        self.clock = FakeClock(now_ms)
        self.replica: Replica | None = None
        self.doom = Doom()
        self.is_cloned = False
        self.is_copied = False
        self.backups: list[Backup] = []
        self._transport = transport
        self._page_rows = page_rows
        self._on_checkpoint = on_checkpoint
        self._program: sqlite3.Connection | None = None
        self._looking: sqlite3.Connection | None = None
        self._seen: tuple[int, FileState] | None = None

    # -- its life -----------------------------------------------------------------------------

    def clone(self) -> None:
        """Clone, or go on with a clone that broke off."""
        replica = Replica.clone(
            self.path,
            transport=self._transport,
            clock=self.clock,
            page_rows=self._page_rows,
            on_checkpoint=lambda replica: self._on_checkpoint(self, replica),
        )
        self.replica = replica
        self.doom = make_mortal(replica)
        self.is_cloned = True

    def opened(self) -> Replica:
        """The replica, opened again if it is down."""
        if self.replica is None:
            self.replica = Replica(
                self.path,
                transport=self._transport,
                clock=self.clock,
                page_rows=self._page_rows,
                on_checkpoint=lambda replica: self._on_checkpoint(self, replica),
            )
            self.doom = make_mortal(self.replica)
        return self.replica

    def another(self) -> Replica:
        """The file, opened a second time: another process of this device. The caller closes it."""
        return Replica(self.path, transport=self._transport, clock=self.clock)

    def die(self) -> None:
        """The process ends; what it had not committed is gone."""
        if self.replica is not None:
            bury(self.replica)
            self.replica = None

    def backup(self, path: Path) -> Backup:
        """Copy the file as it is now to another path."""
        target = sqlite3.connect(path)
        self.program(foreign_keys=False).backup(target)
        target.close()
        return Backup(path=path, memory=self.memory.copy())

    def restore(self, backup: Backup) -> None:
        """Make the file what it was when the backup was made."""
        self.let_go()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(backup.path, self.path)
        self.memory = backup.memory.copy()
        self.is_cloned = self.is_copied = True

    # -- what is in it ------------------------------------------------------------------------

    def program(self, *, foreign_keys: bool) -> sqlite3.Connection:
        """The connection of a program that writes to the file.

        One connection serves them all: opening one costs SQLite the reading of every trigger.
        """
        if self._program is None:
            self._program = self._connected()
        self._program.execute(f"pragma foreign_keys = {'on' if foreign_keys else 'off'}")
        return self._program

    def look(self) -> FileState:
        """Tables, outbox and parked changes, in one read; nothing is read if nothing changed."""
        if self._looking is None:
            self._looking = self._connected()
            self._seen = None
        db = self._looking
        (version,) = db.execute("pragma data_version").fetchone()
        if self._seen is None or self._seen[0] != version:
            db.execute("begin")
            state = FileState(
                tables=read_tables(db),
                outbox=read_outbox(db),
                last_id=_last_id(db),
                parked={uid for (uid,) in db.execute("select uid from reunite_parked")},
                conflicts={uid for (uid,) in db.execute("select uid from reunite_conflict")},
                identity=_state(db, "replica"),
                checkpoint=_state(db, "checkpoint"),
            )
            db.execute("commit")
            self._seen = version, state
        return self._seen[1]

    def stored(self) -> tuple[int, int, int]:
        """How many pages wait in the file, rows of the hub it keeps beside its own, and changes
        are pending."""
        self.look()
        assert self._looking is not None, "`look` has opened it"
        (counts,) = self._looking.execute(
            "select (select count(*) from reunite_inbox), (select count(*) from reunite_base),"
            " (select count(*) from reunite_change)"
        )
        waiting, kept, pending = counts
        return waiting, kept, pending

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=0)

    def let_go(self) -> None:
        """Close what is open; the file may be replaced then."""
        self.die()
        for db in (self._program, self._looking):
            if db is not None:
                db.close()
        self._program = self._looking = None


@dataclass(frozen=True, kw_only=True)
class FileState:
    """What a file holds at a moment."""

    tables: Tables
    outbox: list[Captured]
    last_id: int
    parked: set[str]
    conflicts: set[str]
    identity: str
    checkpoint: str


def read_outbox(db: sqlite3.Connection) -> list[Captured]:
    """The outbox, oldest first."""
    rows = db.execute(
        "select id, uid, n, grp, table_name, op, key, old_key, old, row from reunite_outbox"
        " order by id"
    )
    return [
        Captured(
            id=change_id,
            uid=uid,
            n=n,
            group=group,
            table=table,
            op=Op(op),
            key=_tuple(key) or (),
            old_key=_tuple(old_key),
            old=_tuple(old),
            row=_tuple(row),
        )
        for change_id, uid, n, group, table, op, key, old_key, old, row in rows
    ]


def _last_id(db: sqlite3.Connection) -> int:
    """The largest id that the outbox ever gave."""
    row = db.execute("select seq from sqlite_sequence where name = 'reunite_change'").fetchone()
    return int(row[0]) if row else 0


def _tuple(text: str | None) -> tuple[Scalar, ...] | None:
    return None if text is None else msgspec.json.decode(text, type=tuple[Scalar, ...])


def _state(db: sqlite3.Connection, name: str) -> str:
    row = db.execute("select value from reunite_state where name = ?", (name,)).fetchone()
    return "" if row is None else str(msgspec.json.decode(row[0]) or "")
