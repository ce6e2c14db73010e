"""The capture matrix: whatever a program writes, the log has it, and so has an outbox (I11).

    cells × {no trigger of the user's, made before ours, made after} × recursive_triggers

Each cell is a situation and some statements of a program that knows nothing of reunite. At a hub it
ends in two checks:

- a reader that holds the tables' former state and pulls from its position ends with the tables;
- every key's history walks back to its former state without a hole.

In a replica, whose program does the same: what the outbox makes of it leads step by step from the
former rows to the present ones, and once synced the hub and everybody have what the program saw.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.engine.ports import LogEntry, Position, Transaction
from reunite.hub import Hub
from reunite.replica import Replica
from reunite.replica.layout import LAYOUT
from reunite.replica.outbox import Outbox
from reunite.replica.pending import Pending
from reunite.replica.rows import RowForms
from reunite.replica.state import State as ReplicaState
from reunite.stores.sql import SqlStore, open_store
from reunite.stores.sql.capture import create_triggers, drop_triggers
from reunite.stores.sql.database import connect_sqlite
from reunite.stores.sql.dialects.sqlite import select_list, to_wire
from reunite.stores.sql.dialects.sqlite_reflection import reflect, trackable_tables
from reunite.stores.sql.layout import outbox_layout
from reunite.stores.sql.quoting import quoted
from reunite.testing import FakeClock, FakeWire, SeededIds
from tests.integration.capture.cells import PORTABLE, Cell, Trigger
from tests.integration.capture.sqlite_cells import SQLITE
from tests.integration.capture.trigger_cells import WITH_TRIGGERS

LIMIT = 100_000

State = dict[tuple[str, Key], Row]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A cell, and the two things that change how SQLite's triggers fire."""

    cell: Cell
    is_older: bool = False
    is_recursive: bool = False

    @property
    def name(self) -> str:
        words = [self.cell.name]
        if self.cell.triggers:
            words.append("older" if self.is_older else "younger")
        if self.is_recursive:
            words.append("recursive")
        return ", ".join(words)


CASES = [
    Case(cell=cell, is_older=is_older, is_recursive=is_recursive)
    for cell in (*PORTABLE, *WITH_TRIGGERS, *SQLITE)
    for is_older in ((False, True) if cell.triggers else (False,))
    for is_recursive in ((False, True) if cell.fires_differently else (False,))
]
IN_REPLICAS = [case for case in CASES if not case.cell.hub_only]


# -- SQLite's words --------------------------------------------------------------------------------


def spelled(sql: str) -> str:
    return sql.replace("GENERATED,", "integer primary key,")


def create_trigger(name: str, trigger: Trigger) -> str:
    when = f"when {trigger.when}" if trigger.when else ""
    skip = "select raise(ignore);" if trigger.skips else ""
    return (
        f"create trigger {name} {trigger.event} on {trigger.on} {when} "
        f"begin {trigger.body} {skip} end;"
    )


def users_part(cell: Cell) -> str:
    """The views and triggers that the program's owner has made."""
    triggers = [create_trigger(f"u{i}", trigger) for i, trigger in enumerate(cell.triggers)]
    return spelled(cell.views) + "".join(triggers)


@contextmanager
def program_on(path: Path, case: Case) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma foreign_keys = {'on' if case.cell.foreign_keys else 'off'}")
        connection.execute("pragma synchronous = off")
        connection.execute(f"pragma recursive_triggers = {'on' if case.is_recursive else 'off'}")
        yield connection


@pytest.fixture
def program(case: Case, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A program with the cell's tables and rows, as it was before reunite came."""
    with program_on(tmp_path / "hub.db", case) as connection:
        cell = case.cell
        connection.executescript(spelled(cell.tables + cell.indexes) + cell.rows)
        yield connection


def write(program: sqlite3.Connection, cell: Cell) -> None:
    program.executescript(f"begin; {cell.write}; commit")


# -- at a hub --------------------------------------------------------------------------------------


@contextmanager
def tracked(path: Path) -> Iterator[SqlStore]:
    store = open_store(path, synchronous="off")
    try:
        store.track([store.reflect(table) for table in store.trackable_tables()])
        yield store
    finally:
        store.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reader_catches_up_and_history_has_no_hole(
    case: Case, program: sqlite3.Connection, tmp_path: Path
) -> None:
    cell = case.cell
    if case.is_older:
        program.executescript(users_part(cell))
    with tracked(tmp_path / "hub.db") as store:
        with store.read() as transaction:
            former = state_of(transaction)
            assert transaction.last_change_id() == 0, "tracking writes no entry"
        if not case.is_older:
            program.executescript(users_part(cell))
        write(program, cell)
        store.number(now_ms=1_000, new_nonce=lambda: "n")

        with store.read() as transaction:
            assert pulled(transaction, former) == state_of(transaction)
            check_history(transaction, former, is_younger=bool(cell.triggers) and not case.is_older)


def state_of(transaction: Transaction) -> State:
    return {
        (table, schema.key_of(row)): row
        for table, schema in transaction.schemas().items()
        for row in transaction.scan(table, after=None, limit=LIMIT)
    }


def pulled(transaction: Transaction, former: State) -> State:
    """The former state, with the rows of all touched keys read anew."""
    state = dict(former)
    keys_by_table: dict[str, list[Key]] = {}
    for touch in transaction.touched(Position(seq=0, id=0), limit=LIMIT):
        keys_by_table.setdefault(touch.table, []).extend(
            key for key in (touch.key, touch.old_key) if key is not None
        )
    for table, keys in keys_by_table.items():
        rows = transaction.rows(table, keys)
        for key in keys:
            state.pop((table, key), None)
            if key in rows:
                state[table, key] = rows[key]
    return state


def check_history(transaction: Transaction, former: State, *, is_younger: bool) -> None:
    """Each key's entries, from the last to the first, lead back to its former state.

    User's triggers younger than ours run before them, so what they do to a new row is logged
    before its insert.
    """
    present = state_of(transaction)
    entries = transaction.log(after_id=0, until_id=2**53, limit=LIMIT)
    places = {(entry.table, key) for entry in entries for key in (entry.key, entry.old_key) if key}
    for table, key in places:
        own = transaction.entries(table, [key], after_id=0)
        story = [e for e in entries if e.table == table and key in (e.key, e.old_key)]
        assert own == story, f"the index of {table} {key} tells another story than the log"
        before = None if is_moved_here(own[0], key) else own[0].old
        if is_younger and (table, key) not in former and any(e.op is Op.INSERT for e in own):
            before = None
        assert before == former.get((table, key)), f"the history of {table} {key} has a hole"
    assert changed(former, present) <= places


def is_moved_here(entry: LogEntry, key: Key) -> bool:
    return entry.old_key is not None and entry.key == key


def changed(former: State, present: State) -> set[tuple[str, Key]]:
    return {place for place in former | present if former.get(place) != present.get(place)}


# -- in a replica's file ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_outbox_leads_step_by_step_from_the_former_rows_to_the_present_ones(
    case: Case, program: sqlite3.Connection, tmp_path: Path
) -> None:
    cell = case.cell
    if case.is_older:
        program.executescript(users_part(cell))
    with closing(connect_sqlite(tmp_path / "hub.db")) as replica:
        schemas = {table: reflect(replica, table) for table in trackable_tables(replica)}
        for statement in (*outbox_layout(), *LAYOUT):
            replica.execute(statement)
        for schema in schemas.values():
            create_triggers(replica, schema, outbox=True)
        former = tables_of(replica, schemas)
        if not case.is_older:
            program.executescript(users_part(cell))
        write(program, cell)

        outbox = Outbox(replica, ReplicaState(replica="r" * 26), schemas, RowForms(schemas, {}))
        outbox.prepare(now_ms=2**42)
        assert replayed(outbox.load(), schemas, former) == tables_of(replica, schemas)
        for table in schemas:
            drop_triggers(replica, table)
        names = replica.execute("select name from sqlite_schema where type = 'trigger'")
        assert not any(name.startswith("reunite_") for (name,) in names)


def tables_of(connection: sqlite3.Connection, schemas: dict[str, TableSchema]) -> State:
    state: State = {}
    for table, schema in schemas.items():
        finish = to_wire(schema)
        for row in connection.execute(f"select {select_list(schema)} from {quoted(table)} as t"):
            wire = finish(row) if finish else row
            state[table, schema.key_of(wire)] = wire
    return state


def replayed(pendings: Sequence[Pending], schemas: dict[str, TableSchema], former: State) -> State:
    """The changes applied in order, each to the row that it says it found."""
    state = dict(former)
    for pending in pendings:
        found = state.pop((pending.table, pending.source), None)
        if pending.op is not Op.INSERT:
            assert found == pending.old, f"{pending.op} of another row than there was"
        else:
            assert found is None, "an insert where there is a row"
        if pending.op is not Op.DELETE:
            assert pending.row is not None
            assert schemas[pending.table].key_of(pending.row) == pending.key
            assert (pending.table, pending.key) not in state, "a move onto another row"
            state[pending.table, pending.key] = pending.row
    return state


# -- a replica and its hub -------------------------------------------------------------------------


@pytest.mark.parametrize("case", IN_REPLICAS, ids=lambda case: case.name)
def test_what_a_program_did_in_a_replica_reaches_the_hub_and_everybody(
    case: Case, program: sqlite3.Connection, tmp_path: Path
) -> None:
    cell = case.cell
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(tmp_path / "hub.db", clock=FakeClock(), new_id=SeededIds(1)))
        hub.track_all()
        wire = FakeWire(hub)
        token = hub.create_token("owner")
        writer, reader = (
            stack.enter_context(
                Replica.clone(tmp_path / f"{name}.db", transport=wire.transport(token, label=name))
            )
            for name in ("writer", "reader")
        )
        with program_on(writer.path, case) as offline:
            offline.executescript(users_part(cell))
            if case.is_older:
                make_triggers_anew(writer)
            write(offline, cell)
        seen = shown(writer)

        writer.sync()
        reader.sync()

        agreed = shown_at_hub(tmp_path / "hub.db", writer)
        assert shown(writer) == shown(reader) == agreed
        assert writer.status().pending == 0
        if not cell.differs:
            assert writer.parked() == []
            assert without_moved_keys(agreed, cell) == without_moved_keys(seen, cell)


def make_triggers_anew(replica: Replica) -> None:
    """As a large page does it: then reunite's triggers are younger than the user's."""
    with closing(connect_sqlite(replica.path)) as connection:
        for schema in replica.schemas.values():
            create_triggers(connection, schema, outbox=True)


def shown(replica: Replica) -> State:
    with closing(connect_sqlite(replica.path)) as connection:
        return tables_of(connection, dict(replica.schemas))


def shown_at_hub(path: Path, replica: Replica) -> State:
    with closing(connect_sqlite(path)) as connection:
        return tables_of(connection, dict(replica.schemas))


def without_moved_keys(state: State, cell: Cell) -> object:
    if not cell.moves:
        return state
    return sorted((table, str(row[1:])) for (table, _), row in state.items())
