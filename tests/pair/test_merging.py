"""Two sides changed the same thing: what wins, what is kept of the rest, who sees it."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.core.merge import MergeContext
from reunite.core.values import Value
from tests.pair.conftest import Pair


def test_the_later_writer_wins_and_the_losing_value_is_a_conflict(pair: Pair) -> None:
    tablet = pair.clone("tablet")
    pair.clock.advance(1000)
    pair.write(pair.replica, "update product set name = 'Laptop' where id = 1")
    pair.clock.advance(1000)
    pair.write(tablet, "update product set name = 'Tablet' where id = 1")
    pair.clock.advance(1000)
    pair.replica.sync()
    tablet.sync()
    (conflict,) = tablet.conflicts()
    assert (conflict.table, conflict.key, conflict.column) == ("product", (1,), "name")
    assert (conflict.base, conflict.hub, conflict.replica, conflict.result) == (
        "Apple",
        "Laptop",
        "Tablet",
        "Tablet",
    )
    pair.assert_agreed()


def test_different_columns_of_one_row_merge_without_a_conflict(pair: Pair) -> None:
    tablet = pair.clone("tablet")
    pair.write(pair.replica, "update product set name = 'Laptop' where id = 1")
    pair.write(tablet, "update product set code = 'Z' where id = 1")
    pair.assert_agreed()
    assert pair.rows(tablet, "product")[0] == (1, "Laptop", "Z", 10)
    assert tablet.conflicts() == pair.replica.conflicts() == []


def test_a_conflict_is_decided_by_an_ordinary_change(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter", "name": "ask"})
    tablet = pair.clone("tablet")
    pair.at_hub("update product set name = 'Hub' where id = 1")
    pair.write(tablet, "update product set name = 'Tablet' where id = 1")
    tablet.sync()
    assert pair.rows(tablet, "product")[0][1] == "Hub"
    (conflict,) = tablet.conflicts(open_only=True)

    tablet.decide(conflict.id, "Both")
    tablet.sync()

    assert tablet.conflicts(open_only=True) == []
    assert pair.at_hub("select name from product where id = 1") == [("Both",)]
    pair.assert_agreed()


def test_update_meets_delete_and_the_lost_values_are_a_conflict(pair: Pair) -> None:
    pair.at_hub("delete from product where id = 1")
    pair.write(pair.replica, "update product set name = 'Late' where id = 1")
    pair.replica.sync()
    (conflict,) = pair.replica.conflicts()
    assert (conflict.column, conflict.hub, conflict.replica) == (None, None, {"name": "Late"})
    pair.assert_agreed()


def test_a_row_that_comes_back_brings_what_it_points_to(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    pair.hub.track("sale", rows="update_wins")
    pair.write(pair.replica, "update sale set amount = 5 where id = 1")
    pair.at_hub("delete from product where id = 1")  # takes its sales along
    pair.replica.sync()
    assert pair.replica.parked() == []
    assert pair.at_hub("select amount from sale where id = 1") == [(5,)]
    assert pair.at_hub("select name from product where id = 1") == [("Apple",)]
    pair.assert_agreed()


def test_a_row_whose_parent_stays_deleted_does_not_come_back(pair: Pair) -> None:
    pair.hub.track("sale", rows="update_wins")
    pair.write(pair.replica, "update sale set amount = 5 where id = 1")
    pair.at_hub("delete from product where id = 1")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert parked.code == "parent-deleted"
    assert pair.at_hub("select * from sale where id = 1") == []
    pair.assert_agreed()


def test_update_wins_brings_the_row_back(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    tablet = pair.clone("tablet")
    pair.at_hub("delete from product where id = 1")
    pair.write(tablet, "update product set name = 'Back' where id = 1")
    tablet.sync()
    assert pair.at_hub("select name, code from product where id = 1") == [("Back", "A")]
    pair.assert_agreed()


def test_a_deleted_parent_takes_new_children_with_it(pair: Pair) -> None:
    pair.at_hub("delete from product where id = 1")
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, 1)")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert parked.code == "parent-deleted"
    pair.assert_agreed()


def test_a_parent_that_wins_is_brought_back_by_its_new_child(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    tablet = pair.clone("tablet")
    pair.at_hub("delete from product where id = 1")
    pair.write(tablet, "insert into sale (product_id, amount) values (1, 1)")
    tablet.sync()
    assert pair.at_hub("select name from product where id = 1") == [("Apple",)]
    pair.write(tablet, "insert into sale (product_id, amount) values (1, 2)")
    pair.assert_agreed()
    assert tablet.parked() == []


def test_a_row_that_one_replica_brought_back_is_what_the_others_meant(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    tablet, phone = pair.clone("tablet"), pair.clone("phone")
    pair.at_hub("delete from product where id = 1")
    pair.write(tablet, "insert into sale (product_id, amount) values (1, 1)")
    pair.write(
        phone,
        "insert into sale (product_id, amount) values (1, 2)",
        "update product set name = 'Pear' where id = 1",
    )
    tablet.sync()
    phone.sync()
    assert phone.parked() == []
    assert pair.at_hub("select name from product where id = 1") == [("Pear",)]
    pair.assert_agreed()


def test_what_the_hub_puts_under_a_key_of_a_deleted_row_is_another_row(pair: Pair) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    pair.at_hub("delete from product where id = 1")
    pair.at_hub("insert into product (id, name, code, stock) values (1, 'Other', 'O', 0)")
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, 2)")
    pair.replica.sync()
    assert [parked.code for parked in pair.replica.parked()] == ["parent-deleted"]
    pair.assert_agreed()


def test_a_deleted_parent_comes_back_for_a_run_of_changes_of_which_one_is_refused(
    pair: Pair,
) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    pair.at_hub("delete from product where id = 1")
    # One run of another program's changes: the second points nowhere.
    pair.in_file(
        pair.replica,
        "insert into sale (product_id, amount) values (1, 2)",
        "pragma foreign_keys = off",
        "insert into sale (product_id, amount) values (777, 3)",
    )
    pair.replica.sync()
    assert [parked.code for parked in pair.replica.parked()] == ["foreign-key"]
    assert pair.at_hub("select name from product where id = 1") == [("Apple",)]
    pair.assert_agreed()


def test_a_pushed_delete_cascades_at_the_hub_and_reaches_every_replica(pair: Pair) -> None:
    tablet = pair.clone("tablet")
    pair.at_hub("insert into sale (product_id, amount) values (1, 7)")
    pair.in_file(pair.replica, "delete from product where id = 1")
    pair.replica.sync()
    tablet.sync()
    assert pair.rows(tablet, "sale") == [(2, 2, 4)]
    pair.assert_agreed()


def test_inserts_of_one_chosen_key_become_one_row(pair: Pair) -> None:
    tablet = pair.clone("tablet")
    pair.write(pair.replica, "insert into note values ('same', 'Laptop')")
    pair.clock.advance(5)
    pair.write(tablet, "insert into note values ('same', 'Tablet')")
    pair.assert_agreed()
    assert pair.at_hub("select * from note") == [("same", "Tablet")]
    (conflict,) = tablet.conflicts()
    assert (conflict.hub, conflict.result) == ("Laptop", "Tablet")


def test_a_function_merges_a_column(pair: Pair) -> None:
    def joined(base: Any, theirs: Any, mine: Any, context: Any) -> Any:
        return f"{theirs} & {mine}"

    pair.hub.track("product", merge={"stock": "counter", "name": joined})
    tablet = pair.clone("tablet")
    pair.at_hub("update product set name = 'Hub' where id = 1")
    pair.write(tablet, "update product set name = 'Tablet' where id = 1")
    tablet.sync()
    assert pair.rows(tablet, "product")[0][1] == "Hub & Tablet"


def test_pending_counters_show_right_before_they_are_pushed(pair: Pair) -> None:
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    pair.at_hub("update product set stock = stock + 5 where id = 1")
    pair.replica.pull()
    assert pair.rows(pair.replica, "product")[0][3] == 14
    assert pair.replica.status().pending == 1
    pair.assert_agreed()


def test_a_pending_row_steps_aside_for_the_hubs_unique_value(pair: Pair) -> None:
    pair.write(pair.replica, "update product set code = 'X' where id = 1")
    pair.at_hub("update product set code = 'X' where id = 2")
    pair.replica.pull()
    assert [row[2] for row in pair.rows(pair.replica, "product")] == ["A", "X"]
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert parked.code == "unique"
    pair.assert_agreed()


def test_a_merge_function_decides_and_every_replica_gets_what_it_says(pair: Pair) -> None:
    asked = []

    def longer(base: Value, theirs: Value, mine: Value, context: MergeContext) -> Value:
        asked.append((base, theirs, mine, context.table, context.column, context.row["stock"]))
        return max(str(theirs), str(mine), key=len)

    pair.hub.track("product", merge={"name": longer, "stock": "counter"})
    tablet = pair.clone("tablet")
    pair.at_hub("update product set name = 'Braeburn' where id = 1")
    pair.write(tablet, "update product set name = 'Gala' where id = 1")
    tablet.sync()
    assert asked == [("Apple", "Braeburn", "Gala", "product", "name", 10)]
    (conflict,) = tablet.conflicts()
    assert (conflict.hub, conflict.replica, conflict.result) == ("Braeburn", "Gala", "Braeburn")
    pair.assert_agreed()


@pytest.mark.parametrize("fails", ["raises", "answers what the column cannot hold"])
def test_a_merge_function_that_fails_parks_the_change_and_says_why_in_the_hubs_log(
    pair: Pair, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(base: Value, theirs: Value, mine: Value, context: MergeContext) -> Any:
        if fails == "raises":
            raise RuntimeError("boom")
        return {"boom"}

    pair.hub.track("product", merge={"name": broken, "stock": "counter"})
    tablet = pair.clone("tablet")
    pair.at_hub("update product set name = 'Braeburn' where id = 1")
    pair.write(tablet, "update product set name = 'Gala' where id = 1")
    pair.write(tablet, "update product set name = 'Quince' where id = 2")
    tablet.sync()
    (parked,) = tablet.parked()
    assert (parked.code, parked.key) == ("merge-failed", (1,))
    assert "boom" not in parked.reason
    told = [record for record in caplog.records if record.name == "reunite.hub"]
    assert "a merge function of 'product'" in told[0].getMessage()
    assert "boom" in caplog.text
    assert pair.at_hub("select name from product order by id") == [("Braeburn",), ("Quince",)]
    pair.assert_agreed()
