"""What streams are sent makes every replica what the hub is, whoever reads slowly (I3, I4)."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite import Expression, Hub, row, user
from reunite.core.expression import check_expression, to_json
from reunite.core.matching import row_judge
from reunite.core.principal import Principal
from reunite.core.rules import Rules, check_rules, rules_text
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.engine import live
from reunite.engine.live import Delivery, LiveDesk, Watch
from reunite.protocol.live import LiveRequest
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.register import RegisterRequest
from reunite.stores.memory import MemoryStore
from reunite.testing import FakeClock, SeededIds

ANN = Principal(user="ann")
SALE = TableSchema(
    name="sale",
    columns=(
        Column(name="id", type=ColumnType.INTEGER, nullable=False),
        Column(name="store", type=ColumnType.INTEGER),
    ),
    key=("id",),
)
WHERES: Sequence[Expression | None] = (
    None,
    row.store == 1,
    row.store == 2,
    row.store.is_in([1, 2]),
    row.store > 1,
    row.id == 3,
)

Rows = dict[int, int | None]


class Reader:
    """A replica on a stream, as a mapping of rows."""

    def __init__(
        self, hub: Hub, desk: LiveDesk, where: Expression | None, principal: Principal = ANN
    ) -> None:
        self._desk = desk
        self.where = None if where is None else check_expression(where, SALE, path="where")
        asked = {} if self.where is None else {"sale": to_json(self.where)}
        registered = hub.register(RegisterRequest(protocol=1, name="reader"), principal)
        self.replica = registered.replica
        self.rows: Rows = {}
        self.answered = 0
        self.is_busy = False
        cursor, is_checkpoint = None, False
        while not is_checkpoint:
            request = PullRequest(
                protocol=1, replica=self.replica, known=0, cursor=cursor, where=asked
            )
            page = msgspec.json.decode(msgspec.json.encode(hub.pull(request, principal)), type=Page)
            self._apply(page)
            cursor, is_checkpoint = page.cursor, page.checkpoint
        assert cursor is not None
        opened = desk.open(
            LiveRequest(protocol=1, replica=self.replica, cursor=cursor, where=asked), principal
        )
        assert opened is not None
        self.watch: Watch = opened.watch
        self.take(opened.delivery, opened.answered)

    def take(self, delivery: Delivery, answered: int | None) -> None:
        for event in delivery.events:
            data = event.partition(b"data: ")[2]
            self._apply(msgspec.json.decode(data, type=Page))
        self.watch.cursor = delivery.cursor
        if answered is not None:
            self.watch.answered = self.answered = answered

    def catch_up(self) -> None:
        self.is_busy = False
        opened = self._desk.catch_up(self.watch)
        assert opened is not None
        self.take(opened.delivery, opened.answered)

    def _apply(self, page: Page) -> None:
        if page.reset:
            self.rows.clear()
        for part in page.tables:
            for (key,) in [*part.deletes, *part.evicts]:
                self.rows.pop(key, None)
            self.rows.update({key: store for key, store, *_ in part.puts})


class World:
    """A hub in memory, its desk, and readers."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.track([SALE])
        self.hub = Hub(self.store, clock=FakeClock(), new_id=SeededIds(1))
        self.hub.adopt()
        self.desk = self.hub.live()
        self.readers: list[Reader] = []
        self.rows: Rows = {}

    def join(self, where: Expression | None, principal: Principal = ANN) -> None:
        self.readers.append(Reader(self.hub, self.desk, where, principal))

    def leave(self, reader: Reader) -> None:
        self.readers.remove(reader)
        self.desk.close([reader.watch])

    def write(self, writes: Sequence[tuple[int, int | None]]) -> None:
        """One transaction: each key gets this store; 0 deletes it."""
        with self.store.foreign_write() as program:
            for key, store in writes:
                if store == 0:
                    if key in self.rows:
                        del self.rows[key]
                        program.delete("sale", (key,))
                    continue
                if key in self.rows:
                    program.update("sale", (key,), {"store": store})
                else:
                    program.insert("sale", {"id": key, "store": store})
                self.rows[key] = store

    def push(self, reader: Reader) -> None:
        """A push in which everything was rejected."""
        with self.store.write() as tx:
            record = tx.replica(reader.replica)
            assert record is not None
            tx.add_push(
                replica=reader.replica,
                principal="ann",
                last_n=record.last_n + 1,
                known_n=0,
                now_ms=0,
                origins=(),
                outcomes=(),
            )

    def rule(self, rules: Rules) -> None:
        with self.store.write() as tx:
            tx.keep_rules(rules_text({"sale": check_rules(rules, SALE)}))

    def round(self) -> None:
        news = self.desk.round()
        assert not news.is_over
        for reader in self.readers:
            delivery = news.deliveries.get(reader.watch.view.hash)
            if delivery is not None and not reader.is_busy:
                reader.take(delivery, news.answered.get(reader.replica))

    def check(self, reader: Reader) -> None:
        """The reader has what its view of the hub is, and knows what was answered."""
        judge = None if reader.where is None else row_judge(reader.where, SALE)
        expected = {
            key: store
            for key, store in self.rows.items()
            if judge is None or judge((key, store)) is True
        }
        assert reader.rows == expected
        with self.store.read() as tx:
            record = tx.replica(reader.replica)
            assert record is not None
            assert reader.answered == record.last_n


KEYS = st.integers(1, 4)
STORES = st.sampled_from([0, 1, 2, 3, None])
STEPS = st.one_of(
    st.tuples(st.just("write"), st.lists(st.tuples(KEYS, STORES), min_size=1, max_size=5)),
    st.tuples(st.just("join"), st.sampled_from(range(len(WHERES)))),
    st.tuples(st.just("push"), st.integers(0, 5)),
    st.tuples(st.just("busy"), st.integers(0, 5)),
    st.tuples(st.just("catch up"), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("round"), st.none()),
)


@pytest.mark.parametrize("page_bytes", [1, live.LIVE_PAGE_BYTES])
@given(steps=st.lists(STEPS, max_size=25))
def test_after_each_round_every_reader_that_waits_has_what_the_hub_has(
    page_bytes: int, steps: list[tuple[str, Any]]
) -> None:
    world = World()
    with patch.object(live, "LIVE_PAGE_BYTES", page_bytes):
        for kind, what in [*steps, ("round", None)]:
            if kind == "write":
                world.write(what)
            elif kind == "join":
                world.join(WHERES[what])
                world.check(world.readers[-1])
            elif kind == "round":
                if world.readers:
                    world.round()
                for reader in world.readers:
                    if not reader.is_busy:
                        world.check(reader)
            elif world.readers:
                reader = world.readers[what % len(world.readers)]
                if kind == "push":
                    world.push(reader)
                elif kind == "busy":
                    reader.is_busy = True
                elif kind == "leave":
                    world.leave(reader)
                elif reader.is_busy:
                    reader.catch_up()
                    world.check(reader)


def test_what_is_too_much_for_a_stream_is_left_to_a_pull() -> None:
    world = World()
    world.join(None)
    world.write([(key, 1) for key in range(100)])
    with patch.object(live, "LIVE_BYTES_MAX", 100):
        assert list(world.desk.round().deliveries.values()) == [None]


def test_only_views_that_a_commit_concerns_get_a_page() -> None:
    world = World()
    for store in range(20):
        world.join(row.store == store)
    world.write([(1, 7)])
    assert set(world.desk.round().deliveries) == {world.readers[7].watch.view.hash}
    world.write([(1, 8)])
    expected = {world.readers[store].watch.view.hash for store in (7, 8)}
    assert set(world.desk.round().deliveries) == expected
    assert world.desk.round().deliveries == {}


def test_when_tables_change_all_must_pull_and_may_come_again() -> None:
    world = World()
    world.join(None)
    wide = msgspec.structs.replace(
        SALE, columns=(*SALE.columns, Column(name="note", type=ColumnType.TEXT))
    )
    world.store.track([wide])
    assert world.desk.round().is_over
    world.desk.close([world.readers.pop().watch])
    world.join(None)
    assert not world.desk.round().is_over


@pytest.mark.parametrize("what", ["rules", "columns"])
@pytest.mark.parametrize("has_others", [True, False])
def test_a_watch_of_before_a_change_never_goes_on(what: str, has_others: bool) -> None:
    """A stream that is still writing when the round comes asks only then for what it missed,
    perhaps when others have opened new ones already."""
    world = World()
    world.join(None)
    watch = world.readers.pop().watch
    if what == "rules":
        world.rule(Rules(read=row.store == 1))
    else:
        note = Column(name="note", type=ColumnType.TEXT)
        world.store.track([msgspec.structs.replace(SALE, columns=(*SALE.columns, note))])
    world.write([(1, 2)])
    assert world.desk.catch_up(watch) is None
    news = world.desk.round()
    assert news.is_over or news.ended == {watch}
    if has_others:
        world.join(None)
    assert world.desk.catch_up(watch) is None


def test_other_rights_end_the_watches_whose_view_they_change_and_no_others() -> None:
    """A rule about writing concerns no stream; one about reading those who read something else
    now. The others get what is new in the same round."""
    world = World()
    for store in (1, 2, 2):
        world.join(row.store == store)
    world.rule(Rules(read=True, insert=True))
    world.write([(1, 1)])
    world.round()
    world.rule(Rules(read=row.store < 10, insert=True))
    first, second, third = (reader.watch for reader in world.readers)
    assert world.desk.round().ended == {first, second, third}
    assert world.desk.round().ended == set()
    assert world.desk.catch_up(first) is None

    world = World()
    world.rule(Rules(read=(row.store == 1) & (user.id == "ann") | (row.store == 2)))
    for principal in (ANN, Principal(user="bob"), ANN):
        world.join(None, principal)
    world.rule(Rules(read=(row.store == 1) & (user.id == "bob") | (row.store == 2)))
    world.write([(1, 1), (2, 2)])
    assert world.desk.round().ended == {reader.watch for reader in world.readers}
    world.readers.clear()
    world.rule(Rules(read=(row.store == 2) | (user.id == "cid")))
    for principal in (ANN, Principal(user="bob"), Principal(user="cid")):
        world.join(None, principal)
    world.rule(Rules(read=row.store == 2))
    world.write([(3, 2)])
    news = world.desk.round()
    assert news.ended == {world.readers[2].watch}
    assert set(news.deliveries) == {world.readers[0].watch.view.hash}
    assert world.desk.round().ended == set()


def test_a_watch_that_ended_before_anybody_was_told_is_forgotten() -> None:
    world = World()
    world.join(None)
    world.rule(Rules(read=row.store == 1))
    world.join(None)
    former, now = (reader.watch for reader in world.readers)
    assert world.desk.catch_up(now) is not None
    world.desk.close([former])
    assert world.desk.round().ended == set()


def test_a_watch_that_was_closed_does_not_go_on() -> None:
    world = World()
    world.join(None)
    watch = world.readers[0].watch
    world.leave(world.readers[0])
    assert world.desk.catch_up(watch) is None


def test_a_page_is_built_once_for_all_of_a_view() -> None:
    world = World()
    for _ in range(10):
        world.join(row.store == 1)
    world.write([(1, 1)])
    with patch.object(live, "PageBuilder", wraps=live.PageBuilder) as builder:
        world.round()
    assert builder.call_count == 1


def test_a_thousand_principals_with_the_same_rights_share_one_page() -> None:
    world = World()
    world.rule(Rules(read=row.store.is_in(user.stores)))
    for n in range(1_000):
        world.join(None, Principal(user=f"user{n}", claims={"stores": [1, 2]}))
    world.write([(1, 1), (2, 3)])
    with patch.object(live, "PageBuilder", wraps=live.PageBuilder) as builder:
        world.round()
    assert builder.call_count == 1
    assert {reader.watch.view.hash for reader in world.readers} == {
        world.readers[0].watch.view.hash
    }
    assert all(reader.rows == {1: 1} for reader in world.readers)
