"""Whose change is it? What the hub's log says of entries that a push made."""

from __future__ import annotations

import pytest

from tests.pair.conftest import Pair


def _log(pair: Pair, after_id: int) -> list[tuple[str, str, int | None]]:
    return [(entry.table, entry.op, entry.n) for entry in pair.hub.log(after_id=after_id)]


def _head(pair: Pair) -> int:
    return max((entry.id for entry in pair.hub.log()), default=0)


def test_new_rows_go_back_to_the_changes_that_made_them(pair: Pair) -> None:
    pair.write(
        pair.replica, "insert into note values ('a', 'one'), ('b', 'two')", "insert into note "
        "values ('c', 'three')"
    )  # fmt: skip
    pair.write(pair.replica, "insert into note values ('d', 'four')", "delete from note "
               "where id = 'a'")  # fmt: skip
    head = _head(pair)
    pair.replica.sync()
    assert _log(pair, head) == [
        ("note", "insert", 1),
        ("note", "insert", 2),
        ("note", "insert", 3),
        ("note", "insert", 4),
        ("note", "delete", 5),
    ]


@pytest.mark.hubs("sqlite")
def test_what_a_trigger_wrote_instead_of_the_row_was_made_at_the_hub(pair: Pair) -> None:
    """As many entries as changes, and still none of them is the replica's."""
    pair.at_hub(
        "create trigger elsewhere before insert on note begin "
        "insert into product (name) values (new.title); select raise(ignore); end"
    )
    pair.write(pair.replica, "insert into note values ('a', 'one'), ('b', 'two')")
    head = _head(pair)
    pair.replica.sync()
    assert _log(pair, head) == [("product", "insert", None), ("product", "insert", None)]
    pair.assert_agreed()
    assert pair.rows(pair.replica, "note") == []


def test_rows_that_meet_others_are_judged_and_the_rest_of_the_push_goes_by_the_run(
    pair: Pair,
) -> None:
    pair.at_hub("insert into note values ('b', 'of the hub')")
    for key in ("a", "b", "c"):
        pair.write(pair.replica, f"insert into note values ('{key}', 'mine'), ('{key}2', 'mine')")
    report = pair.replica.sync()
    assert (report.pushed, report.rejected, report.conflicts) == (6, 0, 1)
    pair.assert_agreed()
    assert len(pair.rows(pair.replica, "note")) == 6
