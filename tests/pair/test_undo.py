"""A commit is taken back as a new commit; what changed since stays and is told."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.errors import BadRequestError, LimitExceededError
from tests.pair.conftest import Pair

TABLES = ("note", "product", "sale")


def commit(pair: Pair, *statements: str) -> int:
    """One commit of these statements' changes. In memory and on SQLite, one commit holds all that
    is not numbered; on PostgreSQL they must be one transaction."""
    pair.hub.number()
    if pair.database.kind == "postgresql" and len(statements) > 1:
        statements = ("begin", *statements, "commit")
    for statement in statements:
        pair.at_hub(statement)
    return pair.hub.number().seq


def tables(pair: Pair) -> dict[str, Any]:
    return {name: sorted(pair.at_hub(f"select * from {name}")) for name in TABLES}


def told(report: Any) -> list[tuple[Any, ...]]:
    return [(each.table, each.key, each.code, each.column) for each in report.conflicts]


def test_what_a_commit_did_is_undone_on_hub_and_replicas(pair: Pair) -> None:
    pair.at_hub("insert into note values ('kept', 'a'), ('gone', 'b')")
    pair.hub.number()
    before = tables(pair)
    done = commit(
        pair,
        "insert into note values ('new', 'c')",
        "update note set title = 'A' where id = 'kept'",
        "delete from note where id = 'gone'",
        "update product set name = 'Plum', stock = stock + 5 where id = 1",
        "insert into product (id, name, code) values (7, 'Fig', 'F')",
        "insert into sale (id, product_id, amount) values (9, 7, 1)",
        "update sale set product_id = 7 where id = 1",
    )
    after = tables(pair)
    pair.replica.sync()
    report = pair.hub.undo(done, actor="ann")
    assert (report.undone, report.commit, report.rows) == (done, done + 1, 7)
    assert report.conflicts == ()
    assert tables(pair) == before
    assert {entry.principal for entry in pair.hub.log() if entry.seq == done + 1} == {"ann"}
    pair.assert_agreed()
    again = pair.hub.undo(done + 1)
    assert again.conflicts == ()
    assert tables(pair) == after
    pair.assert_agreed()


def test_what_a_replica_pushed_is_undone(pair: Pair) -> None:
    before = tables(pair)
    pair.write(
        pair.replica,
        "insert into note values ('n', 'x')",
        "update product set name = 'Fig' where id = 2",
    )
    pair.replica.sync()
    report = pair.hub.undo(pair.hub.number().seq)
    assert (report.rows, report.conflicts) == (2, ())
    assert tables(pair) == before
    pair.assert_agreed()


def test_what_changed_since_stays_and_is_told(pair: Pair) -> None:
    commit(
        pair,
        "insert into product (id, name, code) values (5, 'E', 'E'), (6, 'F', 'F'), (7, 'G', 'G')",
    )
    done = commit(
        pair,
        "update product set name = 'Plum', code = 'P' where id = 1",
        "update product set name = 'Quince' where id = 2",
        "insert into product (id, name, code) values (3, 'Rhubarb', 'R'), (4, 'Sloe', 'S')",
        "delete from product where id = 5",
        "update product set name = 'H' where id = 6",
        "update product set name = 'I' where id = 7",
    )
    commit(
        pair,
        "update product set name = 'Medlar' where id = 1",
        "delete from product where id = 2",
        "update product set name = 'Rocket' where id = 3",
        "insert into sale (id, product_id, amount) values (9, 4, 1)",
        "insert into product (id, name, code) values (5, 'New', 'N')",
        "delete from product where id = 6",
    )
    commit(pair, "insert into product (id, name, code) values (6, 'H', 'X')")
    report = pair.hub.undo(done)
    assert sorted(told(report)) == [
        ("product", (1,), "changed", "name"),
        ("product", (2,), "deleted", None),
        ("product", (3,), "changed", None),
        ("product", (4,), "has-children", None),
        ("product", (5,), "key-taken", None),
        ("product", (6,), "replaced", None),
    ]
    (name,) = [each for each in report.conflicts if each.column == "name"]
    assert (name.undone, name.now) == ("Apple", "Medlar")
    products = {id_: (name, code) for id_, name, code, _ in tables(pair)["product"]}
    assert products == {
        1: ("Medlar", "A"),
        3: ("Rocket", "R"),
        4: ("Sloe", "S"),
        5: ("New", "N"),
        6: ("H", "X"),
        7: ("G", "G"),
    }
    assert (9, 4, 1) in tables(pair)["sale"]
    pair.assert_agreed()


def test_a_counter_goes_back_by_what_was_added(pair: Pair) -> None:
    done = commit(pair, "update product set stock = stock - 3 where id = 1")
    commit(pair, "update product set stock = stock + 100 where id = 1")
    assert pair.hub.undo(done).conflicts == ()
    assert pair.at_hub("select stock from product where id = 1") == [(110,)]


def test_children_that_went_with_their_parent_come_back_with_it(pair: Pair) -> None:
    before = tables(pair)
    done = commit(pair, "delete from product where id = 1")
    assert pair.at_hub("select count(*) from sale") == [(1,)]
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair) == before
    pair.assert_agreed()


def test_a_child_whose_parent_is_gone_stays_gone_and_the_rest_comes_back(pair: Pair) -> None:
    commit(pair, "insert into sale (id, product_id, amount) values (5, 1, 5), (6, 2, 6)")
    done = commit(pair, "delete from sale where id in (5, 6)")
    commit(pair, "delete from product where id = 1")
    report = pair.hub.undo(done)
    assert told(report) == [("sale", (5,), "foreign-key", None)]
    assert (6, 2, 6) in tables(pair)["sale"]


def test_a_row_goes_back_to_the_key_that_it_had_with_its_children(pair: Pair) -> None:
    """Also when keys went round, and when the key of before was taken meanwhile."""
    pair.at_hub("insert into note values ('a', '1'), ('b', '2')")
    pair.hub.number()
    before = tables(pair)
    done = commit(
        pair,
        "update note set id = 'x' where id = 'a'",
        "update note set id = 'a' where id = 'b'",
        "update note set id = 'b' where id = 'x'",
    )
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair) == before
    done = commit(pair, "update note set id = 'c', title = '3' where id = 'a'")
    commit(pair, "insert into note values ('a', 'another')")
    assert told(pair.hub.undo(done)) == [("note", ("c",), "key-taken", None)]
    assert tables(pair)["note"] == [("a", "another"), ("b", "2"), ("c", "3")]
    done = commit(
        pair, "update note set id = 'd' where id = 'b'", "insert into note values ('b', 'new')"
    )
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair)["note"] == [("a", "another"), ("b", "2"), ("c", "3")]
    pair.assert_agreed()


def test_unique_values_that_others_took_stay_theirs(pair: Pair) -> None:
    done = commit(pair, "update product set code = 'Z' where id = 1", "delete from note")
    commit(pair, "insert into product (id, name, code) values (8, 'Taker', 'A')")
    report = pair.hub.undo(done)
    assert told(report) == [("product", (1,), "unique", None)]
    assert (8, "Taker", "A", 0) in tables(pair)["product"]


def test_a_dry_run_changes_nothing(pair: Pair) -> None:
    done = commit(pair, "insert into note values ('a', 'b')")
    before, head = tables(pair), pair.hub.number()
    report = pair.hub.undo(done, actor="ann", dry_run=True)
    assert (report.rows, report.commit) == (1, None)
    assert (tables(pair), pair.hub.number()) == (before, head)


def test_what_was_undone_already_needs_nothing(pair: Pair) -> None:
    done = commit(pair, "update product set name = 'Plum' where id = 1")
    pair.hub.undo(done)
    report = pair.hub.undo(done)
    assert (report.rows, report.commit, report.conflicts) == (0, None, ())


def test_commits_that_are_not_there_cannot_be_undone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = commit(pair, "insert into note values ('a', 'b')", "delete from note")
    for seq in (done + 1, 0, -1):
        with pytest.raises(BadRequestError, match="no commit"):
            pair.hub.undo(seq)
    monkeypatch.setattr("reunite.engine.undo.UNDO_CHANGES_MAX", 1)
    with pytest.raises(LimitExceededError):
        pair.hub.undo(done)
    pair.replica.sync()
    pair.clock.advance(1_000_000)
    pair.replica.sync()
    pair.hub.trim(older_than_s=0)
    with pytest.raises(BadRequestError, match="no commit"):
        pair.hub.undo(done)


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_column_that_came_since_stays_and_one_that_went_is_passed_over(pair: Pair) -> None:
    commit(pair, "insert into note values ('a', 'b'), ('c', 'd')")
    done = commit(
        pair, "update note set title = 'B' where id = 'a'", "delete from note where id = 'c'"
    )
    pair.at_hub("alter table note add column stars integer not null default 3")
    pair.hub.number()
    pair.at_hub("update note set stars = 5 where id = 'a'")
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair)["note"] == [("a", "b", 5), ("c", "d", 3)]


@pytest.mark.hubs("sqlite")
def test_a_row_that_was_written_over_comes_back(pair: Pair) -> None:
    """OR REPLACE fires no trigger for the row that it takes away."""
    before = tables(pair)
    done = commit(pair, "insert or replace into product (id, name, code) values (3, 'New', 'A')")
    assert [row[0] for row in tables(pair)["product"]] == [2, 3]
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair)["product"] == before["product"]
    done = commit(pair, "insert or replace into product (id, name, code) values (1, 'New', 'N')")
    assert pair.hub.undo(done).conflicts == ()
    assert tables(pair)["product"] == before["product"]


@pytest.mark.parametrize("commit", ["1", None, True, 1.0])
def test_what_is_no_commit_is_refused_in_words(pair: Pair, commit: Any) -> None:
    with pytest.raises(BadRequestError, match="is no commit"):
        pair.hub.undo(commit)
