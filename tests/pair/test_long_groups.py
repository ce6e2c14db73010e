"""Long groups of inserts are put together by SQLite, and sent as one by one."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from reunite import Replica
from reunite.protocol.limits import PUSH_BYTES_AIM
from reunite.replica import sending
from reunite.replica.file import ReplicaFile
from reunite.replica.outbox import Outbox
from reunite.replica.sending import Batch
from tests.pair.conftest import Pair
from tests.pair.test_types import LISTED

pytestmark = pytest.mark.hubs("sqlite")

# Values of their columns' types, in which JSON finds something to escape.
PLAIN: dict[str, list[Any]] = {
    "title": ["", "a,b", '"],["', "\\", "ü ß 😀", "\x01\n", "reunite", "x" * 400],
    "size": [0, 1, -1, 2**31, None],
    "weight": [0.5, -1.25, 1e300, 3.0, None],
}
INSERT = "insert into parcel (id, title, size, weight, anything) values (?, ?, ?, ?, ?)"


@pytest.fixture
def laptop(pair: Pair) -> Replica:
    """A replica with a table for each kind of value."""
    pair.at_hub(
        "create table parcel "
        "(id text primary key not null, title text, size integer, weight real, anything text)"
    )
    pair.hub.track("parcel")
    pair.replica.sync()
    return pair.replica


def in_file(replica: Replica) -> ReplicaFile:
    return replica._file


def outbox_is_numbered(replica: Replica) -> None:
    file = in_file(replica)
    with file.writing() as (connection, state):
        Outbox(connection, state, file.schemas(state), file.forms).prepare(now_ms=1_000)


def next_batch(replica: Replica, after_n: int, changes: int) -> Batch:
    file = in_file(replica)
    with file.reading() as (connection, state):
        return sending.next_batch(
            connection,
            file.schemas(state),
            file.forms,
            after_n=after_n,
            changes=changes,
            size=PUSH_BYTES_AIM,
        )


def said(batch: Batch) -> tuple[int, int, str, dict[str, int]]:
    # As text, for 1 and 1.0 are not the same here.
    groups = "" if batch.groups is None else repr(msgspec.json.decode(batch.groups))
    return batch.first_n, batch.last_n, groups, batch.schemas


def write_at_random(replica: Replica, rng: random.Random) -> None:
    """Groups, most of them long and plain; some with values that need a look, or other changes."""
    key = 0
    for _ in range(rng.randint(1, 4)):
        odd = rng.random() < 0.4
        with replica.transaction() as db:
            for _ in range(rng.choice([1, 25, 40, 120])):
                key += 1
                values = [rng.choice(PLAIN[name]) for name in PLAIN]
                strange = (
                    rng.choice(LISTED)
                    if odd and rng.random() < 0.1
                    else rng.choice(["a", "7", None])
                )
                db.execute(INSERT, (f"key {key}", *values, strange))
            if rng.random() < 0.2:
                db.execute("update parcel set size = size + 1 where id = ?", (f"key {key}",))
            if rng.random() < 0.2:
                db.execute("insert into note values (?, 'beside')", (f"note {key}",))


@pytest.mark.parametrize("seed", range(40))
def test_a_batch_is_the_same_either_way(
    laptop: Replica, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    write_at_random(laptop, rng)
    outbox_is_numbered(laptop)
    after_n = 0
    while True:
        changes = rng.choice([1, 30, 100, 2_000])
        found = next_batch(laptop, after_n, changes)
        with monkeypatch.context() as one_by_one:
            one_by_one.setattr(sending, "_long_groups", lambda *_, **__: [])
            expected = next_batch(laptop, after_n, changes)
        assert said(found) == said(expected)
        if found.groups is None:
            break
        after_n = found.last_n


@pytest.mark.parametrize("group", [1, 30])
def test_a_push_that_was_too_large_is_a_group(laptop: Replica, group: int) -> None:
    """Asked for less, a replica sends no more than its first group, long or not."""
    for number in range(3):
        with laptop.transaction() as db:
            db.executemany(
                INSERT, [(f"{number} {each}", "a", 1, 0.5, "a") for each in range(group)]
            )
    outbox_is_numbered(laptop)
    assert next_batch(laptop, 0, 1).last_n == group


def test_sqlite_puts_long_plain_groups_together(
    laptop: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    original = sending._plain_batch

    def spy(*arguments: Any, **options: Any) -> Batch | None:
        batch = original(*arguments, **options)
        made.append(batch is not None)
        return batch

    monkeypatch.setattr(sending, "_plain_batch", spy)
    for group in range(3):
        with laptop.transaction() as db:
            db.executemany(
                INSERT, [(f"{group} {number}", '"', 1, 0.5, "a") for number in range(50)]
            )
    outbox_is_numbered(laptop)
    assert next_batch(laptop, 0, 100).last_n == 100
    assert next_batch(laptop, 0, 20).last_n == 50  # the first one whole
    with laptop.transaction() as db:
        db.executemany(INSERT, [(f"odd {number}", "a", 1, 0.5, b"blob") for number in range(50)])
    outbox_is_numbered(laptop)
    assert next_batch(laptop, 150, 100).last_n == 200
    assert made == [True, True, False]


def test_short_groups_before_a_long_one_are_read_together(
    laptop: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long one, which does not go along, does not make them long."""
    for count, key in ((1, "a"), (1, "b"), (1, "c"), (200, "d")):
        with laptop.transaction() as db:
            db.executemany(INSERT, [(f"{key}{each}", "a", 1, 0.5, "a") for each in range(count)])
    outbox_is_numbered(laptop)
    monkeypatch.setattr(sending, "_plain_batch", lambda *_, **__: pytest.fail("one by one"))
    assert next_batch(laptop, 0, 100).last_n == 3


def test_what_is_odd_arrives_as_it_is(pair: Pair, laptop: Replica) -> None:
    values = ["a", "reunite:text:", '"', "😀\n", None]
    for group in range(3):
        with laptop.transaction() as db:
            db.executemany(
                INSERT,
                [
                    (f"{group} {number}", "plain", 1, 0.5, values[number * group % len(values)])
                    for number in range(100)
                ],
            )
    laptop.sync()
    query = "select id, title, size, weight, quote(anything) from parcel order by id"
    assert pair.at_hub(query) == pair.in_file(laptop, query)
    assert laptop.status().pending == 0
    assert laptop.status().parked == 0
