"""The hub's tables change while it serves: replicas follow, and capture has no silent gap."""

from __future__ import annotations

import pytest

from reunite import CallerError, HubUnreachableError
from tests.pair.conftest import Pair

pytestmark = pytest.mark.hubs("sqlite", "postgresql")


def test_a_column_added_while_serving_reaches_replicas(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    pair.at_hub("alter table note add column colour text")
    pair.at_hub("update note set colour = 'red'")
    pair.write(pair.replica, "update note set title = 'y'")
    pair.replica.sync()
    assert pair.rows(pair.replica, "note") == [("n1", "y", "red")]
    pair.assert_agreed()


def test_a_column_renamed_while_serving_keeps_the_outbox(pair: Pair) -> None:
    pair.write(pair.replica, "insert into product (name) values ('Fig')")
    pair.at_hub("alter table product rename column name to label")
    pair.replica.sync()
    assert pair.at_hub("select count(*) from product") == [(3,)]
    pair.assert_agreed()


def test_a_table_rebuilt_while_serving_is_captured_again_and_the_gap_is_healed(pair: Pair) -> None:
    """As Alembic and Django do it; what was written in between was not logged."""
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    for statement in (
        "create table note_new (id text primary key not null, title text)",
        "insert into note_new select * from note",
        "drop table note",
        "alter table note_new rename to note",
        "insert into note values ('gap', 'while nobody looked')",
    ):
        pair.at_hub(statement)
    pair.replica.sync()
    assert pair.rows(pair.replica, "note") == [("gap", "while nobody looked"), ("n1", "x")]
    pair.at_hub("update note set title = 'seen' where id = 'gap'")
    pair.assert_agreed()


def test_a_table_dropped_while_serving_does_not_hold_up_the_rest(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.write(pair.replica, "update product set name = 'Quince' where id = 1")
    pair.at_hub("drop table note")
    pair.replica.sync()
    pair.replica.sync()
    assert pair.at_hub("select name from product where id = 1") == [("Quince",)]
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set) == ("unknown-table", {"id": "n1", "title": "mine"})


@pytest.mark.parametrize(
    "own", ["create table Settings (name text)", "create view settings as select 1 as n"]
)
def test_a_new_table_named_like_one_of_the_devices_own_says_so(pair: Pair, own: str) -> None:
    pair.in_file(pair.replica, own)
    pair.at_hub("create table settings (id integer primary key, v text)")
    pair.at_hub("insert into settings values (1, 'h')")
    pair.hub.track("settings")
    pair.write(pair.replica, "insert into note values ('mine', 'x')")
    for _ in range(2):
        with pytest.raises(CallerError, match=r"has one of its own of that name\. Rename"):
            pair.replica.sync()
    assert pair.at_hub("select id from note") == [("mine",)]
    kind = own.split()[1]
    change = "alter table Settings rename to own" if kind == "table" else "drop view settings"
    pair.in_file(pair.replica, change)
    pair.replica.sync()
    assert pair.rows(pair.replica, "settings") == [(1, "h")]
    pair.assert_agreed()


# How a table gets another key, and how many of two pending changes cannot be said with it.
REKEYED: dict[str, tuple[str, str, int]] = {
    "one column for two": (
        "create table line_new (id integer primary key, sale integer, v text)",
        "insert into line_new select no, sale, v from line",
        2,
    ),
    "three columns for two": (
        "create table line_new (sale integer, no integer, v text, primary key (sale, no, v))",
        "insert into line_new select * from line",
        0,
    ),
}


@pytest.mark.parametrize("becomes", REKEYED.values(), ids=list(REKEYED))
@pytest.mark.parametrize(
    "unread",
    [
        "update line set v = 'changed'",
        "delete from line where no = 1",
        "insert into line values (2, 9, 'z')",
    ],
)
@pytest.mark.parametrize(
    "pending",
    [(), ("insert into line values (3, 7, 'mine')", "update line set v = 'm' where no = 2")],
)
def test_a_key_of_another_width_stops_nobody_who_is_behind(
    pair: Pair, becomes: tuple[str, str, int], unread: str, pending: tuple[str, ...]
) -> None:
    """The log has keys of the former width, which say nothing of the table that there is now."""
    pair.at_hub(
        "create table line (sale integer not null, no integer not null, v text,"
        " primary key (sale, no))"
    )
    pair.at_hub("insert into line values (1, 1, 'a'), (1, 2, 'b')")
    pair.hub.track("line")
    till = pair.clone("till")
    pair.at_hub(unread)
    pair.hub.number()
    for statement in (*becomes[:2], "drop table line", "alter table line_new rename to line"):
        pair.at_hub(statement)
    if pending:
        pair.write(till, *pending)
    pair.write(till, "insert into note values ('mine', 'x')")
    till.sync()
    till.sync()
    assert pair.at_hub("select id from note") == [("mine",)]
    assert sorted(pair.rows(till, "line")) == sorted(pair.at_hub("select * from line"))
    assert len(till.parked()) == (becomes[2] if pending else 0)
    till.repair()
    pair.assert_agreed()


def requests(pair: Pair, operation: str) -> int:
    return sum(request.operation == operation for request in pair.wire.requests)


@pytest.mark.hubs("sqlite")
def test_rows_that_escaped_capture_are_compared_and_only_they_travel(pair: Pair) -> None:
    """A trigger was lost for a while; both replicas heal, and their outboxes wait unharmed (I4)."""
    for number in range(200):
        pair.at_hub("insert into note values (?, 'x')", f"n{number:03}")
    pair.replica.sync()
    phone = pair.clone("phone")
    pair.write(pair.replica, "update note set title = 'mine' where id = 'n005'")
    pair.at_hub("drop trigger reunite_note_before_update")
    pair.at_hub("drop trigger reunite_note_before_delete")
    pair.at_hub("update note set title = 'unseen' where id in ('n005', 'n007')")
    pair.at_hub("delete from note where id = 'n009'")

    report = phone.sync()

    assert report.pulled == 3
    assert requests(pair, "repair") > 0
    assert pair.rows(phone, "note") == pair.at_hub("select * from note order by 1")
    pair.assert_agreed()
    assert pair.at_hub("select title from note where id = 'n005'") == [("mine",)]
    compared = requests(pair, "repair")
    pair.assert_agreed()
    assert requests(pair, "repair") == compared


@pytest.mark.hubs("sqlite")
def test_a_gap_without_a_difference_is_compared_once(pair: Pair) -> None:
    pair.at_hub("drop trigger reunite_note_before_update")
    assert pair.replica.sync().pulled == 0
    compared = requests(pair, "repair")
    assert compared > 0
    assert pair.replica.sync().pulled == 0
    assert requests(pair, "repair") == compared


@pytest.mark.hubs("sqlite")
def test_what_breaks_off_while_comparing_is_compared_again(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    pair.at_hub("drop trigger reunite_note_before_update")
    pair.at_hub("update note set title = 'unseen'")
    pair.wire.lose_next_answer("repair")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.replica.sync()
    assert pair.rows(pair.replica, "note") == [("n1", "unseen")]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_gap_while_a_replica_is_cloned_is_healed(pair: Pair) -> None:
    for number in range(5):
        pair.at_hub("insert into note values (?, 'x')", f"n{number}")
    done = []

    def on_progress(progress: object) -> None:
        if len(done) == 2:
            pair.at_hub("drop trigger reunite_note_before_update")
            pair.at_hub("update note set title = 'unseen'")
        done.append(progress)

    phone = pair.clone("phone", page_rows=1, on_progress=on_progress)
    assert len(done) > 3
    phone.sync()
    assert pair.rows(phone, "note") == pair.at_hub("select * from note order by 1")


def test_a_migration_with_capture_off_is_healed_where_rows_were_written(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    with pair.hub.migrating() as tables:
        pair.at_hub("update note set title = 'silently'")
        pair.at_hub("alter table sale drop column amount")
    assert {table.table: table.what for table in tables} == {
        "note": "written",
        "product": "unchanged",
        "sale": "changed",
    }
    pair.replica.sync()
    assert pair.rows(pair.replica, "note") == [("n1", "silently")]
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    pair.assert_agreed()
