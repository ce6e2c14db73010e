"""Repair: what a replica has otherwise than its hub is found and healed, pending work kept."""

import sqlite3
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reunite.errors import BadRequestError, HubUnreachableError
from reunite.protocol.codec import decode
from reunite.protocol.repair import RepairRequest
from reunite.replica import RepairReport, Replica
from tests.pair.conftest import Pair

TABLES = ("note", "product", "sale")


def past_the_triggers(db: sqlite3.Connection, *statements: str) -> None:
    """Run statements as a program does that takes the triggers off and puts them back."""
    triggers = db.execute("select name, sql from sqlite_master where type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f'drop trigger "{name}"')
    for statement in statements:
        db.execute(statement)
    for _, text in triggers:
        db.execute(text)


def smuggle(pair: Pair, *statements: str, into: Replica | None = None) -> None:
    """Change rows past the triggers: of a replica, or of the hub."""
    if into is None:
        past_the_triggers(pair.hub_db, *statements)
        return
    db = sqlite3.connect(into.path, isolation_level=None)
    try:
        past_the_triggers(db, *statements)
    finally:
        db.close()


def found_in(report: RepairReport) -> dict[str, tuple[int, int, int]]:
    return {
        table.table: (table.differing, table.missing, table.extra)
        for table in report.tables
        if table.found
    }


def many(pair: Pair, count: int) -> Replica:
    """A replica with so many notes."""
    pair.at_hub_many(
        "insert into note values (?, ?)", [(f"n{i}", f"note {i}") for i in range(count)]
    )
    pair.replica.sync()
    return pair.replica


@pytest.fixture
def large(pair: Pair) -> Pair:
    """A pair with 20,000 notes on both sides."""
    many(pair, 20_000)
    return pair


def test_a_repair_of_a_sound_replica_finds_nothing_and_sends_no_rows(pair: Pair) -> None:
    replica = many(pair, 500)
    pair.wire.requests.clear()
    report = replica.repair()
    assert report.found == 0
    assert [table.rows for table in report.tables] == [500, 2, 2]
    assert [r.operation for r in pair.wire.requests] == ["pull", *["repair"] * 3, "pull"]
    assert sum(len(request.body) for request in pair.wire.requests) < 2_500


def test_a_flipped_value_a_missing_row_and_an_extra_row_are_found_and_healed(pair: Pair) -> None:
    replica = many(pair, 500)
    smuggle(
        pair,
        "update note set title = 'flipped' where id = 'n17'",
        "delete from note where id = 'n18'",
        "insert into note values ('never', 'was at the hub')",
        "update product set stock = 11 where id = 1",
        into=replica,
    )
    replica.sync()  # which does not notice
    assert ("n17", "flipped") in pair.rows(replica, "note")
    assert found_in(replica.repair()) == {"note": (1, 1, 1), "product": (1, 0, 0)}
    pair.assert_agreed()
    assert replica.repair().found == 0


@pytest.mark.hubs("sqlite")
def test_a_row_smuggled_past_the_hubs_triggers_is_found_and_healed(pair: Pair) -> None:
    smuggle(pair, "update note set title = 'x'", "insert into product (id, name) values (3, 'Fig')")
    smuggle(pair, "delete from sale where id = 2")
    pair.replica.sync()
    assert len(pair.rows(pair.replica, "product")) == 2
    assert found_in(pair.replica.repair()) == {"product": (0, 1, 0), "sale": (0, 0, 1)}
    pair.assert_agreed()


def test_only_the_tables_that_are_named_are_compared(pair: Pair) -> None:
    replica = pair.replica
    smuggle(pair, "delete from sale", "delete from product", into=replica)
    assert found_in(replica.repair(["sale"])) == {"sale": (0, 2, 0)}
    assert pair.rows(replica, "product") == []
    with pytest.raises(BadRequestError):
        replica.repair(["nothing"])


def test_pending_work_stays_and_is_pushed_later(pair: Pair) -> None:
    """I10. The hub's images are compared, so what is pending is no difference."""
    replica = many(pair, 300)
    pair.write(
        replica,
        "update note set title = 'mine' where id = 'n1'",
        "delete from note where id = 'n2'",
        "insert into note values ('new', 'mine too')",
        "update product set stock = stock - 4 where id = 1",
    )
    pair.in_file(replica, "update note set title = 'another program' where id = 'n3'")
    assert replica.repair().found == 0
    smuggle(
        pair,
        "update product set name = 'Wrong', stock = 600 where id = 1",
        "update note set title = 'wrong' where id = 'n4'",
        into=replica,
    )
    assert found_in(replica.repair()) == {"note": (1, 0, 0)}  # the product is pending on its base
    assert replica.status().pending == 5
    pair.assert_agreed()
    assert pair.at_hub("select title from note where id in ('n1', 'n3', 'new') order by id") == [
        ("mine",), ("another program",), ("mine too",)
    ]  # fmt: skip
    assert pair.at_hub("select stock from product where id = 1") == [(6,)]


def test_a_wrong_base_of_a_pending_change_is_healed_beneath_it(pair: Pair) -> None:
    replica = pair.replica
    smuggle(pair, "update product set name = 'Wrong' where id = 1", into=replica)
    pair.write(replica, "update product set stock = stock - 4 where id = 1")
    assert found_in(replica.repair()) == {"product": (1, 0, 0)}
    assert pair.rows(replica, "product")[0] == (1, "Apple", "A", 6)
    pair.assert_agreed()
    assert pair.rows(replica, "product")[0] == (1, "Apple", "A", 6)


def test_rows_that_change_at_the_hub_meanwhile_are_as_the_hub_has_them(pair: Pair) -> None:
    """I4, I5. Between any two requests of a repair another program writes at the hub."""
    replica = many(pair, 3_000)
    smuggle(
        pair,
        *(f"update note set title = 'wrong' where id = 'n{i}'" for i in range(0, 3_000, 100)),
        *(f"delete from note where id = 'n{i}'" for i in range(1, 3_000, 100)),
        "insert into note values ('extra', 'wrong')",
        "insert into note values ('later', 'wrong')",
        into=replica,
    )
    steps = iter(range(1_000))

    def write(operation: str) -> None:
        if operation != "repair":
            return
        step = next(steps)
        pair.at_hub("update note set title = ? where id = ?", f"hub {step}", f"n{step * 100}")
        pair.at_hub("delete from note where id = ?", f"n{step * 100 + 1}")
        pair.at_hub("insert into note values (?, 'new')", f"n{step * 100 + 1}x")
        pair.at_hub(
            "insert into note values ('later', 'now at the hub') on conflict (id) do nothing"
        )
        pair.at_hub("update product set stock = stock + 1")

    _before_each_request(pair, write)
    shown: list[set[int]] = []
    replica._on_checkpoint = lambda r: shown.append(
        {stock for *_, stock in pair.rows(r, "product")}
    )
    assert replica.repair().found > 60
    assert all(len(stocks) == 1 for stocks in shown), "one transaction changes all stocks"
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")
    pair.assert_agreed()


def _before_each_request(pair: Pair, act: Callable[[str], None]) -> None:
    carry = pair.wire.carry

    def carried(request):  # type: ignore[no-untyped-def]
        act(request.operation)
        return carry(request)

    pair.wire.carry = carried  # type: ignore[method-assign]


@pytest.mark.parametrize("lost", range(6))
def test_a_repair_that_breaks_off_does_no_harm_and_can_be_repeated(pair: Pair, lost: int) -> None:
    """Whichever answer is lost: the next sync shows a state of the hub, or what was wrong before,
    and the next repair heals the rest."""
    replica = many(pair, 2_000)
    wrong = [f"update note set title = 'wrong' where id = 'n{i}'" for i in range(0, 2_000, 50)]
    smuggle(pair, *wrong, into=replica)
    pair.write(replica, "update note set title = 'mine' where id = 'n1'")
    count = iter(range(1_000))

    def lose(operation: str) -> None:
        if next(count) == lost:
            pair.wire.lose_next_answer()

    _before_each_request(pair, lose)
    with pytest.raises(HubUnreachableError):
        replica.repair()
    pair.at_hub("update note set title = 'at the hub meanwhile' where id = 'n50'")
    pair.at_hub("delete from note where id = 'n100'")
    replica.sync()
    titles = dict(pair.rows(replica, "note"))
    assert titles["n50"] == "at the hub meanwhile"
    assert "n100" not in titles
    assert titles["n1"] == "mine"
    replica.repair()
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")


@pytest.mark.parametrize(
    "damage",
    [
        "delete from note",
        "delete from note where id > 'n15'",
        "update note set title = 'wrong'",
        "update note set id = id || 'x'",
    ],
)
def test_a_table_that_differs_mostly_is_fetched_whole(pair: Pair, damage: str) -> None:
    replica = many(pair, 2_000)
    pair.write(
        replica,
        "update note set title = 'mine' where id = 'n1'",
        "delete from note where id = 'n2'",
        "insert into note values ('new', 'mine too')",
    )
    replica.sync(dry_run=True)  # numbers them: from here on they are what they are
    smuggle(pair, damage, into=replica)
    report = replica.repair(["note"])
    assert report.tables[0].is_whole
    pair.assert_agreed()
    assert pair.at_hub("select title from note where id in ('n1', 'n2', 'new') order by id") == [
        ("mine",), ("mine too",)
    ]  # fmt: skip
    assert replica.repair().found == 0


@pytest.mark.slow
def test_a_table_fetched_whole_counts_for_nothing_before_all_of_it_is_there(pair: Pair) -> None:
    replica = many(pair, 12_000)
    smuggle(pair, "update note set title = 'wrong'", into=replica)
    count = iter(range(1_000))

    def lose(operation: str) -> None:
        # pull, sums, list, all, all: the table has three pages
        if next(count) == 4:
            pair.wire.lose_next_answer()

    _before_each_request(pair, lose)
    with pytest.raises(HubUnreachableError):
        replica.repair(["note"])
    pair.at_hub("update note set title = 'right' where id = 'n5'")
    replica.sync()
    titles = dict(pair.rows(replica, "note"))
    assert len(titles) == 12_000
    assert (titles["n5"], titles["n6"]) == ("right", "wrong")
    replica.repair(["note"])
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")


@pytest.mark.hubs("sqlite")
def test_a_hub_that_was_restored_during_a_repair_leaves_no_row_behind(pair: Pair) -> None:
    """Rows of a log that is gone are in the inbox: the next pull brings a snapshot."""
    replica = many(pair, 300)
    smuggle(pair, "update note set title = 'wrong' where id = 'n7'", into=replica)
    backup = sqlite3.connect(":memory:")
    pair.hub_db.backup(backup)

    def act(operation: str) -> None:
        if operation == "repair" and "wrote" not in done:
            done.add("wrote")
            pair.at_hub("update note set title = 'never was' where id = 'n7'")
        if operation == "pull" and "wrote" in done and "restored" not in done:
            done.add("restored")
            backup.backup(pair.hub_db)

    done: set[str] = set()
    _before_each_request(pair, act)
    replica.repair()
    backup.close()
    assert done == {"wrote", "restored"}
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")
    assert dict(pair.rows(replica, "note"))["n7"] == "note 7"


def test_a_unique_value_that_moved_between_rows_is_healed(pair: Pair) -> None:
    replica = pair.replica
    smuggle(
        pair,
        "update product set code = 'X' where id = 1",
        "update product set code = 'A' where id = 2",
        "insert into product (id, name, code) values (9, 'Fig', 'B')",
        into=replica,
    )
    assert found_in(replica.repair()) == {"product": (2, 0, 1)}
    pair.assert_agreed()


def test_a_comparison_tells_what_a_repair_would_find_and_changes_nothing(pair: Pair) -> None:
    replica = many(pair, 300)
    pair.write(replica, "update note set title = 'mine' where id = 'n1'")
    assert replica.compare().found == 0
    smuggle(
        pair,
        "update note set title = 'wrong' where id = 'n7'",
        "delete from note where id = 'n8'",
        "insert into note values ('extra', 'wrong')",
        into=replica,
    )
    before = pair.rows(replica, "note")
    assert found_in(replica.compare()) == {"note": (1, 1, 1)}
    assert pair.rows(replica, "note") == before
    assert found_in(replica.compare(["sale"])) == {}


def test_what_the_hub_did_since_the_last_sync_is_no_finding(pair: Pair) -> None:
    replica = many(pair, 300)
    smuggle(pair, "update note set title = 'wrong' where id = 'n7'", into=replica)
    pair.at_hub("update note set title = 'new' where id in ('n1', 'n2')")
    pair.at_hub("delete from note where id = 'n3'")
    pair.at_hub("insert into note values ('n300', 'new')")
    assert found_in(replica.compare()) == {"note": (1, 0, 0)}
    assert found_in(replica.repair()) == {"note": (1, 0, 0)}
    pair.assert_agreed()


def test_a_replica_whose_part_of_the_log_was_trimmed_cannot_be_compared(pair: Pair) -> None:
    replica = many(pair, 10)
    pair.at_hub("update note set title = 'new'")
    pair.hub.number()
    pair.clock.advance(30 * 86_400_000)
    assert pair.hub.trim(older_than_s=86_400) > 0
    assert replica.compare().is_stale
    replica.repair()  # whose pull brings a snapshot
    assert not replica.compare().is_stale
    pair.assert_agreed()


def test_triggers_that_are_gone_are_made_anew_and_what_escaped_them_is_healed(pair: Pair) -> None:
    replica = pair.replica
    pair.in_file(
        replica,
        "drop trigger reunite_product_before_update",
        "update product set name = 'escaped' where id = 1",
    )
    replica.renew_capture()
    pair.in_file(replica, "update product set name = 'captured' where id = 2")
    assert replica.status().pending == 1
    assert found_in(replica.repair()) == {"product": (1, 0, 0)}
    pair.assert_agreed()
    assert pair.at_hub("select name from product order by id") == [("Apple",), ("captured",)]


def test_a_value_that_is_no_text_at_all_is_healed(pair: Pair) -> None:
    """A flipped bit: bytes in a text column that are no UTF-8, which nothing can read as text."""
    replica = many(pair, 300)
    smuggle(
        pair,
        "update note set title = cast(x'ff00fe' as text) where id = 'n7'",
        "update product set name = cast(x'80' as text)",
        into=replica,
    )
    assert found_in(replica.compare()) == {"note": (1, 0, 0), "product": (2, 0, 0)}
    assert found_in(replica.repair()) == {"note": (1, 0, 0), "product": (2, 0, 0)}
    pair.assert_agreed()


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 19_999), min_size=1, max_size=60), st.randoms())
def test_what_travels_follows_the_differences(
    large: Pair, numbers: set[int], random: Random
) -> None:
    """Of 20,000 rows some are changed, gone or new: just these are sent, whatever the table has."""
    replica = large.replica
    statements = [
        random.choice(
            [
                f"update note set title = 'wrong' where id = 'n{number}'",
                f"delete from note where id = 'n{number}'",
                f"insert into note values ('extra {number}', 'wrong')",
            ]
        )
        for number in numbers
    ]
    smuggle(large, *statements, into=replica)
    large.wire.requests.clear()
    sent: list[int] = []
    report = replica.repair(["note"], on_progress=lambda news: sent.append(news.bytes))
    assert report.found == len(numbers)
    asked = [
        len(decode(request.body, RepairRequest).keys)
        for request in large.wire.requests
        if request.operation == "repair"
    ]
    assert sum(asked) == len(numbers)
    # Sums of 256 ranges, then for each difference a list of about 80 keys and hashes, and its row.
    assert max(sent) < 10_000 + 6_000 * len(numbers)
    question = "select * from note order by 1"
    assert large.in_file(replica, question) == large.at_hub(question)


@pytest.mark.slow
def test_memory_follows_neither_the_table_nor_the_size_of_its_rows(pair: Pair) -> None:
    """I13. 60 MB of rows, on both sides of a comparison in one process."""
    replica = pair.replica
    pair.at_hub_many(
        "insert into note values (?, ?)", [(f"n{i}", f"{i}" * 30_000) for i in range(1_000, 1_500)]
    )
    replica.sync()
    pair.in_file(replica, "update note set title = title || '!' where id > 'n1490'")
    tracemalloc.start()
    try:
        assert replica.compare(["note"]).found == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 45_000_000
