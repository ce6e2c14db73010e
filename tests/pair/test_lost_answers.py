"""Answers that never arrive, requests that come twice or late: a change takes effect once (I2)."""

from __future__ import annotations

import pytest

from reunite.errors import HubUnreachableError
from tests.pair.conftest import Pair


def test_push_whose_answer_was_lost_takes_effect_once(pair: Pair) -> None:
    """The hub commits, the answer is lost, the replica sends again: one change in the log."""
    pair.write(pair.replica, "insert into note (id, title) values ('n1', 'Buy milk')")
    pair.wire.lose_next_answer("push")

    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.replica.sync()

    assert len(pair.hub.history("note", ("n1",))) == 1
    assert pair.replica.status().pending == 0
    pair.assert_agreed()


def test_two_tills_count_down_through_lost_answers(pair: Pair) -> None:
    """Two replicas subtract 1 from one counter while answers are lost: both count, once each."""
    tills = [pair.clone("till1"), pair.clone("till2")]
    for till in tills:
        pair.write(till, "update product set stock = stock - 1 where id = 1")
        pair.wire.lose_next_answer("push")
        with pytest.raises(HubUnreachableError):
            till.sync()

    pair.assert_agreed()

    assert pair.at_hub("select stock from product where id = 1") == [(8,)]


def test_dropped_request_leaves_the_change_pending(pair: Pair) -> None:
    pair.write(pair.replica, "insert into note (id, title) values ('n1', 'Buy milk')")
    pair.wire.drop_next_request("push")

    with pytest.raises(HubUnreachableError):
        pair.replica.sync()

    assert pair.replica.status().pending == 1
    assert pair.at_hub("select * from note") == []
    pair.assert_agreed()


@pytest.mark.parametrize("operation", ["push", "pull"])
def test_request_that_arrives_twice_is_done_once(pair: Pair, operation: str) -> None:
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    pair.wire.double_next_request(operation)

    pair.replica.sync()

    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    pair.assert_agreed()


def test_push_that_arrives_late_is_recognised(pair: Pair) -> None:
    """The replica gave a push up and sent it again; the first one arrives after a second push."""
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    pair.wire.delay_next_request("push")
    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.replica.sync()
    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    pair.replica.sync()

    pair.wire.deliver_late()

    assert pair.at_hub("select stock from product where id = 1") == [(8,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_rejected_change_whose_answer_was_lost_is_parked_once(pair: Pair) -> None:
    """A check constraint of the hub refuses the row; the replica learns it from the next page."""
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, -5)")
    pair.wire.lose_next_answer("push")

    with pytest.raises(HubUnreachableError):
        pair.replica.sync()
    pair.replica.sync()

    (parked,) = pair.replica.parked()
    assert parked.code == "check"
    pair.assert_agreed()
