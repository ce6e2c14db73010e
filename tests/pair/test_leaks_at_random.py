"""Rules, column rules, claims and rows that change all the time, on a wire that fails: nobody is
told, or keeps, what is not theirs to see, and nothing that is forbidden takes effect (I6, I7, I8).

Every text that anybody writes is a canary, which stands nowhere else. Who may see which is decided
here once more, naively, from the hub's tables:

    each page     its rows have only canaries that their principal may see at this moment
    each answer   has only those that the principal could see once, or wrote
    each file     after a sync: in no byte of it or of its log anything that a hidden row holds or
                  has held, but what the user wrote
    the hub       after a push: each row that changed might be written by who sent it
    erasures      what was erased at the hub is in no byte of its file afterwards, and of those of
                  replicas after their next sync, whatever was undone or pushed late
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from reunite import Column, Hub, HubUnreachableError, Principal, Replica, Rules, row, user
from reunite.testing import FakeClock, FakeWire, SeededIds
from reunite.testing.wire import Fault, Request, SeededFaults, WireObserver
from tests.pair.hubs import HubDatabase, PostgresHubDatabase, SqliteHubDatabase

STEPS = 150
INTRUSIONS = 0.1
USERS = ("ann", "bob", "cid", "dot")
ORGS = ("north", "south")
TEAMS = ("red", "blue")
CANARY = re.compile(rb"CANARY\d+;")

DDL = """
create table project (id text primary key not null, org text, team text, title text);
create table task (
    id text primary key not null, org text, team text, owner text,
    project_id text references project (id) on delete set null, title text, body text
);
create table memo (
    id text primary key not null, task_id text references task (id) on delete cascade,
    author text, body text
);
insert into project values
    ('p1', 'north', 'red', 'CANARY7;'), ('p2', 'north', 'blue', ''), ('p3', 'south', 'red', '');
insert into task values
    ('t1', 'north', 'red', 'ann', 'p1', 'CANARY1;', ''),
    ('t2', 'north', 'blue', 'bob', 'p2', 'CANARY2;', ''),
    ('t3', 'south', 'red', 'cid', 'p3', 'CANARY3;', ''),
    ('t4', 'south', 'blue', 'dot', null, 'CANARY4;', '');
insert into memo values ('m1', 't1', 'ann', 'CANARY5;'), ('m2', 't3', 'cid', 'CANARY6;');
"""
COLUMNS = {
    "project": ("id", "org", "team", "title"),
    "task": ("id", "org", "team", "owner", "project_id", "title", "body"),
    "memo": ("id", "task_id", "author", "body"),
}
PARENTS = ("project", "task")
TENANTS = {"project": "org", "task": "org", "memo": "task.org"}

Named: TypeAlias = Mapping[str, Any]
# A rule, and the same thing said by hand.
Kind: TypeAlias = tuple[Any, Callable[[Named, Principal], bool]]

KINDS: Mapping[str, tuple[Kind, ...]] = {
    "project": (
        (True, lambda r, p: True),
        (row.team.is_in(user.teams), lambda r, p: r["team"] in p.claims["teams"]),
    ),
    "task": (
        (True, lambda r, p: True),
        (row.team.is_in(user.teams), lambda r, p: r["team"] in p.claims["teams"]),
        (row.owner == user.id, lambda r, p: r["owner"] == p.user),
        (
            (row.owner == user.id) | row.team.is_in(user.teams),
            lambda r, p: r["owner"] == p.user or r["team"] in p.claims["teams"],
        ),
        (
            ~(row.team == "red") | user.roles.contains("boss"),
            lambda r, p: (r["team"] is not None and r["team"] != "red") or "boss" in p.roles,
        ),
        (
            row.project.team.is_in(user.teams),
            lambda r, p: r["project"]["team"] in p.claims["teams"],
        ),
        (
            row.project_id.is_null() | ~(row.project.team == "red"),
            lambda r, p: r["project_id"] is None or r["project"]["team"] not in (None, "red"),
        ),
    ),
    "memo": (
        (row.author == user.id, lambda r, p: r["author"] == p.user),
        (
            user.roles.contains("boss") | (row.author == user.id),
            lambda r, p: "boss" in p.roles or r["author"] == p.user,
        ),
        (
            row.task.project.team.is_in(user.teams) | (row.task.owner == user.id),
            lambda r, p: (
                r["task"]["project"]["team"] in p.claims["teams"] or r["task"]["owner"] == p.user
            ),
        ),
    ),
}


# Who reads a column; and who writes it, in which rows.
COLUMN_READS: tuple[tuple[Any, Callable[[Principal], bool]], ...] = (
    (True, lambda p: True),
    (user.roles.contains("boss"), lambda p: "boss" in p.roles),
    (~user.roles.contains("boss"), lambda p: "boss" not in p.roles),
    (False, lambda p: False),
)
COLUMN_WRITES: Mapping[str, tuple[Kind, ...]] = {
    "title": ((True, lambda r, p: True), (False, lambda r, p: False)),
    "body": (
        (True, lambda r, p: True),
        (row.owner == user.id, lambda r, p: r["owner"] == p.user),
        (
            row.project.team.is_in(user.teams),
            lambda r, p: r["project"]["team"] in p.claims["teams"],
        ),
    ),
}
RULED = {"project": ("title",), "task": ("title", "body"), "memo": ()}


class Door:
    """The hub, with principals that change while their tokens stay."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.principals: dict[str, Principal] = {}

    def authenticate(self, token: str) -> Principal:
        return self.principals[token]

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        return self.hub.answer(operation, body, principal)


@dataclass(kw_only=True)
class Story(WireObserver):
    """A hub, a device for each user, and what everybody could see."""

    folder: Path
    database: HubDatabase
    chance: random.Random
    closing: ExitStack
    # Draws column rules, erasures and undos, where there are some.
    columns: random.Random | None = None
    erased: set[bytes] = field(default_factory=set)
    clock: FakeClock = field(default_factory=FakeClock)
    replicas: dict[str, Replica] = field(default_factory=dict)
    read: dict[str, Kind] = field(default_factory=dict)
    write: dict[str, Kind] = field(default_factory=dict)
    before: dict[str, list[Named]] = field(default_factory=dict)
    once: dict[str, set[bytes]] = field(default_factory=dict)  # could be seen, or was written, once
    own: dict[str, set[bytes]] = field(default_factory=dict)
    known: dict[str, list[str]] = field(default_factory=dict)
    read_columns: dict[tuple[str, str], Callable[[Principal], bool]] = field(default_factory=dict)
    write_columns: dict[tuple[str, str], Kind] = field(default_factory=dict)
    # Rows and columns that had it.
    places: dict[bytes, set[tuple[str, str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = count(100)
        hub = self.closing.enter_context(
            Hub(self.database.store(), clock=self.clock, new_id=SeededIds(1))
        )
        self.hub = hub
        for table in COLUMNS:
            for named in self.rows(table):
                self.note(table, named["id"], named)
        for table in COLUMNS:
            self.rule(table)
        self.door = Door(hub)
        self.wire = FakeWire(self.door, observer=self)
        for index, name in enumerate(USERS):
            self.once[name], self.own[name] = set(), set()
            self.door.principals[name] = self.principal(name, ORGS[index // 2])
            self.replicas[name] = self.closing.enter_context(
                Replica.clone(
                    self.folder / f"{name}.db",
                    transport=self.wire.transport(name, label=name),
                    clock=self.clock,
                    page_rows=(None, 1, 2, 5)[index],
                )
            )
        self.wire.choose = SeededFaults(chance=self.chance)

    def principal(self, name: str, org: str) -> Principal:
        teams = self.chance.sample(TEAMS, self.chance.randrange(3))
        roles = ("boss",) if self.chance.random() < 0.3 else ()
        return Principal(user=name, tenant=org, roles=roles, claims={"teams": teams})

    def canary(self) -> str:
        return f"CANARY{next(self.numbers)};"

    # -- what happens -------------------------------------------------------------------------

    def step(self) -> None:
        self.clock.advance(self.chance.randrange(5_000))
        if self.wire.late and self.chance.random() < 0.1:
            self.wire.deliver_late()
        if self.columns is not None and self.columns.random() < 0.08:
            (self.erase if self.columns.random() < 0.5 else self.undo)()
        name = self.chance.choice(USERS)
        drawn = self.chance.random()
        if drawn < 0.35:
            self.write_at_hub()
        elif drawn < 0.6:
            self.write_at(name)
        elif drawn < 0.85:
            self.sync(name)
        elif drawn < 0.95:
            known = self.door.principals[name]
            self.door.principals[name] = self.principal(name, str(known.tenant))
        else:
            self.rule(self.chance.choice(list(COLUMNS)))

    def erase(self) -> None:
        """Somebody asks to be forgotten."""
        assert self.columns is not None
        table = self.columns.choice(list(COLUMNS))
        found = [named["id"] for named in self.rows(table)]
        if not found:
            return
        report = self.hub.erase(table, (self.columns.choice(found),))
        gone = {(each.table, each.key[0]) for each in report.erased}
        self.erased |= {
            canary
            for canary, places in self.places.items()
            if {place[:2] for place in places} <= gone
            and not any(canary in own for own in self.own.values())
        }
        self.check_erased()

    def check_erased(self) -> None:
        if isinstance(self.database, SqliteHubDatabase):
            assert not self.erased & self.held_by("hub")

    def undo(self) -> None:
        """Somebody takes back what was done lately; not all of it may be possible."""
        assert self.columns is not None
        head = self.hub.number()
        if head.seq > 1:
            self.hub.undo(self.columns.randrange(max(1, head.seq - 20), head.seq + 1))

    def rule(self, table: str) -> None:
        kinds = KINDS[table]
        self.read[table], self.write[table] = self.chance.choice(kinds), self.chance.choice(kinds)
        write = self.write[table][0]
        self.hub.track(
            table,
            tenant=TENANTS[table],
            rules=Rules(
                read=self.read[table][0],
                insert=write,
                update=write,
                delete=write,
                columns=self.column_rules(table),
            ),
        )

    def column_rules(self, table: str) -> dict[str, Column]:
        found = {}
        for name in RULED[table] if self.columns is not None else ():
            assert self.columns is not None
            read, self.read_columns[table, name] = self.columns.choice(COLUMN_READS)
            self.write_columns[table, name] = self.columns.choice(COLUMN_WRITES[name])
            found[name] = Column(read=read, write=self.write_columns[table, name][0])
        return found

    def values(self, table: str, org: str) -> dict[str, Any]:
        chance = self.chance
        if table == "memo":
            task = chance.choice((*self.known["task"], None))
            return {"author": chance.choice(USERS), "task_id": task, "body": self.canary()}
        wanted: dict[str, Any] = {"org": org if chance.random() < 0.9 else chance.choice(ORGS)}
        wanted |= {"team": chance.choice((*TEAMS, None)), "title": self.canary()}
        if table == "task":
            project = chance.choice((*self.known["project"], None))
            wanted |= {"owner": chance.choice(USERS), "project_id": project}
            wanted |= {"body": self.canary()}
        return wanted

    def statement(
        self,
        execute: Callable[[str, list[Any]], Any],
        org: str,
        has: Callable[[str, str], bool] = lambda table, column: True,
    ) -> dict[str, Any]:
        """A change of some row, in columns that there are; what it set."""
        chance = self.chance
        table = chance.choice(("project", "task", "task", "memo"))
        self.known = {
            name: [key for (key,) in execute(f"select id from {name} order by 1", [])]
            for name in COLUMNS
        }
        found = self.known[table]
        drawn = chance.random()
        wanted = {k: v for k, v in self.values(table, org).items() if has(table, k)}
        if not found or drawn < 0.3:
            wanted = {"id": f"k{next(self.numbers)}", **wanted}
            self.note(table, wanted["id"], wanted)
            names, marks = ", ".join(wanted), ", ".join("?" * len(wanted))
            execute(f"insert into {table} ({names}) values ({marks})", [*wanted.values()])
            return wanted
        key = chance.choice(found)
        if drawn < 0.4:
            execute(f"delete from {table} where id = ?", [key])
            return {}
        names = chance.sample(list(wanted), chance.randrange(1, 3))
        sets = ", ".join(f"{name} = ?" for name in names)
        changed = {name: wanted[name] for name in names}
        self.note(table, key, changed)
        execute(f"update {table} set {sets} where id = ?", [*changed.values(), key])
        return changed

    def note(self, table: str, key: str, values: Named) -> None:
        for name, value in values.items():
            if is_canary(value):
                self.places.setdefault(value.encode(), set()).add((table, key, name))

    def write_at_hub(self) -> None:
        self.statement(self.database.execute, self.chance.choice(ORGS))

    def write_at(self, name: str) -> None:
        org = str(self.door.principals[name].tenant)
        with self.replicas[name].transaction() as db:
            for _ in range(self.chance.randrange(1, 3)):
                changed = self.statement(
                    lambda sql, values: db.execute(sql, values).fetchall(),
                    org,
                    lambda table, column: any(
                        found[1] == column for found in db.execute(f"pragma table_info({table})")
                    ),
                )
                written = {value.encode() for value in changed.values() if is_canary(value)}
                self.own[name] |= written
                self.once[name] |= written

    def sync(self, name: str) -> None:
        try:
            self.replicas[name].sync()
        except HubUnreachableError:
            return
        self.check_file(name)

    # -- what must hold -----------------------------------------------------------------------

    def seen(self, name: str) -> set[bytes]:
        """The canaries that this user may see now."""
        principal = self.door.principals[name]
        found: set[bytes] = set()
        for table in COLUMNS:
            for named in self.rows(table):
                if self.may_see(principal, table, named):
                    found |= {
                        value.encode()
                        for name, value in named.items()
                        if is_canary(value) and self.may_read(principal, table, name)
                    }
        return found

    def may_read(self, principal: Principal, table: str, column: str) -> bool:
        return self.read_columns.get((table, column), lambda p: True)(principal)

    def check_columns(self, principal: Principal, table: str, both: list[Named]) -> None:
        """Columns that are other ones, and those of new rows: NULL is their default."""
        for name in RULED[table] if self.columns is not None else ():
            was = both[0][name] if len(both) == 2 else None
            if both[-1][name] != was:
                _, may = self.write_columns[table, name]
                assert self.may_read(principal, table, name), f"{principal}: {name} {both}"
                assert all(may(named, principal) for named in both), f"{principal}: {name} {both}"

    def rows(self, table: str) -> list[Named]:
        """The hub's rows, with those that they point to."""
        columns = COLUMNS[table]
        found = self.database.execute(f"select {', '.join(columns)} from {table}")
        rows = [dict(zip(columns, values, strict=True)) for values in found]
        for parent in PARENTS:
            if (pointer := f"{parent}_id") in columns:
                parents = {named["id"]: named for named in self.rows(parent)}
                nothing = dict.fromkeys(COLUMNS[parent]) | {"project": {"team": None}}
                for named in rows:
                    named[parent] = parents.get(named[pointer], nothing)
        return rows

    def is_in_tenant(self, principal: Principal, table: str, named: Named) -> bool:
        owner = named["task"] if table == "memo" else named
        return bool(owner["org"] == principal.tenant)

    def may_see(self, principal: Principal, table: str, named: Named) -> bool:
        is_in_tenant = self.is_in_tenant(principal, table, named)
        return is_in_tenant and self.read[table][1](named, principal)

    def sending(self, request: Request, fault: Fault) -> None:
        """Between the pages of a sync, somebody writes at the hub."""
        if fault is Fault.NONE and self.chance.random() < INTRUSIONS:
            self.write_at_hub()

    def arriving(self, request: Request) -> None:
        self.once[request.token] |= self.seen(request.token)
        self.before = {table: self.rows(table) for table in COLUMNS}

    def answered(self, request: Request, answer: bytes) -> None:
        name = request.token
        self.check_writes(self.door.principals[name])
        now = self.seen(name)
        self.once[name] |= now
        told = set(CANARY.findall(answer))
        assert told <= self.once[name], f"{name} was told {told - self.once[name]}"
        if request.operation in {"pull", "repair"}:
            message = msgspec.json.decode(answer)
            pages = message.get("tables", message.get("page"))
            shown = set(CANARY.findall(msgspec.json.encode(pages)))
            assert shown <= now, f"a page for {name} has {shown - now}"

    def check_writes(self, principal: Principal) -> None:
        """Every row that is another one since the request arrived might be written by who sent
        it, as it was and as it is (I7). Not looked at are rows that went with one that they point
        to, and those of which such a one changed at the same time: who knows what came first."""
        after = {table: self.rows(table) for table in COLUMNS}
        changed: dict[tuple[str, str], list[Named]] = {}
        for table, columns in COLUMNS.items():
            was, now = ({n["id"]: n for n in rows[table]} for rows in (self.before, after))
            for key in was.keys() | now.keys():
                both = [named for named in (was.get(key), now.get(key)) if named is not None]
                if len({tuple(named[name] for name in columns) for named in both}) + len(both) != 3:
                    changed[table, key] = both
        for (table, key), both in changed.items():
            above = {(name, n[f"{name}_id"]) for n in both for name in PARENTS if f"{name}_id" in n}
            above |= {("project", n["task"]["project_id"]) for n in both if "task" in n}
            if above.isdisjoint(changed):
                for named in both:
                    assert self.may_write(principal, table, named), f"{principal}: {key} {both}"
                if not (len(both) == 1 and key in {n["id"] for n in self.before[table]}):
                    self.check_columns(principal, table, both)
                if key in {named["id"] for named in self.before[table]}:
                    assert self.may_see(principal, table, both[0]), f"{principal}: {key} {both}"

    def may_write(self, principal: Principal, table: str, named: Named) -> bool:
        is_in_tenant = self.is_in_tenant(principal, table, named)
        return is_in_tenant and self.write[table][1](named, principal)

    def check_file(self, name: str) -> None:
        """After a sync, in which nothing was lost on the way."""
        replica = self.replicas[name]
        if replica.status().pending:
            return
        found = self.held_by(name)
        assert not found & self.erased, f"{name} keeps what was erased: {found & self.erased}"
        now = self.seen(name)
        assert now <= found, f"{name} misses {now - found}"
        gone = self.hidden_from(name)
        hidden = {
            canary
            for canary in found - now
            if any(
                place[:2] in gone or not self.may_read(self.door.principals[name], *place[::2])
                for place in self.places[canary]
            )
        }
        assert hidden <= self.own[name], f"{name} keeps {hidden - self.own[name]}"

    def held_by(self, name: str) -> set[bytes]:
        """The canaries in all bytes of a file and its log."""
        held = b"".join(
            path.read_bytes()
            for suffix in ("", "-wal")
            if (path := self.folder / f"{name}.db{suffix}").exists()
        )
        return set(CANARY.findall(held))

    def hidden_from(self, name: str) -> set[tuple[str, str]]:
        """The rows that the user may not see."""
        principal = self.door.principals[name]
        return {
            (table, named["id"])
            for table in COLUMNS
            for named in self.rows(table)
            if not self.may_see(principal, table, named)
        }

    def end(self) -> None:
        """Everybody meets; each has what is theirs to see."""
        self.wire.choose = None
        self.wire.deliver_all_late()
        for _ in range(2):
            for name in USERS:
                self.sync(name)
        for name in USERS:
            assert self.replicas[name].status().pending == 0
        if self.erased:
            self.hub.scrub()
            self.check_erased()


def is_canary(value: object) -> bool:
    return isinstance(value, str) and value.startswith("CANARY")


@pytest.fixture
def database(
    hub_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[HubDatabase]:
    made: HubDatabase
    if hub_kind == "sqlite":
        made = SqliteHubDatabase(tmp_path / "hub.db", DDL)
    else:
        made = PostgresHubDatabase(request.getfixturevalue("postgresql"), DDL)
    yield made
    made.close()


@pytest.mark.hubs("sqlite", "postgresql")
# 24, 35: pages that were gathered when rights were lost, and never shown.
@pytest.mark.parametrize("seed", [*range(5), 24, 35])
def test_nobody_is_told_or_keeps_what_is_not_theirs_to_see(
    database: HubDatabase, tmp_path: Path, seed: int
) -> None:
    tell(database, tmp_path, seed)


@pytest.mark.hubs("sqlite", "postgresql")
# 15: a change of a row that left waits in the outbox; its old values were in the log after it.
# 104: what decided about a row was erased with the change that took the row away.
@pytest.mark.parametrize("seed", [*range(3), 15, 104])
def test_nobody_is_told_or_keeps_a_column_that_is_not_theirs_to_see(
    database: HubDatabase, tmp_path: Path, seed: int
) -> None:
    tell(database, tmp_path, seed, has_columns=True)


def tell(database: HubDatabase, folder: Path, seed: int, *, has_columns: bool = False) -> None:
    with ExitStack() as stack:
        story = Story(
            folder=folder,
            database=database,
            chance=random.Random(seed),
            closing=stack,
            columns=random.Random(seed) if has_columns else None,
        )
        for _ in range(STEPS):
            story.step()
        story.end()
