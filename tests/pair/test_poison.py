"""Poison: what a replica holds that its hub cannot take keeps nobody from working (I9).

Each time another replica works on meanwhile, the rest of the outbox drains, pulling goes on, and
the poison is parked with its reason or arrives as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from reunite import (
    HookedChange,
    HubUnreachableError,
    Replica,
    ReplicaBusyError,
    StorageFaultError,
    StorageFullError,
    StorageUnavailableError,
)
from reunite.hub import Hub
from reunite.testing import FakeClock
from tests.pair.conftest import Pair
from tests.pair.hubs import KINDS

YEAR_MS = 365 * 24 * 3_600_000


def nothing(pair: Pair) -> None:
    pass


def break_hook(pair: Pair) -> None:
    @pair.hub.on_update("product")
    def broken(change: HookedChange, db: Any) -> None:
        raise RuntimeError("boom")


def drop_table(pair: Pair) -> None:
    pair.at_hub("drop table sale")


class Poison(msgspec.Struct, frozen=True, kw_only=True):
    """`write` is what a program does in the replica, `codes` how it is parked; nothing is if the
    hub can take it, and `arrives` then finds it there; those of `refused_by` park it as `check`.
    With `may_pass` the hub may take it for a value of another type. `kinds` have what it meets."""

    name: str
    write: tuple[str, ...]
    codes: tuple[str, ...] = ()
    arrives: str = ""
    may_pass: bool = False
    refused_by: tuple[str, ...] = ()
    kinds: tuple[str, ...] = KINDS
    at_hub: Callable[[Pair], None] = nothing


POISON = [
    Poison(
        name="text with NUL",
        write=("insert into note values ('p' || char(0), 'a' || char(0) || 'b')",),
        arrives="select 1 from note where hex(id) = '7000' and hex(title) = '610062'",
        refused_by=("postgresql",),
    ),
    Poison(
        name="a value of 6 MB",
        write=("insert into note values ('p', hex(zeroblob(3000000)))",),
        arrives="select 1 from note where length(title) = 6000000",
    ),
    Poison(
        name="180 changes of 40 kB",
        write=tuple(f"insert into note values ('p{i}', hex(zeroblob(20000)))" for i in range(180)),
        arrives="select count(*) = 180 from note where length(title) = 40000",
    ),
    Poison(
        name="a field of 17 MB",
        write=("insert into note values ('p', hex(zeroblob(8500000)))",),
        codes=("limit-exceeded",),
    ),
    Poison(
        name="a number without end",
        write=("update product set stock = 9e999 where id = 1",),
        codes=("bad-value",),
    ),
    Poison(
        name="text that is no text",
        write=("insert into note values ('p', cast(x'61ff' as text))",),
        codes=("bad-value",),
        may_pass=True,
    ),
    Poison(
        name="half a character",
        write=("update product set name = cast(x'eda080' as text) where id = 1",),
        codes=("bad-value",),
        may_pass=True,
    ),
    Poison(
        name="text that is no text, and its row deleted",
        write=(
            "update product set name = cast(x'ff' as text) where id = 1",
            "delete from product where id = 1",
        ),
        codes=("bad-value", "depends-on-rejected"),
        may_pass=True,
    ),
    Poison(
        name="a row that no constraint lets in",
        write=("insert into sale (id, product_id, amount) values (3, 1, -1)",),
        codes=("check",),
        kinds=("sqlite", "postgresql"),
    ),
    Poison(
        name="a hook that always fails",
        write=("update product set name = 'Quince' where id = 2",),
        codes=("hook-failed",),
        at_hub=break_hook,
    ),
    Poison(
        name="a table that the hub dropped",
        write=("update sale set amount = 9 where id = 1", "delete from sale where id = 2"),
        codes=("unknown-table",),
        kinds=("sqlite", "postgresql"),
        at_hub=drop_table,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("is_group", [True, False], ids=["transactions", "another program"])
@pytest.mark.parametrize("poison", POISON, ids=lambda poison: poison.name)
def test_poison_is_parked_and_everybody_else_goes_on(
    pair: Pair, poison: Poison, is_group: bool
) -> None:
    if pair.database.kind not in poison.kinds:
        pytest.skip("this kind of hub has nothing that it would meet")
    is_refused = pair.database.kind in poison.refused_by
    replica, other = pair.replica, pair.clone("tablet")
    poison.at_hub(pair)
    statements = [
        "insert into note values ('before', 'x')",
        *poison.write,
        "insert into note values ('after', 'x')",
    ]
    if is_group:
        for statement in statements:
            pair.write(replica, statement)
    else:
        pair.in_file(replica, *statements)
    pair.write(other, "insert into note values ('other', 'x')")
    other.sync()
    pair.at_hub("insert into note values ('hub', 'x')")

    replica.sync()
    replica.sync()

    assert replica.status().pending == 0
    parked = replica.parked()
    codes = {change.code for change in parked}
    expected = {"check"} if is_refused else set(poison.codes)
    assert codes == expected or (poison.may_pass and not codes)
    assert all(change.reason for change in parked)
    assert not any("groups[" in change.reason for change in parked), "that is a message's word"
    notes = {"before", "after", "other", "hub"}
    assert {key for (key,) in pair.at_hub("select id from note")} >= notes
    if poison.arrives and not is_refused:
        assert pair.at_hub(poison.arrives) == [(1,)]
    pair.write(other, "update note set title = 'y'")
    other.sync()
    replica.sync()
    tables = [table for table in ("note", "product", "sale") if table in replica.schemas]
    assert ("sale" in tables) == (poison.at_hub is not drop_table)
    for table in tables:
        rows = pair.at_hub(f"select * from {table} order by 1")
        assert pair.rows(replica, table) == pair.rows(other, table) == rows


@pytest.mark.hubs("postgresql")
@pytest.mark.parametrize("is_group", [True, False], ids=["transactions", "another program"])
@pytest.mark.parametrize(
    ("declared", "key"),
    [
        ("smallint", "70000"),
        ("numeric(4, 2)", "'123.45'"),
        ("varchar(3)", "'much too long'"),
        ("text", "'a' || char(0)"),
        ("mood", "'angry'"),
    ],
)
def test_a_key_that_the_hub_has_no_room_for_is_parked_and_the_rest_goes_on(
    pair: Pair, declared: str, key: str, is_group: bool
) -> None:
    """It cannot even be asked for there: also where it is updated, deleted or pointed to (I9)."""
    pair.at_hub("create type mood as enum ('calm')")
    pair.at_hub(f"create table place (id {declared} primary key, name text)")
    pair.at_hub(
        f"create table visit (id text primary key, "
        f"at {declared} references place (id) on delete cascade)"
    )
    pair.hub.track("place", generated_key=False)
    pair.hub.track("visit")
    replica = pair.clone("till")
    statements = [
        "insert into note values ('before', 'x')",
        f"insert into place values ({key}, 'nowhere')",
        f"insert into visit values ('v1', {key})",
        "update place set name = 'still nowhere'",
        "delete from place",
        "insert into note values ('after', 'x')",
    ]
    if is_group:
        for statement in statements:
            pair.write(replica, statement)
    else:
        pair.in_file(replica, "pragma foreign_keys = off", *statements)
    for _ in range(2):
        replica.sync()
    assert pair.at_hub("select id from note order by 1") == [("after",), ("before",)]
    assert pair.at_hub("select * from place") == pair.at_hub("select * from visit") == []
    assert replica.status().pending == 0
    assert {change.table for change in replica.parked()} == {"place", "visit"}
    pair.assert_agreed()


def test_a_clock_that_was_a_year_ahead_once_does_no_harm_when_it_is_right_again(
    pair: Pair,
) -> None:
    other, clock = pair.clone("tablet"), FakeClock(pair.clock.now_ms() + YEAR_MS)
    wrong = pair.closing.enter_context(
        Replica(
            pair.replica.path,
            transport=pair.wire.transport(pair.token, label="laptop"),
            clock=clock,
        )
    )
    pair.write(wrong, "update product set name = 'ahead' where id = 1")
    wrong.sync()
    other.sync()
    pair.write(other, "update product set name = 'right' where id = 1")
    other.sync()
    assert pair.at_hub("select name from product where id = 1") == [("right",)]

    clock.jump(-YEAR_MS)
    wrong.sync()
    pair.clock.advance(60_000)
    clock.advance(60_000)
    pair.write(wrong, "update product set name = 'earlier' where id = 2")
    pair.clock.advance(60_000)
    pair.write(other, "update product set name = 'later' where id = 2")
    other.sync()
    clock.advance(120_000)
    wrong.sync()
    # What was written first loses, though it was pushed last and its clock stood ahead once.
    assert pair.at_hub("select name from product where id = 2") == [("later",)]
    assert wrong.parked() == []
    pair.assert_agreed()


def test_two_that_share_one_file_do_not_disturb_a_third(pair: Pair) -> None:
    """Each of them writes and syncs, now and then at the same time."""
    third = pair.clone("tablet")
    second = pair.closing.enter_context(
        Replica(
            pair.replica.path,
            transport=pair.wire.transport(pair.token, label="second"),
            clock=pair.clock,
        )
    )

    def work(replica: Replica, name: str) -> None:
        for i in range(8):
            pair.write(replica, f"insert into note values ('{name}{i}', 'x')")
            pair.write(replica, "update product set stock = stock - 1 where id = 1")
            try:
                replica.sync()
            except ReplicaBusyError:
                continue

    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(work, replica, name)
            for name, replica in (("a", pair.replica), ("b", second), ("c", third))
        ]
        for job in jobs:
            job.result()
    second.sync()
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from note") == [(24,)]
    assert pair.at_hub("select stock from product where id = 1") == [(10 - 24,)]


def test_a_lock_that_cannot_be_made_is_not_called_somebody_elses(pair: Pair) -> None:
    """As on a full disk, or in a folder that may not be written."""
    lock = pair.replica.path.with_name(pair.replica.path.name + "-sync")
    lock.unlink()
    lock.mkdir()
    for ask in (pair.replica.sync, pair.replica.compare, pair.replica.repair):
        with pytest.raises(StorageFaultError, match=r"-sync cannot be locked\. .*room on the disk"):
            ask()
    lock.rmdir()
    pair.assert_agreed()


@pytest.mark.parametrize(
    "failure",
    [
        HubUnreachableError("The hub failed.", has_answered=True),
        StorageUnavailableError("The database is locked."),
        StorageFullError("The disk is full."),
    ],
    ids=["the hub fails", "its database is locked", "its disk is full"],
)
def test_pulling_goes_on_while_every_push_fails(
    pair: Pair, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.write(pair.replica, "insert into note values ('mine', 'x')")
    pair.at_hub("insert into note values ('hub', 'x')")

    def fail(*_: object, **__: object) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(Hub, "push", fail)
        with pytest.raises(Exception, match="The hub"):
            pair.replica.sync()
        assert pair.rows(pair.replica, "note") == [("hub", "x"), ("mine", "x")]
        assert pair.replica.status().pending == 1
    pair.assert_agreed()
