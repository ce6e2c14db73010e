"""Partial clones: a replica has the rows that its expressions mean, and follows them in and out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from reunite.core.expression import Expression
from reunite.core.fields import row
from reunite.errors import BadRequestError, CallerError, HubUnreachableError, UnknownTableError
from reunite.replica import Replica
from reunite.replica.asked import AskedTables
from reunite.testing.wire import Fault, Request, WireObserver
from tests.pair.conftest import Pair

SALE = "insert into sale (id, product_id, amount) values (?, ?, ?)"


class Answers(WireObserver):
    """Keeps what the hub said."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def answered(self, request: Request, answer: bytes) -> None:
        self.bodies.append(answer)


def amounts(pair: Pair, replica: Replica) -> dict[int, int]:
    """The sales in a replica's file: amounts by id."""
    return {key: amount for key, _, amount in pair.rows(replica, "sale")}


def of_product(pair: Pair, number: int, **options: Any) -> Replica:
    """A replica that has the sales of one product, and all products."""
    asked: dict[str, Expression | None] = {"sale": row.product_id == number, "product": None}
    return pair.clone(f"product{number}", tables=asked, **options)


def assert_shows(pair: Pair, replica: Replica, condition: str) -> None:
    """After a sync, the sales of a replica are those of the hub for which an SQL condition is
    true, and all products (I4)."""
    replica.sync()
    assert replica.status().pending == 0
    wanted = pair.at_hub(f"select * from sale where {condition} order by 1")
    assert pair.rows(replica, "sale") == wanted
    assert pair.rows(replica, "product") == pair.at_hub("select * from product order by 1")


def test_a_partial_clone_has_the_rows_that_it_asked_for(pair: Pair) -> None:
    pair.at_hub(SALE, 3, None, 9)
    replica = of_product(pair, 1)
    assert amounts(pair, replica) == {1: 3}
    assert replica.status().tables == {"product": 2, "sale": 1}
    with pytest.raises(Exception, match="no such table: note"):
        pair.rows(replica, "note")


def test_rows_enter_and_leave_as_others_change_them(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.at_hub(SALE, 3, 1, 30)
    pair.at_hub(SALE, 4, 2, 40)
    assert_shows(pair, replica, "product_id = 1")
    pair.at_hub("update sale set product_id = 1 where id = 4")
    pair.at_hub("update sale set product_id = null where id = 3")
    pair.at_hub("delete from sale where id = 1")
    assert_shows(pair, replica, "product_id = 1")
    assert amounts(pair, replica) == {4: 40}


def test_a_row_that_moves_on_within_one_range_still_leaves(pair: Pair) -> None:
    """A to B to C between two pulls: the last image alone would not tell A's replica."""
    pair.at_hub("insert into product (id, name) values (3, 'Plum')")
    replicas = [of_product(pair, number) for number in (1, 2, 3)]
    pair.at_hub("update sale set product_id = 2 where id = 1")
    pair.at_hub("update sale set product_id = 3 where id = 1")
    for number, replica in enumerate(replicas, 1):
        assert_shows(pair, replica, f"product_id = {number}")
    assert [amounts(pair, replica) for replica in replicas] == [{}, {2: 4}, {1: 3}]


@pytest.mark.parametrize("page_rows", [1, 2, 3, 100])
def test_pages_of_any_size_bring_a_partial_replica_to_the_hubs_state(
    pair: Pair, page_rows: int
) -> None:
    replica = of_product(pair, 1, page_rows=page_rows)
    for number in range(3, 12):
        pair.at_hub(SALE, number, 1 + number % 2, number)
    replica.sync()
    pair.at_hub("update sale set product_id = 3 - product_id where id % 3 = 0")
    pair.at_hub("update sale set product_id = 3 - product_id where id % 6 = 0")
    pair.at_hub("update sale set id = id + 100 where id % 5 = 0")
    pair.at_hub("delete from sale where id % 4 = 0")
    assert_shows(pair, replica, "product_id = 1")


def test_a_key_that_moves_leaves_its_old_place(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.at_hub("update sale set id = 50 where id = 1")
    assert_shows(pair, replica, "product_id = 1")
    pair.at_hub("update sale set id = 60, product_id = 2 where id = 50")
    assert_shows(pair, replica, "product_id = 1")
    assert amounts(pair, replica) == {}


def test_a_hidden_rows_changes_say_nothing_of_it(pair: Pair) -> None:
    """Neither values nor keys of rows outside the view are in any page."""
    answers = Answers()
    pair.wire.observer = answers
    replica = of_product(pair, 1)
    pair.at_hub(SALE, 7_654_321, 2, 1_234_567)
    pair.at_hub("update sale set amount = 2345678 where id = 7654321")
    pair.at_hub("update sale set id = 8765432 where id = 7654321")
    replica.sync()
    pair.at_hub("delete from sale where id = 8765432")
    report = replica.sync()
    assert report.pulled == 0
    bodies = b"".join(answers.bodies)
    assert b"checkpoint" in bodies
    for number in (b"7654321", b"8765432", b"1234567", b"2345678"):
        assert number not in bodies


def test_a_replicas_own_rows_leave_when_they_are_pushed_out_of_its_view(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.write(
        replica,
        "insert into sale (product_id, amount) values (2, 20)",
        "update sale set product_id = 2, amount = 33 where id = 1",
    )
    assert len(amounts(pair, replica)) == 2
    assert_shows(pair, replica, "product_id = 1")
    assert amounts(pair, replica) == {}
    assert pair.at_hub("select amount from sale where product_id = 2 order by 1") == [
        (4,), (20,), (33,),
    ]  # fmt: skip


def test_a_change_of_an_evicted_row_is_pushed_and_judged(pair: Pair) -> None:
    """The change arrives; until then the outbox alone knows of the row."""
    replica = of_product(pair, 1)
    pair.write(replica, "update sale set amount = 11 where id = 1")
    pair.at_hub("update sale set product_id = 2 where id = 1")
    replica.pull()
    assert amounts(pair, replica) == {}
    assert replica.status().pending == 1
    assert_shows(pair, replica, "product_id = 1")
    assert pair.at_hub("select product_id, amount from sale where id = 1") == [(2, 11)]


def test_of_a_refused_change_of_an_evicted_row_only_what_it_set_stays(pair: Pair) -> None:
    pair.at_hub("update product set name = 'Secret apple' where id = 1")
    replica = pair.clone("cheap", tables={"product": row.stock < 100, "sale": None})
    pair.at_hub("insert into product values (3, 'Gold apple', 'G', 5000)")
    pair.write(replica, "update product set code = 'G' where id = 1")
    pair.at_hub("update product set stock = 1000 where id = 1")
    replica.pull()
    assert pair.rows(replica, "product") == [(2, "Pear", "B", 10)]
    replica.sync()
    (parked,) = replica.parked()
    assert (parked.code, parked.set, parked.was) == ("unique", {"code": "G"}, {})
    tables = ("reunite_parked", "reunite_change", "reunite_base", "reunite_inbox", "product")
    for table in tables:
        assert "Secret" not in repr(pair.in_file(replica, f"select * from {table}"))


def test_an_evicted_row_is_not_shown_again_by_a_pending_update_that_wins(pair: Pair) -> None:
    pair.hub.track("note", rows="update_wins")
    pair.at_hub("insert into note values ('n1', 'mine')")
    replica = pair.clone("notes", tables={"note": row.title == "mine"})
    pair.write(replica, "update note set title = 'still mine' where id = 'n1'")
    pair.at_hub("update note set title = 'theirs' where id = 'n1'")
    replica.pull()
    assert pair.rows(replica, "note") == []
    pair.in_file(replica, "insert into note values ('n2', 'mine')")
    replica.pull()
    assert pair.rows(replica, "note") == [("n2", "mine")]


def test_counters_conflicts_and_generated_keys_work_in_a_partial_clone(pair: Pair) -> None:
    replica = pair.clone("cheap", tables={"product": row.stock <= 10, "sale": row.amount > 3})
    pair.write(
        replica,
        "update product set stock = stock - 4, name = 'Small pear' where id = 2",
        "insert into product (name, code, stock) values ('Fig', 'F', 1)",
    )
    pair.clock.advance(1_000)
    pair.at_hub("update product set stock = stock + 5, name = 'Big pear' where id = 2")
    replica.sync()
    assert pair.at_hub("select stock, name from product where id = 2") == [(11, "Big pear")]
    assert [conflict.column for conflict in replica.conflicts()] == ["name"]
    assert {name for _, name, _, _ in pair.rows(replica, "product")} == {"Apple", "Fig"}
    assert pair.rows(replica, "product") == pair.at_hub("select * from product where stock <= 10")


def test_a_partial_clone_survives_a_restart_of_the_hub(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.at_hub("update sale set product_id = 3 - product_id")
    pair.restart_hub()
    assert_shows(pair, replica, "product_id = 1")


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_replica_that_takes_a_new_identity_keeps_its_view(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.write(replica, "update sale set amount = 5 where id = 1")
    pair.at_hub("delete from reunite_replica")
    assert_shows(pair, replica, "product_id = 1")
    assert amounts(pair, replica) == {1: 5}


# --- Other tables, other rows ---------------------------------------------------------------------


def test_another_expression_moves_only_the_difference(pair: Pair) -> None:
    for number in range(10, 20):
        pair.at_hub(SALE, number, 1 + number % 2, number)
    replica = pair.clone("phone", tables={"sale": row.amount < 15})
    before = amounts(pair, replica)
    replica.set_tables({"sale": (row.amount >= 12) & (row.amount < 17)})
    assert amounts(pair, replica) == before
    report = replica.sync()
    assert amounts(pair, replica) == {number: number for number in range(12, 17)}
    # Out go 1, 2, 10 and 11, in come 15 and 16.
    assert report.pulled == 6
    assert replica.sync().pulled == 0


class OnceAnswered(WireObserver):
    """Does something when the first answer is on its way."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do: list[Callable[[], object]] = [do]

    def answered(self, request: Request, answer: bytes) -> None:
        if self._do:
            self._do.pop()()


def test_a_row_that_leaves_both_views_while_they_change_leaves_the_replica(pair: Pair) -> None:
    """It is in neither view when its turn in the difference comes: its old image counts."""
    for number in range(10, 20):
        pair.at_hub(SALE, number, 1 + number % 2, number)
    replica = pair.clone("phone", tables={"sale": row.amount < 18}, page_rows=1)
    replica.set_tables({"sale": row.amount < 5})
    pair.wire.observer = OnceAnswered(
        lambda: pair.at_hub("update sale set amount = 100 where id = 17")
    )
    replica.sync()
    assert amounts(pair, replica) == {1: 3, 2: 4}


def test_whole_tables_come_and_go(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    replica = of_product(pair, 1)
    replica.set_tables({"sale": None, "note": None})
    replica.sync()
    assert pair.rows(replica, "sale") == pair.at_hub("select * from sale")
    assert pair.rows(replica, "note") == [("n1", "x")]
    with pytest.raises(Exception, match="no such table: product"):
        pair.rows(replica, "product")
    pair.write(replica, "insert into note values ('n2', 'y')")
    replica.set_tables(None)
    replica.sync()
    assert pair.at_hub("select * from note order by id") == [("n1", "x"), ("n2", "y")]
    pair.replicas = {"phone": replica}
    pair.assert_agreed()


def test_rows_that_are_neither_true_nor_false_belong_to_the_difference(pair: Pair) -> None:
    """NULL is in no view; where one view is unknown, the other still counts."""
    pair.at_hub(SALE, 3, None, 9)
    replica = of_product(pair, 1)
    replica.set_tables({"sale": row.amount > 5, "product": None})
    assert_shows(pair, replica, "amount > 5")
    assert amounts(pair, replica) == {3: 9}
    replica.set_tables({"sale": ~(row.product_id == 1), "product": None})
    assert_shows(pair, replica, "not product_id = 1")
    assert amounts(pair, replica) == {2: 4}


def test_pending_changes_outlive_a_change_of_the_view(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.write(replica, "update sale set amount = 33 where id = 1")
    replica.set_tables({"sale": row.product_id == 2, "product": None})
    replica.pull()
    assert amounts(pair, replica) == {2: 4}
    assert_shows(pair, replica, "product_id = 2")
    assert pair.at_hub("select amount from sale where id = 1") == [(33,)]


def test_an_expression_that_does_not_fit_is_refused_with_its_place(pair: Pair) -> None:
    replica = of_product(pair, 1)
    for wrong, path in (
        (row.shop == 1, "tables.sale.field"),
        (row.amount == "much", "tables.sale.value"),
        ((row.amount == 1) & (row.id.is_in([1, "x"])), "tables.sale.and[1].value[1]"),
    ):
        with pytest.raises(BadRequestError) as caught:
            replica.set_tables({"sale": wrong})
        assert caught.value.path == path
    with pytest.raises(BadRequestError) as caught:
        pair.clone("other", tables={"sale": row.shop == 1})
    assert caught.value.path == "where.sale.field"
    assert not (pair.folder / "other.db").exists()
    assert_shows(pair, replica, "product_id = 1")


@pytest.mark.parametrize(
    "choice",
    [
        ["sales"],
        {"sales": row.amount == 4, "*": None},
        {"sale": row.product_id == 2, "sales": None},
    ],
)
def test_a_new_name_that_the_hub_does_not_offer_is_refused_and_nothing_changes(
    pair: Pair, choice: AskedTables
) -> None:
    replica = of_product(pair, 1)
    with pytest.raises(UnknownTableError, match="no table 'sales'"):
        replica.set_tables(choice)
    assert_shows(pair, replica, "product_id = 1")


def test_a_choice_among_known_tables_needs_no_hub_and_a_new_one_does(pair: Pair) -> None:
    replica = of_product(pair, 1)
    pair.wire.drop_next_request()
    replica.set_tables({"sale": row.product_id == 2, "product": None})
    with pytest.raises(HubUnreachableError):
        replica.set_tables(["sale", "note"])
    assert_shows(pair, replica, "product_id = 2")


def test_a_chosen_table_that_is_gone_at_the_hub_may_be_named_again(pair: Pair) -> None:
    replica = pair.clone("notes", tables=["note", "product", "sale"])
    pair.at_hub("drop table note")
    replica.sync()
    replica.set_tables({"note": None, "product": None, "sale": row.product_id == 1})
    assert_shows(pair, replica, "product_id = 1")


def test_a_clone_that_broke_off_goes_on_with_the_same_tables_only(pair: Pair) -> None:
    pair.wire.drop_next_request("pull")
    with pytest.raises(HubUnreachableError):
        of_product(pair, 1)
    with pytest.raises(CallerError, match="other tables"):
        pair.clone("product1", tables={"sale": None})
    assert amounts(pair, of_product(pair, 1)) == {1: 3}


def test_a_table_with_another_column_is_sent_anew_alone(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'mine')")
    replica = pair.clone("notes", tables={"note": row.title == "mine", "product": None})
    pair.write(replica, "update product set name = 'Quince' where id = 1")
    pair.at_hub("alter table note add column colour text default 'red'")
    pair.at_hub("insert into note values ('n2', 'theirs', 'blue')")
    assert replica.pull().pulled == 1
    assert pair.rows(replica, "note") == [("n1", "mine", "red")]
    replica.sync()
    assert pair.rows(replica, "product") == pair.at_hub("select * from product order by 1")


@pytest.mark.parametrize("count", [3, 1_500])
def test_a_repair_compares_what_is_in_the_view(pair: Pair, count: int) -> None:
    """Rows outside it are neither missing nor sent, few rows or many."""
    pair.at_hub_many(SALE, [(key, 1 + key % 2, key) for key in range(10, 10 + count)])
    replica = of_product(pair, 1)
    assert replica.repair().found == 0
    file = sqlite3.connect(replica.path)
    file.execute("update reunite_guard set suspended = 1")
    file.execute("update sale set amount = 99 where id = 1")
    file.execute("insert into sale values (11, 1, 1)")
    file.execute("delete from sale where id = 12")
    file.execute("update reunite_guard set suspended = 0")
    file.commit()
    file.close()
    (sale,) = [table for table in replica.repair().tables if table.table == "sale"]
    assert (sale.differing, sale.missing, sale.extra) == (1, 1, 1)
    assert_shows(pair, replica, "product_id = 1")


# --- While the view changes -----------------------------------------------------------------------


def pulled_page(pair: Pair, replica: Replica) -> None:
    """One page reaches the replica, then the network is gone."""
    seen = len(pair.wire.requests)
    pair.wire.choose = lambda request: (
        Fault.DROP if len(pair.wire.requests) > seen + 1 else Fault.NONE
    )
    with pytest.raises(HubUnreachableError):
        replica.pull()
    pair.wire.choose = lambda request: Fault.NONE


def many_sales(pair: Pair) -> None:
    for number in range(10, 30):
        pair.at_hub(SALE, number, 1 + number % 2, number)


@pytest.mark.parametrize("pages_before", [1, 2, 3, 4, 5])
def test_commits_between_the_pages_of_a_difference_arrive_too(
    pair: Pair, pages_before: int
) -> None:
    """Rows move from the old view to the new one, back, away and out of existence meanwhile."""
    many_sales(pair)
    replica = of_product(pair, 1, page_rows=2)
    before = amounts(pair, replica)
    replica.set_tables({"sale": row.amount >= 20, "product": None})
    for _ in range(pages_before):
        pulled_page(pair, replica)
    assert amounts(pair, replica) == before
    pair.at_hub("update sale set amount = 100 where id in (1, 10, 11)")  # in
    pair.at_hub("update sale set amount = 5 where id in (20, 21, 28)")  # out
    pair.at_hub("update sale set amount = 5, product_id = 2 where id = 22")
    pair.at_hub("update sale set product_id = 2, amount = 6 where id in (12, 14)")
    pair.at_hub("delete from sale where id in (16, 23)")
    pair.at_hub("update sale set id = 99 where id = 24")
    assert_shows(pair, replica, "amount >= 20")


@pytest.mark.parametrize("pages_before", [1, 3, 5])
@pytest.mark.parametrize("by_the_hub", [False, True])
def test_a_view_that_changes_again_begins_at_the_checkpoint(
    pair: Pair, pages_before: int, by_the_hub: bool
) -> None:
    many_sales(pair)
    replica = of_product(pair, 1, page_rows=2)
    pair.write(replica, "update sale set amount = 77 where id = 10")
    before = amounts(pair, replica)
    replica.set_tables({"sale": row.amount >= 20, "product": None})
    for _ in range(pages_before):
        pulled_page(pair, replica)
    if by_the_hub:
        pair.at_hub("alter table product add column colour text default 'red'")
    else:
        replica.set_tables({"sale": row.amount < 15, "product": None})
    assert amounts(pair, replica) == before
    pair.at_hub("update sale set amount = amount + 1 where id % 4 = 0")
    assert_shows(pair, replica, "amount >= 20" if by_the_hub else "amount < 15")
    assert pair.at_hub("select amount from sale where id = 10") == [(77,)]


@pytest.mark.parametrize("pages_before", [1, 4])
def test_hub_and_replica_may_both_die_while_the_view_changes(pair: Pair, pages_before: int) -> None:
    many_sales(pair)
    replica = of_product(pair, 1, page_rows=2)
    replica.set_tables({"sale": row.amount >= 20, "product": None})
    for _ in range(pages_before):
        pulled_page(pair, replica)
    pair.restart_hub()
    pair.at_hub("update sale set product_id = 2, amount = 1 where id = 28")
    replica.close()
    with Replica(
        pair.folder / "product1.db",
        transport=pair.wire.transport(pair.token, label="product1"),
        clock=pair.clock,
        page_rows=2,
    ) as again:
        assert_shows(pair, again, "amount >= 20")


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_hub_that_has_forgotten_the_old_view_sends_all_of_the_new_one(pair: Pair) -> None:
    many_sales(pair)
    replica = of_product(pair, 1, page_rows=2)
    replica.set_tables({"sale": row.amount >= 20, "product": None})
    pair.at_hub("delete from reunite_view")
    assert_shows(pair, replica, "amount >= 20")
    replica.set_tables({"sale": row.amount >= 25, "product": None})
    pulled_page(pair, replica)
    pair.at_hub("delete from reunite_view")
    assert_shows(pair, replica, "amount >= 25")


def test_rows_that_leave_are_seen_by_images_of_older_columns_too(pair: Pair) -> None:
    """An image of another version is judged where it has the columns, else it counts as seen."""
    pair.at_hub("insert into note values ('a', 'mine'), ('b', 'mine'), ('c', 'mine')")
    replica = pair.clone("notes", tables={"note": row.title == "mine"})
    pair.at_hub("update note set title = 'theirs' where id = 'a'")
    pair.at_hub("alter table note add column colour text")
    pair.at_hub("update note set title = 'theirs' where id = 'b'")
    replica.sync()
    assert pair.rows(replica, "note") == [("c", "mine", None)]
    replica.set_tables({"note": row.colour.is_null()})
    pair.at_hub("update note set colour = 'red' where id = 'c'")
    replica.sync()
    assert [key for key, *_ in pair.rows(replica, "note")] == ["a", "b"]


@pytest.mark.hubs("sqlite", "postgresql")
def test_what_a_view_says_of_a_dropped_column_is_told(pair: Pair) -> None:
    replica = pair.clone("notes", tables={"note": row.title == "mine"})
    pair.write(replica, "insert into note values ('n', 'mine')")
    with pair.hub.migrating():
        pair.at_hub("alter table note drop column title")
    with pytest.raises(BadRequestError, match="has no column 'title'") as caught:
        replica.sync()
    assert caught.value.path == "where.note.field"
    replica.set_tables(["note"])
    replica.sync()
    assert pair.rows(replica, "note") == pair.at_hub("select * from note")
