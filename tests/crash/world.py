"""The world of the crash tests: a small bank, who writes to it, and the book that is kept outside.

    hub.db       accounts, transfers between them, sales with a generated key, receipts by a hook
    till.db      a replica that everybody writes to; witness.db one that only reads
    book.jsonl   what was about to be committed (`will`), what was (`did`), cursors given out

The rule         a line of the book is one system call, made by the process that is to be killed, so
                 what stands there was said whatever happened to it afterwards.

Balances change by counters, and every transfer is a row: an account that does not add up shows a
transaction that was seen in part (I5) or took effect twice (I2).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from reunite import Hub, Replica
from reunite.core.cursor import decode_cursor
from reunite.protocol.pack import decode_page
from reunite.protocol.pull import Page
from reunite.testing import FakeWire
from reunite.testing.wire import Fault, Request, WireObserver

ACCOUNTS = 5
OPENING = 1_000
TOKEN = "a-token-of-the-crash-tests"
DDL = f"""
create table account (id integer primary key, balance integer not null);
create table transfer (
    id text primary key not null,
    source integer not null references account (id),
    target integer not null references account (id),
    amount integer not null
);
create table sale (
    id integer primary key,
    label text not null,
    account_id integer references account (id),
    amount integer not null check (amount >= 0)
);
create table receipt (id integer primary key, label text not null);
with recursive n (id) as (values (1) union all select id + 1 from n where id < {ACCOUNTS})
insert into account select id, {OPENING} from n;
"""
TABLES = ("account", "receipt", "sale", "transfer")

# Accounts whose balance is not what their transfers say.
ADDS_UP = f"""
select id, balance, due from (
    select id, balance, {OPENING}
        + coalesce((select sum(amount) from transfer where target = account.id), 0)
        - coalesce((select sum(amount) from transfer where source = account.id), 0) as due
    from account
) where balance <> due
"""


class Book:
    """What was promised, as lines of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, what: str, name: str) -> None:
        line = json.dumps([what, name]) + "\n"
        number = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(number, line.encode())
        finally:
            os.close(number)

    def names(self, what: str) -> set[str]:
        if not self._path.exists():
            return set()
        lines = map(json.loads, self._path.read_text(encoding="utf-8").splitlines())
        return {name for kind, name in lines if kind == what}

    def forget(self, what: str, names: set[str]) -> None:
        """Take lines out, when nobody writes."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [
            line
            for line in lines
            if not (json.loads(line)[0] == what and json.loads(line)[1] in names)
        ]
        self._path.write_text("".join(kept), encoding="utf-8")


class ProgramFailedError(Exception):
    """A write of another program failed: its own affair, as long as nothing of it is left."""


class Watcher(WireObserver):
    """Keeps the cursors that were given out, and tells when a request passes a step."""

    def __init__(self, book: Book, passed: Any) -> None:
        self._book = book
        self._passed = passed

    def sending(self, request: Request, fault: Fault) -> None:
        self._passed(f"wire: {request.operation} leaves")

    def arriving(self, request: Request) -> None:
        self._passed(f"wire: {request.operation} arrives")

    def answered(self, request: Request, answer: bytes) -> None:
        self._passed(f"wire: {request.operation} is answered")

    def received(self, request: Request, answer: bytes) -> None:
        self._passed(f"wire: {request.operation} has its answer")
        if request.operation == "pull":
            self._book.note("cursor", decode_page(answer, Page).cursor)


class World:
    """The files of one folder, opened by one process."""

    def __init__(
        self,
        folder: Path,
        *,
        who: str,
        passed: Any = lambda label: None,
        has_hooks: bool = True,
    ) -> None:
        self.folder = folder
        self.who = who
        self.has_hooks = has_hooks
        self.book = Book(folder / "book.jsonl")
        self.passed = passed
        self._closing = ExitStack()
        self._numbers = itertools.count(1)
        self._hub: Hub | None = None
        self._wire: FakeWire | None = None

    @property
    def hub_path(self) -> Path:
        return self.folder / "hub.db"

    # -- the two sides ------------------------------------------------------------------------

    @property
    def hub(self) -> Hub:
        if self._hub is None:
            self._hub = self._closing.enter_context(Hub(self.hub_path))
            track(self._hub)
            if self.has_hooks:
                give_receipts(self._hub)
        return self._hub

    @property
    def wire(self) -> FakeWire:
        if self._wire is None:
            self._wire = FakeWire(self.hub, observer=Watcher(self.book, self.passed))
        return self._wire

    def clone(self, name: str) -> Replica:
        transport = self.wire.transport(TOKEN, label=name)
        path = self.folder / f"{name}.db"
        return self._closing.enter_context(Replica.clone(path, transport=transport, page_rows=4))

    def replica(self, name: str = "till") -> Replica:
        transport = self.wire.transport(TOKEN, label=name)
        path = self.folder / f"{name}.db"
        return self._closing.enter_context(Replica(path, transport=transport, page_rows=4))

    def replica_names(self) -> list[str]:
        names = sorted(path.stem for path in self.folder.glob("*.db"))
        return [name for name in names if name != "hub"]

    def close(self) -> None:
        self._closing.close()
        self._hub = self._wire = None

    # -- writers ------------------------------------------------------------------------------

    @contextmanager
    def promised(self, prefix: str) -> Iterator[str]:
        """A name for what the block commits."""
        name = f"{prefix}-{self.who}-{next(self._numbers)}"
        self.book.note("will", name)
        yield name
        self.book.note("did", name)

    def write(self, file: str, *, transfers: int = 0, sales: int = 0, amount: int = 1) -> None:
        """Another program's transactions in a file: `transfers` of them, then sales."""
        with (
            its_own_failure(),
            closing(sqlite3.connect(self.folder / f"{file}.db", isolation_level=None)) as db,
        ):
            db.execute("pragma foreign_keys = on")
            for _ in range(transfers):
                with self.promised("t") as name:
                    db.execute("begin immediate")
                    transfer(db, name)
                    db.execute("commit")
            for _ in range(sales):
                with self.promised("h" if file == "hub" else "s") as name:
                    db.execute("begin immediate")
                    sell(db, name, amount=amount)
                    db.execute("commit")

    def write_group(self, replica: Replica, *, sales: int = 1) -> None:
        """One transaction of the replica's own: a transfer and sales, under one name."""
        with self.promised("g") as name, replica.transaction() as db, its_own_failure():
            transfer(db, name)
            for index in range(sales):
                sell(db, name if index == 0 else f"{name}+{index}", amount=1)

    def write_refused(self, replica: Replica) -> None:
        """A transaction that the hub rejects. It touches no account: what other programs write
        to one after it would hang on it."""
        with self.promised("b") as name, replica.transaction() as db, its_own_failure():
            sell(db, name, amount=-1)


@contextmanager
def its_own_failure() -> Iterator[None]:
    """What SQLite tells a program that uses it directly."""
    try:
        yield
    except sqlite3.Error as exc:
        raise ProgramFailedError(str(exc)) from exc


def transfer(db: sqlite3.Connection, name: str) -> None:
    amount = 1 + len(name) % 7
    source = 1 + sum(name.encode()) % ACCOUNTS
    target = 1 + source % ACCOUNTS
    db.execute("insert into transfer values (?, ?, ?, ?)", (name, source, target, amount))
    db.execute("update account set balance = balance - ? where id = ?", (amount, source))
    db.execute("update account set balance = balance + ? where id = ?", (amount, target))


def sell(db: sqlite3.Connection, name: str, *, amount: int) -> None:
    db.execute(
        "insert into sale (label, account_id, amount) values (?, ?, ?)",
        (name, 1 + len(name) % ACCOUNTS, amount),
    )


def track(hub: Hub) -> None:
    hub.track("account", merge={"balance": "counter"})
    for table in TABLES[1:]:
        hub.track(table)


def give_receipts(hub: Hub) -> None:
    @hub.on_insert("sale")
    def give_receipt(change: Any, db: sqlite3.Connection) -> None:
        db.execute("insert into receipt (label) values (?)", (change.row["label"],))


# --- What must hold -------------------------------------------------------------------------------


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(query).fetchall()


def names_in(path: Path) -> set[str]:
    """The names that a file shows, or has parked."""
    tables = {name for (name,) in rows(path, "select name from sqlite_master")}
    if not {"sale", "transfer"} <= tables:
        return set()  # a clone that was cut off
    found = {name for (name,) in rows(path, "select label from sale union select id from transfer")}
    return {name.partition("+")[0] for name in found} | parked_names(path)


def pending_names(path: Path) -> set[str]:
    """The names in a replica's outbox, or parked."""
    images = rows(path, "select coalesce(old, '') || coalesce(row, '') from reunite_change")
    return {name for (text,) in images for name in _NAME.findall(text)} | parked_names(path)


def parked_names(path: Path) -> set[str]:
    if path.stem == "hub":
        return set()
    images = rows(path, "select coalesce(old, '') || coalesce(row, '') from reunite_parked")
    return {name for (text,) in images for name in _NAME.findall(text)}


# A name in the image of a row; further sales of a group have more behind a "+".
_NAME = re.compile(r'"([a-z]-[^"+]+)')


def check_shown(path: Path) -> None:
    """Whatever was cut off, what a program reads now adds up, and the file is whole (I5). A first
    clone writes directly, and counts when it is ready."""
    assert rows(path, "pragma integrity_check") == [("ok",)], path.name
    names = {name for (name,) in rows(path, "select name from sqlite_schema")}
    is_ready = "reunite_state" in names and rows(
        path, "select 1 from reunite_state where name = 'is_ready'"
    )
    if is_ready or path.stem == "hub":
        assert rows(path, ADDS_UP) == [], f"{path.name} shows a part of a transaction"


def check_log(world: World) -> None:
    """Numbers without gaps, each change in one commit, and no cursor given out was taken back
    (I3)."""
    path = world.hub_path
    commits = rows(path, "select seq, first_id, last_id, nonce from reunite_commit order by seq")
    nonces = {seq: nonce for seq, _, _, nonce in commits}
    for before, after in itertools.pairwise(commits):
        assert after[0] == before[0] + 1, "a commit's number is missing"
        assert after[1] > before[2], "a change is in two commits"
    if commits:
        unnumbered = rows(
            path,
            "select count(*) from reunite_change where id > (select last_id from reunite_commit"
            " order by seq desc limit 1) or not exists (select 1 from reunite_commit"
            " where reunite_change.id between first_id and last_id) and table_name <> ''",
        )
        assert unnumbered == [(0,)], "a change is in no commit"
    ((epoch,),) = rows(path, "select value from reunite_meta where name = 'epoch'")
    ((trimmed,),) = rows(path, "select value from reunite_meta where name = 'trimmed_seq'")
    for text in world.book.names("cursor"):
        cursor = decode_cursor(text)
        if cursor.epoch == epoch and cursor.seq > trimmed:
            assert nonces.get(cursor.seq) == cursor.nonce, "a cursor names a commit that is gone"


def check_effects(world: World) -> None:
    """What was promised is at the hub, once, or parked with its reason (I1, I2, I10)."""
    path, book = world.hub_path, world.book
    labels = Counter(name for (name,) in rows(path, "select label from sale"))
    transfers = {name for (name,) in rows(path, "select id from transfer")}
    there = {name.partition("+")[0] for name in labels} | transfers
    replicas = [world.folder / f"{name}.db" for name in world.replica_names()]
    parked = set().union(*map(parked_names, replicas))
    lost = book.names("did") - book.names("excused") - there - parked
    assert lost == set(), f"lost: {lost}"
    assert there - book.names("will") == set(), "nobody wrote this"
    assert [name for name, count in labels.items() if count > 1] == [], "took effect twice"
    receipts = Counter(name for (name,) in rows(path, "select label from receipt"))
    pushed = {name for name in labels if not name.startswith("h-")}
    if world.has_hooks:
        assert receipts == dict.fromkeys(pushed, 1), "a hook ran twice, or not at all"
    for name in pushed:
        # A transaction of the replica's own is whole, with all of its sales.
        if name.startswith("g-"):
            assert name.partition("+")[0] in transfers, "a group was torn"
    check_shown(path)


def check_agreement(world: World) -> None:
    """When all is quiet, every replica shows the hub's rows (I4)."""
    for name in world.replica_names():
        assert world.replica(name).status().pending == 0
        for table in TABLES:
            query = f"select * from {table} order by 1"
            assert rows(world.folder / f"{name}.db", query) == rows(world.hub_path, query), (
                f"{name}.db differs from the hub in {table}"
            )


def heal(world: World) -> None:
    """Open everything again, check what is shown, sync until it is quiet, check the rest."""
    for path in sorted(world.folder.glob("*.db")):
        check_shown(path)
    world.hub.number()
    for _ in range(2):
        for name in world.replica_names():
            world.clone(name).sync()  # goes on with a first clone that was cut off
            check_shown(world.folder / f"{name}.db")
    for name in world.book.names("damaged"):
        world.replica(name).repair()
    check_log(world)
    check_effects(world)
    check_agreement(world)
