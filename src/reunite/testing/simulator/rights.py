"""A world in which rights change all the time: rules, column rules, claims, rows that move.

    programs at the hub ─┐                             ┌─► each page, each answer: whose canaries?
    devices of four ─────┼─► the same hub, bad wire ───┼─► each file after a sync: what is left?
    rules, erasures, undo┘                             └─► the hub after a push: who may that?

What it is       a world beside the shop's (`world.py`), with the same faults: requests that are
                 lost, late or doubled, processes that die at a statement, older copies of files.
What it is not   a judge of what is merged: the shop's checkers are.
The rule         as in `world.py`: all chance of a step follows from the seed and the step's number.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reunite.core.columns import Column
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.engine.ports import Store
from reunite.errors import HubUnreachableError, StorageUnavailableError
from reunite.hub import Hub
from reunite.stores.sql import SqlStore
from reunite.testing.clock import FakeClock
from reunite.testing.identity import SeededIds
from reunite.testing.simulator.book import InvariantBroken
from reunite.testing.simulator.checks.rights import RightsCheck
from reunite.testing.simulator.files import SimulatedFile
from reunite.testing.simulator.mortal import MortalDatabase, ProcessKilled
from reunite.testing.simulator.rights_tables import (
    COLUMN_READS,
    COLUMN_WRITES,
    COLUMNS,
    DDL,
    KINDS,
    ORGS,
    RULED,
    TEAMS,
    TENANTS,
    USERS,
)
from reunite.testing.simulator.telling import TellingWorld
from reunite.testing.wire import FakeWire, Fault, Request

if TYPE_CHECKING:
    from reunite.testing.simulator.postgresql import MortalPostgresDatabase, PostgresPlace


# Steps are shorter than those of the shop.
STEPS_FACTOR = 2

# How often somebody writes at the hub between the pages of a sync, how often a process dies at one
# of its next statements, and how many files are kept to come back.
INTRUSIONS = 0.1
DEATHS = 0.06
STATEMENTS_MAX = 150
HUB_DEATHS = 0.02
HUB_STATEMENTS_MAX = 60
BACKUPS_MAX = 2

# Rounds in which everybody meets at the end.
ROUNDS = 3

# Shares of what may happen in a step.
_ACTIONS = {
    "write_at_hub": 32,
    "write": 24,
    "sync": 26,
    "change_claims": 10,
    "change_rules": 5,
    "erase": 3,
    "undo": 3,
    "deliver_late": 5,
    "back_up": 2,
    "restore": 2,
    "restart": 1,
}

Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class RightsHub:
    """The hub, its database, and principals that change while their tokens stay."""

    def __init__(self, kind: str, folder: Path, *, new_id: Callable[[], str]) -> None:
        self.clock = FakeClock()
        self.principals: dict[str, Principal] = {}
        self.path: Path | None = None
        self._new_id = new_id
        self._place: PostgresPlace | None = None
        self._database: MortalDatabase | MortalPostgresDatabase
        self._db: sqlite3.Connection | None = None
        if kind == "postgresql":
            from reunite.testing.simulator.postgresql import MortalPostgresDatabase, PostgresPlace

            self._place = PostgresPlace(DDL)
            self._database = MortalPostgresDatabase(self._place.url)
        else:
            self.path = folder / "hub.db"
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.executescript("pragma journal_mode = wal; pragma synchronous = off;" + DDL)
            self._db.execute("pragma foreign_keys = on")
            self._database = MortalDatabase(self.path)
        self._begin()

    def _begin(self) -> None:
        store: Any = SqlStore(self._database, new_epoch=self._new_id)
        self.hub = Hub(cast(Store, store), clock=self.clock, new_id=self._new_id)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """A statement of a program that knows nothing of reunite; its rows."""
        if self._db is not None:
            return self._db.execute(sql, values).fetchall()
        assert self._place is not None, "one of the two is there"
        cursor = self._place.program.execute(sql.replace("?", "%s").encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    # -- its front door -----------------------------------------------------------------------

    def authenticate(self, token: str) -> Principal:
        """Whose token this is, with the rights of this moment."""
        return self.principals[token]

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        """As `Hub`; if the process dies over it, another one begins, and nothing was answered."""
        with self._dying():
            return self.hub.answer(operation, body, principal)

    @contextmanager
    def _dying(self) -> Iterator[None]:
        try:
            yield
        except ProcessKilled as exc:
            self.restart()
            raise StorageUnavailableError("The hub died at a statement.") from exc
        finally:
            self._database.doom.disarm()

    def arm(self, statements: int) -> None:
        """The hub's process dies instead of its statement of this number."""
        self._database.doom.arm(statements)

    def restart(self) -> None:
        """The hub's process is gone; another one opens the same database."""
        self._database.bury()
        again: Any = type(self._database)
        self._database = again(self._database.path)
        self._begin()
        self.hub.adopt()

    def close(self) -> None:
        """Release the database."""
        self.hub.close()
        self._database.bury()
        if self._db is not None:
            self._db.close()
        if self._place is not None:
            self._place.close()


class RightsWorld(TellingWorld):
    """One run."""

    def __init__(self, *, seed: int, hub: str, folder: Path) -> None:
        super().__init__(seed=seed, folder=folder)
        self._texts = 0
        self._files: dict[str, SimulatedFile] = {}
        self._closing = ExitStack()
        self._hub = RightsHub(hub, folder, new_id=SeededIds(seed))
        self._closing.callback(self._hub.close)
        self._check = RightsCheck(
            fetch=lambda table: self._hub.execute(
                f"select {', '.join(COLUMNS[table])} from {table}"
            ),
            principals=self._hub.principals,
        )
        self._wire = FakeWire(self._hub, choose=self._choose_fault, observer=self)

    # -- a life -------------------------------------------------------------------------------

    def live(self, numbers: Sequence[int], steps: int) -> None:
        """Begin, hurt, heal, agree. Raises InvariantBroken, or what broke."""
        self._begin_step(0)
        for table in COLUMNS:
            for named in self._check.rows(table):
                self._check.note(table, named["id"], named)
        for table in COLUMNS:
            self._rule(table)
        for index, name in enumerate(USERS):
            self._hub.principals[name] = self._principal(name, ORGS[index // 2])
            file = SimulatedFile(
                self.folder / f"{name}.db",
                transport=self._wire.transport(name, label=name),
                page_rows=(None, 1, 2, 5)[index],
                on_checkpoint=lambda file, replica: None,
                now_ms=self._hub.clock.now_ms() + self._chance.choice((0, -90_000, 70_000)),
            )
            self._files[name] = file
            file.clone()
        self._is_calm = False
        for number in numbers:
            for half in range(STEPS_FACTOR):
                self._begin_step(number, half)
                self._happen()
        self._begin_step(steps + 1)
        self._heal()

    def close(self) -> None:
        """Close everything."""
        for file in self._files.values():
            file.let_go()
        self._closing.close()

    def _begin_step(self, step: int, half: int = 0) -> None:
        self.step = step
        self._chance = random.Random(f"{self._seed}/{step}/{half}")
        self._texts = 1_000 * (STEPS_FACTOR * step + half + 1)

    def _happen(self) -> None:
        for clock in (self._hub.clock, *(file.clock for file in self._files.values())):
            clock.advance(self._chance.randrange(1, 3_000))
        name = self._chance.choices([*_ACTIONS], [*_ACTIONS.values()])[0]
        self._count(name)
        getattr(self, f"_{name}")()

    def _heal(self) -> None:
        """Everybody meets; each has what is theirs to see."""
        self._is_calm = True
        self._wire.deliver_all_late()
        for _ in range(ROUNDS):
            for name in USERS:
                self._files[name].opened().sync()
                self._look_into(name)
        for name, file in self._files.items():
            if file.opened().status().pending:
                raise InvariantBroken("I9", f"{name} is stuck: {file.opened().status()}")
        if self._check.erased and self._hub.path is not None:
            self._hub.hub.scrub()
            self._check.check_erased(self._hub.path)

    # -- rights -------------------------------------------------------------------------------

    def _principal(self, name: str, org: str) -> Principal:
        teams = self._chance.sample(TEAMS, self._chance.randrange(3))
        roles = ("boss",) if self._chance.random() < 0.3 else ()
        return Principal(user=name, tenant=org, roles=roles, claims={"teams": teams})

    def _change_claims(self) -> None:
        name = self._chance.choice(USERS)
        known = self._hub.principals[name]
        self._hub.principals[name] = self._principal(name, str(known.tenant))
        self._log(f"{name} is {self._hub.principals[name]}")

    def _change_rules(self) -> None:
        self._rule(self._chance.choice(list(COLUMNS)))

    def _rule(self, table: str) -> None:
        check, kinds = self._check, KINDS[table]
        check.read[table], check.write[table] = (self._chance.choice(kinds) for _ in range(2))
        write = check.write[table][0]
        columns = {}
        for name in RULED.get(table, ()):
            read, check.read_columns[table, name] = self._chance.choice(COLUMN_READS)
            check.write_columns[table, name] = self._chance.choice(COLUMN_WRITES[name])
            columns[name] = Column(read=read, write=check.write_columns[table, name][0])
        rules = Rules(
            read=check.read[table][0], insert=write, update=write, delete=write, columns=columns
        )
        self._log(f"rules of {table}: {rules}")
        self._hub.hub.track(table, tenant=TENANTS[table], rules=rules)

    # -- what is written ----------------------------------------------------------------------

    def _text(self) -> str:
        self._texts += 1
        return f"CANARY{self._texts};"

    def _values(self, table: str, org: str, known: Mapping[str, list[str]]) -> dict[str, Any]:
        chance = self._chance
        if table == "memo":
            task = chance.choice((*known["task"], None))
            return {"author": chance.choice(USERS), "task_id": task, "body": self._text()}
        wanted: dict[str, Any] = {"org": org if chance.random() < 0.9 else chance.choice(ORGS)}
        wanted |= {"team": chance.choice((*TEAMS, None)), "title": self._text()}
        if table == "task":
            project = chance.choice((*known["project"], None))
            wanted |= {"owner": chance.choice(USERS), "project_id": project, "body": self._text()}
        return wanted

    def _change_a_row(
        self, who: str, execute: Execute, org: str, columns: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        """A change of some row, in columns that there are; what it set."""
        chance = self._chance
        table = chance.choice(("project", "task", "task", "memo"))
        known = {
            name: [key for (key,) in execute(f"select id from {name} order by 1", ())]
            for name in COLUMNS
        }
        drawn = chance.random()
        wanted = {
            name: value
            for name, value in self._values(table, org, known).items()
            if name in columns[table]
        }
        if not known[table] or drawn < 0.3:
            wanted = {"id": f"k{self._text()[6:-1]}", **wanted}
            self._check.note(table, wanted["id"], wanted)
            self._log(f"{who}: insert into {table} {wanted}")
            names, marks = ", ".join(wanted), ", ".join("?" * len(wanted))
            execute(f"insert into {table} ({names}) values ({marks})", [*wanted.values()])
            return wanted
        key = chance.choice(known[table])
        if drawn < 0.4:
            self._log(f"{who}: delete {table} {key}")
            execute(f"delete from {table} where id = ?", [key])
            return {}
        changed = {name: wanted[name] for name in chance.sample(list(wanted), min(2, len(wanted)))}
        self._check.note(table, key, changed)
        self._log(f"{who}: update {table} {key} {changed}")
        sets = ", ".join(f"{name} = ?" for name in changed)
        execute(f"update {table} set {sets} where id = ?", [*changed.values(), key])
        return changed

    def _write_at_hub(self) -> None:
        self._change_a_row("hub", self._hub.execute, self._chance.choice(ORGS), COLUMNS)
        self._check.look()

    def _write(self) -> None:
        name = self._chance.choice(USERS)
        org = str(self._hub.principals[name].tenant)
        with self._files[name].opened().transaction() as db:

            def execute(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
                return db.execute(sql, values).fetchall()

            columns = {
                table: [found[1] for found in execute(f"pragma table_info({table})", ())]
                for table in COLUMNS
            }
            for _ in range(self._chance.randrange(1, 3)):
                self._check.wrote(name, self._change_a_row(name, execute, org, columns))

    def _erase(self) -> None:
        """Somebody asks to be forgotten."""
        table = self._chance.choice(list(COLUMNS))
        found = [named["id"] for named in self._check.rows(table)]
        if not found:
            return
        key = self._chance.choice(sorted(found))
        self._log(f"hub: erase {table} {key}")
        report = self._hub.hub.erase(table, (key,))
        self._check.look()
        self._check.erase({(each.table, str(each.key[0])) for each in report.erased})
        if self._hub.path is not None:
            self._check.check_erased(self._hub.path)

    def _undo(self) -> None:
        """Somebody takes back what was done lately; not all of it may be possible."""
        head = self._hub.hub.number()
        if head.seq > 1:
            seq = self._chance.randrange(max(1, head.seq - 20), head.seq + 1)
            self._log(f"hub: undo {seq}")
            self._hub.hub.undo(seq)
            self._check.look()

    # -- devices ------------------------------------------------------------------------------

    def _sync(self) -> None:
        name = self._chance.choice(USERS)
        file = self._files[name]
        replica = file.opened()
        if self._chance.random() < DEATHS:
            file.doom.arm(self._chance.randrange(STATEMENTS_MAX))
        try:
            self._log(f"{name}: sync")
            replica.sync()
        except HubUnreachableError as exc:
            self._log(f"{name}: gives up: {exc}")
            return
        except ProcessKilled:
            self._count("death")
            self._log(f"{name}: dies at a statement")
            file.die()
            return
        finally:
            file.doom.disarm()
        self._look_into(name)

    def _look_into(self, name: str) -> None:
        file = self._files[name]
        if not file.opened().status().pending:
            self._count("look into a file")
            self._check.check_file(name, file.path)

    def _deliver_late(self) -> None:
        if self._wire.late:
            self._wire.deliver_late(self._chance.randrange(len(self._wire.late)))

    def _back_up(self) -> None:
        name = self._chance.choice(USERS)
        file = self._files[name]
        if len(file.backups) < BACKUPS_MAX:
            path = self.folder / f"{name}.backup{len(file.backups)}"
            file.backups.append(file.backup(path))
            file.let_go()  # whoever reads a file all the time keeps what was in its log

    def _restore(self) -> None:
        name = self._chance.choice(USERS)
        file = self._files[name]
        if file.backups:
            self._log(f"{name}: is restored from an older copy")
            file.restore(self._chance.choice(file.backups))

    def _restart(self) -> None:
        self._log("hub: another process")
        self._hub.restart()

    # -- who watches --------------------------------------------------------------------------

    def sending(self, request: Request, fault: Fault) -> None:
        """Between the pages of a sync, somebody writes at the hub."""
        if not self._is_calm and fault is Fault.NONE and self._chance.random() < INTRUSIONS:
            self._write_at_hub()

    def arriving(self, request: Request) -> None:
        self._check.arriving(request)
        if not self._is_calm and self._chance.random() < HUB_DEATHS:
            self._hub.arm(self._chance.randrange(HUB_STATEMENTS_MAX))

    def answered(self, request: Request, answer: bytes) -> None:
        self._count(f"answer to {request.operation}")
        self._check.answered(request, answer)


__all__ = ["RightsWorld"]
