"""Pushes that are taken whole or not at all, for programs that hold the hub themselves."""

from __future__ import annotations

import pytest

from reunite.core.principal import Principal
from reunite.engine.whole import RefusedError, Whole
from reunite.protocol.codec import decode, encode
from reunite.protocol.push import PushRequest
from reunite.replica import Replica
from reunite.replica.regrouping import WholeReplica
from tests.pair.conftest import Pair


class WholeLine:
    """A transport whose pushes the hub takes whole."""

    is_remote = False

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def call(self, operation: str, body: bytes) -> bytes:
        hub, principal = self._pair.hub, Principal(user="owner")
        if operation == "push":
            return encode(hub.push(decode(body, PushRequest), principal, whole=Whole()))
        return hub.answer(operation, body, principal)

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def whole(pair: Pair) -> Replica:
    """A replica whose pushes are taken whole."""
    path = pair.folder / "whole.db"
    Replica.clone(path, transport=WholeLine(pair), clock=pair.clock).close()
    return pair.closing.enter_context(
        WholeReplica(path, transport=WholeLine(pair), clock=pair.clock)
    )


def test_a_refused_push_leaves_no_trace_and_goes_when_it_is_mended(
    pair: Pair, whole: WholeReplica
) -> None:
    head = pair.hub.number()
    pair.at_hub("insert into product (id, name, code, stock) values (9, 'Fig', 'F', 1)")
    pair.write(whole, "insert into note (id, title) values ('n1', 'kept')")
    pair.write(whole, "insert into product (name, code, stock) values ('Plum', 'F', 1)")
    for _ in range(2):
        whole.regroup()
        with pytest.raises(RefusedError, match="unique"):
            whole.push()
    assert pair.at_hub("select * from note where id = 'n1'") == []
    assert pair.hub.number().seq == head.seq + 1  # the hub's own
    pair.in_file(whole, "update product set code = 'P' where name = 'Plum'")
    assert whole.regroup() == 3
    whole.push()
    whole.pull()
    assert whole.parked() == []
    assert pair.at_hub("select code from product where name = 'Plum'") == [("P",)]
    assert pair.at_hub("select title from note where id = 'n1'") == [("kept",)]


def test_a_delete_of_what_others_need_does_not_refuse_the_rest(
    pair: Pair, whole: WholeReplica
) -> None:
    pair.hub.track("product", merge={"stock": "counter"}, rows="update_wins")
    whole.pull()
    pair.write(whole, "delete from product where id = 2")
    pair.at_hub("update product set name = 'Needed' where id = 2")
    pair.write(whole, "insert into note (id, title) values ('n2', 'taken')")
    whole.regroup()
    whole.push()
    whole.pull()
    assert pair.at_hub("select title from note where id = 'n2'") == [("taken",)]
    assert pair.rows(whole, "product") == pair.at_hub("select * from product order by 1")


@pytest.mark.hubs("sqlite")
def test_what_the_database_undoes_whole_is_refused(pair: Pair, whole: WholeReplica) -> None:
    pair.at_hub(
        "create trigger never before insert on note when new.title = 'never' "
        "begin select raise(rollback, 'not this'); end"
    )
    pair.write(whole, "insert into note (id, title) values ('n3', 'also')")
    pair.write(whole, "insert into note (id, title) values ('n4', 'never')")
    whole.regroup()
    with pytest.raises(RefusedError, match="not this"):
        whole.push()
    assert pair.at_hub("select * from note where id in ('n3', 'n4')") == []
