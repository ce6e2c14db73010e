"""The hub's tables change while it serves: replicas follow, and capture has no silent gap."""

from __future__ import annotations

from tests.pair.conftest import Pair


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
