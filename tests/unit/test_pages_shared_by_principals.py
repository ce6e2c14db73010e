"""Principals whose rules come to the same share a page: it is read and encoded once for all."""

from __future__ import annotations

from unittest.mock import patch

from reunite import Hub, row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.engine import live
from reunite.protocol.live import LiveRequest
from reunite.protocol.pull import PullRequest
from reunite.protocol.register import RegisterRequest
from reunite.stores.memory import MemoryStore
from reunite.testing import FakeClock, SeededIds

PRINCIPALS = 1_000
SALE = TableSchema(
    name="sale",
    columns=(
        Column(name="id", type=ColumnType.INTEGER, nullable=False),
        Column(name="store", type=ColumnType.INTEGER),
    ),
    key=("id",),
)


def test_a_thousand_principals_with_the_same_bound_rules_share_one_encoded_page() -> None:
    """They are different users, whose rule asks for their stores, in whatever order."""
    store = MemoryStore()
    store.track([SALE])
    hub = Hub(store, clock=FakeClock(), new_id=SeededIds(1))
    hub.adopt()
    hub.track("sale", rules=Rules(read=row.store.is_in(user.stores)))
    desk = hub.live()
    watches = []
    for number in range(PRINCIPALS):
        stores = [1, 2] if number % 2 else [2, 1]
        principal = Principal(user=f"user {number}", claims={"stores": stores})
        replica = hub.register(RegisterRequest(protocol=1), principal).replica
        cursor = None
        for _ in range(2):  # the snapshot, and the checkpoint
            asked = PullRequest(protocol=1, replica=replica, known=0, cursor=cursor)
            cursor = hub.pull(asked, principal).cursor
        assert cursor is not None
        opened = desk.open(LiveRequest(protocol=1, replica=replica, cursor=cursor), principal)
        assert opened is not None
        watches.append(opened.watch)
    with store.foreign_write() as program:
        program.insert("sale", {"id": 1, "store": 2})
    hub.number()

    with patch.object(live, "encode", wraps=live.encode) as encode:
        found = desk.round()

    assert len({watch.view.hash for watch in watches}) == 1
    assert [*found.deliveries] == [watches[0].view.hash]
    assert encode.call_count == 1
