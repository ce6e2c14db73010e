"""Rejected changes are undone, parked with their reason, and can be made again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reunite import BadRequestError, HookedChange, Hub, Replica, Veto
from reunite.protocol.codec import decode
from reunite.replica.outbox import LONG_GROUP
from reunite.testing import FakeWire
from tests.pair.conftest import Pair


def test_a_rejected_change_is_undone_and_parked_with_code_and_column(pair: Pair) -> None:
    pair.write(pair.replica, "update product set code = 'C', name = 'Plum' where id = 2")
    pair.at_hub("insert into product (id, name, code) values (3, 'Fig', 'C')")

    report = pair.replica.sync()

    assert (report.rejected, report.pending) == (1, 0)
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.columns) == ("unique", ("code",))
    assert parked.set == {"code": "C", "name": "Plum"}
    assert parked.was == {"code": "B", "name": "Pear"}
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_parked_change_can_be_edited_and_retried(pair: Pair) -> None:
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, -5)")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert parked.code == "check"

    pair.replica.retry(parked.id, {"amount": 5})
    pair.replica.sync()

    assert pair.replica.parked() == []
    assert pair.at_hub("select product_id from sale where amount = 5") == [(1,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_parked_change_can_be_discarded_once(pair: Pair) -> None:
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, -5)")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    pair.replica.discard(parked.id)
    assert pair.replica.parked() == []
    with pytest.raises(BadRequestError):
        pair.replica.discard(parked.id)


def test_a_group_that_is_rejected_late_leaves_nothing_of_what_it_did_before(pair: Pair) -> None:
    """When the insert is judged, the delete is done already: it may have taken more along."""
    pair.write(
        pair.replica,
        "delete from product where id = 1",
        "insert into sale (product_id, amount) values (2, 7)",
    )
    pair.write(pair.replica, "insert into note values ('n', 'goes through')")
    pair.at_hub("delete from product where id = 2")

    pair.replica.sync()

    assert pair.at_hub("select id, stock from product") == [(1, 10)]
    assert pair.at_hub("select id from sale") == [(1,)]
    assert pair.at_hub("select id from note") == [("n",)]
    assert "parent-deleted" in {parked.code for parked in pair.replica.parked()}
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_group_is_rejected_whole_and_the_rest_goes_through(pair: Pair) -> None:
    pair.write(
        pair.replica,
        "insert into note values ('n1', 'goes with it')",
        "insert into sale (product_id, amount) values (1, -5)",
    )
    pair.write(pair.replica, "insert into note values ('n2', 'fine')")
    pair.replica.sync()
    assert pair.at_hub("select id from note") == [("n2",)]
    assert len(pair.replica.parked()) == 2
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_poison_among_other_programs_writes_is_found_by_halving(pair: Pair) -> None:
    """Their borders are unknown, so one bad statement must not take the others with it (I9)."""
    good = [f"insert into note values ('n{i}', 'good')" for i in range(9)]
    bad = "insert into sale (product_id, amount) values (1, -5)"
    pair.in_file(pair.replica, *good[:5], bad, *good[5:])

    report = pair.replica.sync()

    assert report.rejected == 1
    assert pair.at_hub("select count(*) from note") == [(9,)]
    pair.assert_agreed()


def test_what_hangs_on_a_rejected_row_is_parked_with_it_whenever_it_was_made(pair: Pair) -> None:
    pair.write(pair.replica, "insert into product (name, code) values ('Fig', 'F')")
    (key,) = pair.rows(pair.replica, "product")[-1][:1]
    pair.at_hub("insert into product (id, name, code) values (9, 'Other fig', 'F')")
    pair.replica.push()  # rejected; the replica still shows its row
    # This names the row that was just rejected, under its key in the file:
    pair.write(pair.replica, f"insert into sale (product_id, amount) values ({key}, 1)")

    pair.replica.sync()

    assert sorted(change.code for change in pair.replica.parked()) == [
        "depends-on-rejected",
        "unique",
    ]
    pair.assert_agreed()


def test_a_hook_vetoes_and_its_reason_reaches_the_person(pair: Pair) -> None:
    @pair.hub.on_update("product")
    def no_gifts(change: HookedChange, db: Any) -> None:
        if change.row and change.row["stock"] < 0:
            raise Veto("The shelf is empty.")

    pair.write(pair.replica, "update product set stock = -1 where id = 1")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.reason) == ("vetoed", "The shelf is empty.")
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_hook_that_writes_another_table_reaches_everyone(pair: Pair) -> None:
    @pair.hub.on_insert("sale")
    def take_from_stock(change: HookedChange, db: Any) -> None:
        assert change.row is not None
        db.execute(
            f"update product set stock = stock - {change.row['amount']} "
            f"where id = {change.row['product_id']}"
        )

    other = pair.clone("tablet")
    pair.write(pair.replica, "insert into sale (product_id, amount) values (1, 4)")
    pair.replica.sync()
    other.sync()
    assert pair.rows(other, "product")[0] == (1, "Apple", "A", 6)
    assert pair.rows(pair.replica, "product")[0] == (1, "Apple", "A", 6)
    pair.assert_agreed()


def test_the_number_of_a_parked_change_is_not_given_again(pair: Pair) -> None:
    """Whoever says `retry 1` twice means the same change."""

    @pair.hub.on_insert("note")
    def no(change: HookedChange, program: Any) -> None:
        raise Veto("no")

    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.replica.sync()
    (first,) = pair.replica.parked()
    pair.replica.discard(first.id)
    pair.write(pair.replica, "insert into note values ('n2', 'x')")
    pair.replica.sync()
    (second,) = pair.replica.parked()
    assert second.id > first.id


def _with(program: Any) -> None:
    with program:
        pass


ENDS = {
    "commit": lambda program: program.commit(),
    "rollback": lambda program: program.rollback(),
    "close": lambda program: program.close(),
    "a block that commits": _with,
    "COMMIT": lambda program: program.execute("commit"),
    "ROLLBACK": lambda program: program.execute(" /* now */ Rollback work"),
    "BEGIN": lambda program: program.execute("-- another\nBEGIN"),
    "a cursor": lambda program: program.cursor().execute("end"),
}


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_a_hook_cannot_end_the_transaction_of_a_push(
    pair: Pair, end: Callable[[Any], None]
) -> None:
    """It would make half of a push durable, and the rest come again."""

    @pair.hub.on_update("product")
    def ends(change: HookedChange, program: Any) -> None:
        program.execute("savepoint mine")
        program.execute("rollback to savepoint mine")
        end(program)

    pair.write(pair.replica, "update product set stock = stock - 1 where id = 1")
    for _ in range(3):
        pair.replica.sync()
    assert [parked.code for parked in pair.replica.parked()] == ["hook-failed"]
    assert pair.at_hub("select stock from product where id = 1") == [(10,)]
    pair.assert_agreed()


def test_a_hook_that_always_fails_parks_its_group_and_lets_the_rest_pass(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    @pair.hub.on_insert("note")
    def broken(change: HookedChange, db: Any) -> None:
        calls.append(change.key)
        raise RuntimeError("boom")

    pair.write(pair.replica, "insert into note values ('n1', 'x')")
    pair.write(pair.replica, "update product set name = 'Quince' where id = 1")
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert parked.code == "hook-failed"
    assert "boom" not in parked.reason
    assert len(calls) == 2  # tried again once
    told = [record for record in caplog.records if record.name == "reunite.hub"]
    assert "a hook for insert of 'note'" in told[0].getMessage()
    assert "boom" in caplog.text  # with its traceback, for who wrote it
    assert pair.at_hub("select name from product where id = 1") == [("Quince",)]
    pair.assert_agreed()


@pytest.mark.slow
def test_thousands_of_orphans_are_rejected_one_by_one_and_the_rest_goes_through(pair: Pair) -> None:
    orphans = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1500)"
    db = sqlite3.connect(pair.replica.path)
    with db:
        db.execute("insert into note values ('n1', 'fine')")
        db.execute(f"{orphans} insert into sale (product_id, amount) select 4711, i from n")
        db.execute("insert into note values ('n2', 'fine')")
    db.close()
    report = pair.replica.sync()
    assert report.rejected == 1500
    assert pair.at_hub("select count(*) from note") == [(2,)]
    assert {change.code for change in pair.replica.parked()} == {"foreign-key"}
    pair.assert_agreed()


@pytest.mark.parametrize("others", [3, LONG_GROUP])
@pytest.mark.parametrize("is_group", [True, False], ids=["a transaction", "another program"])
def test_a_change_too_large_for_any_request_is_parked_and_the_rest_goes_through(
    pair: Pair, is_group: bool, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.hub.decode", partial(decode, bytes_max=100_000))
    huge = "insert into note values ('huge', hex(zeroblob(100000)))"
    small = [f"insert into note values ('n{i}', 'x')" for i in range(others)]
    if is_group:
        pair.write(pair.replica, small[0])
        pair.write(pair.replica, huge)
        pair.write(pair.replica, *small[1:])
    else:
        pair.in_file(pair.replica, small[0], huge, *small[1:])

    pair.replica.sync()

    (parked,) = pair.replica.parked()
    assert (parked.code, parked.key) == ("limit-exceeded", ("huge",))
    assert pair.at_hub("select count(*) from note") == [(others,)]
    pair.assert_agreed()


@pytest.mark.slow
@pytest.mark.hubs("sqlite", "postgresql")
def test_one_bad_change_among_twenty_thousand_of_other_programs_is_parked_alone(
    pair: Pair,
) -> None:
    """I9: halving finds it, in time that follows the changes."""
    db = sqlite3.connect(pair.replica.path)
    with db:
        db.executemany(
            "insert into sale values (?, 1, ?)",
            ((1_000_000 + i, -1 if i == 13_579 else i) for i in range(20_000)),
        )
    db.close()
    pair.replica.sync()
    (parked,) = pair.replica.parked()
    assert (parked.code, parked.set["amount"]) == ("check", -1)
    assert pair.at_hub("select count(*), sum(amount) from sale where id > 2") == [
        (19_999, sum(range(20_000)) - 13_579)
    ]


def test_a_rejected_child_whose_key_holds_its_parents_leaves_nothing_behind(tmp_path: Path) -> None:
    """The parent's key was taken, so both moved before they were rejected (I4, I10)."""
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(
            "create table p (id integer primary key, sku text check (sku <> 'bad'));"
            "create table line (p integer references p (id), n integer, primary key (p, n));"
            "insert into p values (1, 's1')"
        )
        with Hub(path) as hub:
            hub.track("p")
            hub.track("line")
            wire = FakeWire(hub)
            till = tmp_path / "till.db"
            with Replica.clone(till, transport=wire.transport(hub.create_token())) as replica:
                with closing(sqlite3.connect(till, isolation_level=None)) as own:
                    own.executescript(
                        "insert into p (sku) values ('bad'); insert into line values (2, 1)"
                    )
                    db.execute("insert into p (sku) values ('taken')")
                    replica.sync()
                    replica.sync()
                    for table in ("p", "line"):
                        query = f"select * from {table}"
                        assert own.execute(query).fetchall() == db.execute(query).fetchall()
                keys = {parked.table: parked.key for parked in replica.parked()}
                assert keys["line"] == (keys["p"][0], 1)
