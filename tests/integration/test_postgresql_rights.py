"""A hub whose role owns nothing: what other roles make, take away and switch off."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reunite.core.change import Op
from reunite.errors import CallerError, UntrackableTableError
from reunite.hub import Hub
from reunite.replica import Replica
from reunite.testing import FakeClock, FakeWire
from tests.integration.live_helpers import query
from tests.integration.processes import COMMAND
from tests.patience import DEADLINE_S
from tests.postgresql_server import PostgresServer, connected

PAGE = Path(__file__).parents[2] / "docs/howto/postgresql-in-production.md"

DDL = """
create table product (id integer primary key, name text);
create table sale (id integer, day integer, primary key (id, day)) partition by range (day);
create table sale_1 partition of sale for values from (0) to (10);
insert into product values (1, 'Apple');
"""


@pytest.fixture
def owner(postgresql: str, postgresql_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Whoever owns the tables; the hub's role has the grants of the manual."""
    postgresql_server.execute(
        "do $$ begin create role reunite_hub login; "
        "exception when duplicate_object then null; end $$"
    )
    with connected(postgresql) as connection:
        connection.execute(DDL)
        grants = PAGE.read_text(encoding="utf-8").partition("```sql\n")[2].partition("```")[0]
        connection.execute(grants)
        yield connection


@pytest.fixture
def url(postgresql: str, owner: psycopg.Connection[Any]) -> str:
    return postgresql.replace("postgres@", "reunite_hub@")


@pytest.fixture
def hub(url: str) -> Iterator[Hub]:
    with Hub(url, clock=FakeClock()) as hub:
        hub.track_all()
        yield hub


@pytest.fixture
def clone(hub: Hub, tmp_path: Path) -> Callable[[str], Replica]:
    wire, token = FakeWire(hub), hub.create_token("ann")

    def make(name: str) -> Replica:
        return Replica.clone(tmp_path / name, transport=wire.transport(token))

    return make


def test_a_table_without_grants_is_left_out_until_it_has_them(
    hub: Hub,
    owner: psycopg.Connection[Any],
    clone: Callable[[str], Replica],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stopped every sync."""
    with clone("till.db") as till:
        with caplog.at_level(logging.WARNING, "reunite.hub"):
            owner.execute("create table newt (id integer primary key)")
            owner.execute("insert into newt values (7)")
            till.sync()
            owner.execute("create schema other")
            owner.execute("create table other.thing (id integer primary key)")
            owner.execute("grant all on other.thing to reunite_hub")
            till.sync()
            owner.execute("update product set name = 'Pear'")
            till.sync()
        assert query(till.path, "select name from product") == [("Pear",)]
        told = [record.getMessage() for record in caplog.records if "newt" in record.getMessage()]
        assert len(told) == 1
        assert "trigger on public.newt to reunite_hub" in told[0].replace('"', "")
        with pytest.raises(UntrackableTableError, match="may not read 'newt'"):
            hub.track("newt")
        owner.execute("grant select, insert, update, delete, trigger on newt to reunite_hub")
        till.sync()
        till.sync()
        assert query(till.path, "select id from newt") == [(7,)]


def test_a_role_follows_migrations_of_tables_that_another_has_tracked(
    url: str, postgresql: str, owner: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """It cannot comment on a function that is another role's."""
    with Hub(postgresql, clock=FakeClock()) as admin:
        admin.track_all()
    owner.execute("grant all on all tables in schema public to reunite_hub")
    owner.execute("grant all on all sequences in schema public to reunite_hub")
    with Hub(url, clock=FakeClock()) as hub:
        hub.adopt()
        transport = FakeWire(hub).transport(hub.create_token("ann"))
        with Replica.clone(tmp_path / "r.db", transport=transport) as replica:
            for size in (50, 60):
                owner.execute(
                    f"alter table product alter name type varchar({size}) using name || '!'"
                )
                replica.sync()
                shown = owner.execute("select id, name from product").fetchall()
                assert query(replica.path, "select id, name from product") == shown
            assert shown == [(1, "Apple!!")]


def test_a_partition_without_grants_stops_nothing(
    hub: Hub, owner: psycopg.Connection[Any], clone: Callable[[str], Replica]
) -> None:
    """Statements that name the table itself are captured, whatever partition the row goes to."""
    with clone("till.db") as till:
        owner.execute("create table sale_2 partition of sale for values from (10) to (20)")
        owner.execute("insert into sale values (1, 15)")
        till.sync()
        assert query(till.path, "select id, day from sale") == [(1, 15)]
        with hub.migrating():
            pass
        till.sync()


@pytest.mark.parametrize("triggers", ["all", "reunite_insert", "reunite_update", "reunite_delete"])
def test_triggers_that_an_owner_switches_off_are_switched_on_by_a_role_that_owns_nothing(
    triggers: str, hub: Hub, owner: psycopg.Connection[Any], clone: Callable[[str], Replica]
) -> None:
    """Dropping them, or enabling them, is for owners alone: it stopped every sync."""
    with clone("till.db") as till:
        for table in ("product", "sale", "sale_1"):
            owner.execute(f"alter table {table} disable trigger {triggers}")
        owner.execute("insert into product values (2, 'unseen')")
        till.sync()
        before = hub.number().seq
        owner.execute("insert into sale values (1, 1)")
        owner.execute("insert into sale_1 values (2, 2)")
        owner.execute("update product set name = 'Fig'")
        owner.execute("delete from product where id = 1")
        owner.execute("truncate sale_1")
        assert hub.number().seq == before + 5
        assert {entry.op for entry in hub.log()[-7:]} == {Op.INSERT, Op.UPDATE, Op.DELETE}
        till.sync()
        till.sync()
        assert query(till.path, "select id, name from product") == [(2, "Fig")]
        assert query(till.path, "select * from sale") == []


def test_doctor_names_what_is_left_out_and_mends_triggers_as_a_role_that_owns_nothing(
    hub: Hub, owner: psycopg.Connection[Any], url: str
) -> None:
    def doctor(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [*COMMAND, "doctor", url, *options], capture_output=True, text=True, timeout=DEADLINE_S
        )
        return done.returncode, done.stdout

    owner.execute("create table newt (id integer primary key)")
    owner.execute("alter table product disable trigger all")
    code, told = doctor()
    assert code == 1
    assert "✗ product lacks a trigger" in told
    assert "· newt is not tracked. The hub's role may not read 'newt'" in told
    code, told = doctor("--fix")
    assert code == 0, told
    assert "Mended: product lacks a trigger" in told
    owner.execute("insert into product values (2, 'captured')")
    assert [entry.key for entry in hub.log()] == [(2,)]
    owner.execute("create table sale_2 partition of sale for values from (10) to (20)")
    hub.number()
    code, told = doctor("--fix")
    assert code == 1
    assert '✗ sale is not captured where a statement names "public"."sale_2": grant' in told
    owner.execute("grant select, trigger on sale_2 to reunite_hub")
    assert doctor("--fix")[0] == 0


def test_an_application_needs_the_grants_of_the_manual_to_say_who_acts(
    hub: Hub, owner: psycopg.Connection[Any], postgresql: str
) -> None:
    """Without them it was told to grant something to the hub's role."""
    owner.execute(
        "do $$ begin create role backend login; exception when duplicate_object then null; end $$"
    )
    owner.execute("grant select, update on product to backend")

    def rename() -> None:
        backend = postgresql.replace("postgres@", "backend@")
        with psycopg.connect(backend) as mine, hub.acting_as("ann", mine):
            mine.execute("update product set name = 'Fig'")

    with pytest.raises(CallerError) as refusal:
        rename()
    assert "the application's role" in refusal.value.message
    assert "history-undo-and-erasure.md" in refusal.value.message
    owner.execute("grant select, insert on reunite_push to backend")
    owner.execute("grant select on reunite_change to backend")
    rename()
    hub.number()
    assert [entry.principal for entry in hub.log()] == ["ann"]
