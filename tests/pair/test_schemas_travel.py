"""What a hub says of its tables reaches the replicas that exist, and what waits there follows."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.core.schema import ColumnMerge
from reunite.replica.replica import Replica
from tests.pair.conftest import Pair


def test_a_changed_policy_reaches_replicas_and_no_row_comes_again(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    pair.hub.track("product", merge={"stock": "maximum", "name": "hub_wins"})
    pair.hub.track("note", rows="update_wins")

    report = pair.replica.sync()

    column = pair.replica.schemas["product"].column
    assert (column["stock"].merge, column["name"].merge) == ("maximum", "hub_wins")
    assert pair.replica.schemas["note"].rows == "update_wins"
    assert report.pulled == 0
    assert pair.replica.sync().pulled == 0


def test_pending_changes_are_shown_by_the_new_policy(pair: Pair) -> None:
    pair.write(pair.replica, "insert into sale values (9, 1, 5)", "update sale set amount = 7")
    pair.replica.sync()
    pair.write(pair.replica, "update sale set amount = amount + 1 where id = 2")
    pair.hub.track("sale", merge={"amount": "counter"})
    pair.at_hub("update sale set amount = 100 where id = 2")
    pair.replica.pull()
    assert pair.in_file(pair.replica, "select amount from sale where id = 2") == [(101,)]
    pair.assert_agreed()


def test_a_unique_index_of_the_hub_comes_and_goes_without_rows(pair: Pair) -> None:
    def indexes() -> list[tuple[Any, ...]]:
        return pair.in_file(
            pair.replica,
            "select name from sqlite_schema where name like 'reunite_unique_note%'",
        )

    pair.at_hub("insert into note values ('n1', 'x')")
    pair.replica.sync()
    pair.hub.track("note")
    pair.at_hub("create unique index note_title on note (title)")
    pair.replica.sync()
    assert indexes() == [("reunite_unique_note_0",)]
    pair.at_hub("drop index note_title")
    pair.replica.sync()
    assert indexes() == []
    pair.assert_agreed()


def triggers_of(pair: Pair, replica: Replica) -> list[tuple[Any, ...]]:
    return pair.in_file(
        replica, "select name, sql from sqlite_schema where type = 'trigger' order by name"
    )


@pytest.mark.parametrize(
    "migration",
    [
        "alter table product add column note text",
        "create unique index product_name on product (name)",
        "create table other (id text primary key not null, code text unique)",
    ],
)
@pytest.mark.parametrize("pages", [None, 1])
def test_after_a_migration_a_replica_captures_as_a_new_clone_does(
    pair: Pair, migration: str, pages: int | None
) -> None:
    """What REPLACE overwrites by a unique value is found through the indexes, which come with the
    rows (I1)."""
    old = pair.clone("old", page_rows=pages)
    pair.at_hub(migration)
    old.sync()
    assert triggers_of(pair, old) == triggers_of(pair, pair.clone("new"))
    pair.in_file(old, "insert or replace into product (id, name, code) values (9, 'Pear', 'A')")
    pair.assert_agreed()


def test_a_pending_insert_takes_the_default_of_a_new_column(pair: Pair) -> None:
    """As the rows that the hub had: else the migration would refuse what waits on every device."""
    pair.write(pair.replica, "insert into note values ('n1', 'mine')")
    pair.at_hub("alter table note add column level integer not null default '5'")
    pair.at_hub("alter table note add column is_open boolean default true")
    pair.replica.sync()
    assert pair.at_hub("select * from note") == [("n1", "mine", 5, 1)]
    assert pair.replica.parked() == []
    pair.assert_agreed()


def rebuilt(pair: Pair, table: str, columns: str, copied: str) -> None:
    """The table made anew with other columns, as migration tools do it."""
    pair.at_hub("pragma foreign_keys = off")
    pair.at_hub(f"create table {table}_new ({columns})")
    pair.at_hub(f"insert into {table}_new select {copied} from {table}")
    pair.at_hub(f"drop table {table}")
    pair.at_hub(f"alter table {table}_new rename to {table}")
    pair.at_hub("pragma foreign_keys = on")


@pytest.mark.hubs("sqlite")
def test_values_of_a_column_that_is_gone_are_parked_and_the_rest_goes_on(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'kept')")
    pair.write(pair.replica, "update product set name = 'Quince', code = 'Q' where id = 1")
    pair.write(pair.replica, "update product set code = 'X' where id = 2")
    rebuilt(pair, "product", "id integer primary key, name text, stock int", "id, name, stock")

    pair.replica.sync()

    assert pair.at_hub("select name from product order by id") == [("Quince",), ("Pear",)]
    assert [(p.code, p.key, p.set, p.was) for p in pair.replica.parked()] == [
        ("schema-changed", (2,), {"code": "X"}, {"code": "B"}),
        ("schema-changed", (1,), {"code": "Q"}, {"code": "A"}),
    ]
    assert pair.at_hub("select id from note") == [("n1",)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_group_goes_whole_or_is_parked_whole_when_a_change_has_no_place(pair: Pair) -> None:
    pair.write(
        pair.replica,
        "insert into note values ('n1', 'with it')",
        "update product set code = 'X' where id = 2",
    )
    rebuilt(pair, "product", "id integer primary key, name text, stock int", "id, name, stock")
    pair.replica.sync()
    assert pair.at_hub("select * from note") == pair.rows(pair.replica, "note") == []
    first, second = pair.replica.parked()
    assert (first.table, first.set) == ("note", {"id": "n1", "title": "with it"})
    assert (second.table, second.set) == ("product", {"code": "X"})
    assert "no column 'code' any more" in second.reason
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_changes_follow_their_table_to_another_key(pair: Pair) -> None:
    """A key that the row has a value for is taken from it; what has none is parked."""
    pair.at_hub("insert into note values ('n1', 'one'), ('n2', 'two'), ('n3', 'three')")
    pair.replica.sync()
    pair.write(pair.replica, "insert into note values ('n4', 'four')")
    pair.write(pair.replica, "update note set id = 'm1' where id = 'n1'")
    pair.write(pair.replica, "delete from note where id = 'n2'")
    pair.write(pair.replica, "insert into note values ('n5', null)")
    rebuilt(pair, "note", "title text primary key not null, id text", "title, id")

    pair.replica.sync()

    assert pair.at_hub("select title, id from note order by 1") == [
        ("four", "n4"),
        ("one", "m1"),
        ("three", "n3"),
    ]
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set) == ("schema-changed", {"id": "n5", "title": None})
    assert "Its key is title now" in parked.reason
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_values_that_their_column_takes_no_longer_are_parked(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note values ('n1', 'no number')")
    pair.write(pair.replica, "insert into note values ('n2', null)")
    rebuilt(pair, "note", "id text primary key not null, title integer", "id, title")
    pair.replica.sync()
    assert pair.at_hub("select * from note") == [("n2", None)]
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set) == ("schema-changed", {"id": "n1", "title": "no number"})
    assert "title" in parked.reason
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_rejection_that_comes_with_new_columns_is_parked_as_it_was(pair: Pair) -> None:
    pair.write(pair.replica, "insert into product (name, code) values ('Fig', 'F')")
    pair.at_hub("insert into product (id, name, code) values (900, 'Figs', 'F')")
    pair.replica.push()
    rebuilt(pair, "product", "id integer primary key, name text, stock int", "id, name, stock")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set["code"]) == ("unique", "F")
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize(
    "migration",
    [
        "alter table sale add column colour text default 'red'",
        "alter table product rename to article",
        "create table extra (id text primary key not null)",
    ],
)
def test_a_clone_goes_on_when_the_hub_is_migrated_meanwhile(pair: Pair, migration: str) -> None:
    done = []

    def on_progress(progress: object) -> None:
        if not done:
            done.append(progress)
            pair.at_hub(migration)

    other = pair.closing.enter_context(
        Replica.clone(
            pair.folder / "other.db",
            transport=pair.wire.transport(pair.token, label="other"),
            clock=pair.clock,
            page_rows=1,
            on_progress=on_progress,
        )
    )
    other.sync()
    for table in other.schemas:
        assert pair.rows(other, table) == pair.at_hub(f"select * from {table} order by 1")
    assert set(other.schemas) == set(pair.hub.status().tables)


def test_a_schema_that_is_newer_than_its_page_is_not_taken_for_it(pair: Pair) -> None:
    """The hub is migrated between the answer to a pull and the one to the question for its schema;
    a new column that may not be NULL could not be filled from that page."""
    transport = pair.wire.transport(pair.token, label="slow")
    done = []

    class Slow:
        is_remote = False

        def call(self, operation: str, body: bytes) -> bytes:
            if operation == "schema" and not done:
                done.append(operation)
                pair.at_hub("alter table note add column more text not null default 'late'")
            return transport.call(operation, body)

        def close(self) -> None:
            transport.close()

    path = pair.replica.path
    pair.replica.close()
    with Replica(path, transport=Slow(), clock=pair.clock) as replica:
        pair.at_hub("insert into note values ('n1', 'x')")
        pair.at_hub("alter table note add column colour text")
        replica.sync()
        assert done
        assert pair.rows(replica, "note") == [("n1", "x", None, "late")]
        assert replica.schemas["note"].column["title"].merge is ColumnMerge.LAST_WRITER
