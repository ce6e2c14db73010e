"""Many groups of one push point to the same parents: whether these stand is asked once, unless
something else happened meanwhile than that rows were added."""

from __future__ import annotations

import pytest

from tests.pair.conftest import Pair

SALE = "insert into sale (id, product_id, amount) values (?, ?, ?)"


def sell(pair: Pair, number: int, amount: int) -> None:
    with pair.replica.transaction() as db:
        db.execute(SALE, (number, 1, amount))


@pytest.mark.hubs("sqlite")
def test_a_parent_that_a_trigger_replaced_between_two_groups_is_another_row(pair: Pair) -> None:
    """The hub's trigger does it when the second of three sales arrives."""
    pair.at_hub(
        "create trigger replacing after insert on sale when new.amount = 666 begin"
        " update sale set product_id = 2 where product_id = 1;"
        " delete from product where id = 1;"
        " insert into product (id, name, code, stock) values (1, 'Quince', 'Q', 1); end"
    )
    for number, amount in ((11, 5), (12, 666), (13, 7)):
        sell(pair, number, amount)

    pair.replica.sync()

    assert [parked.code for parked in pair.replica.parked()] == ["parent-deleted"]


def test_groups_that_point_to_one_parent_all_arrive(pair: Pair) -> None:
    for number in range(11, 31):
        sell(pair, number, number)

    pair.replica.sync()

    assert pair.replica.status().parked == 0
    assert pair.at_hub("select count(*) from sale where product_id = 1") == [(21,)]
