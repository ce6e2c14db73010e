"""Triggers that a user adds to a replica: they see what programs do there, not what pages bring."""

from __future__ import annotations

import pytest

from tests.pair.conftest import Pair

SOFT_DELETE = """
    create trigger keep before delete on note begin
    update note set title = 'deleted' where id = old.id; select raise(ignore); end
"""
SHOUT = """
    create trigger shout after insert on note begin
    update note set title = upper(title) || '!' where id = new.id; end
"""


def test_they_rest_while_a_page_is_written(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'from the hub'), ('n2', 'x')")
    pair.in_file(pair.replica, SHOUT, SOFT_DELETE)
    pair.replica.sync()
    pair.at_hub("delete from note where id = 'n2'")
    pair.replica.sync()

    assert pair.rows(pair.replica, "note") == [("n1", "from the hub")]
    pair.in_file(pair.replica, "insert into note values ('n3', 'mine')")
    pair.in_file(pair.replica, "delete from note where id = 'n1'")
    assert pair.rows(pair.replica, "note") == [("n1", "deleted"), ("n3", "MINE!")]
    pair.assert_agreed()
    assert pair.at_hub("select * from note order by 1") == [("n1", "deleted"), ("n3", "MINE!")]


def test_one_that_names_the_guard_sees_the_hubs_rows_too(pair: Pair) -> None:
    pair.in_file(
        pair.replica,
        "create table words (id text, title text)",
        "create trigger learn after insert on note when (select suspended from reunite_guard) >= 0"
        " begin insert into words values (new.id, new.title); end",
    )
    pair.at_hub("insert into note values ('n1', 'from the hub')")
    pair.replica.sync()
    pair.in_file(pair.replica, "insert into note values ('n2', 'mine')")
    assert pair.rows(pair.replica, "words") == [("n1", "from the hub"), ("n2", "mine")]
    pair.assert_agreed()


@pytest.mark.parametrize("page_rows", [None, 2])
def test_they_are_there_again_after_a_large_page(
    pair: Pair, page_rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.replica.pages.LARGE_PAGE_ROWS", 3)
    other = pair.clone("tablet", page_rows=page_rows)
    pair.in_file(other, SHOUT)
    for i in range(9):
        pair.at_hub("insert into note values (?, 'hub')", f"h{i}")
    pair.write(other, "insert into note values ('m', 'mine')")
    other.sync()
    pair.in_file(other, "insert into note values ('n', 'mine')")
    titles = {title for _, title in pair.rows(other, "note")}
    assert titles == {"hub", "MINE!"}
    pair.assert_agreed()


def test_a_table_that_is_made_anew_loses_them_and_others_keep_theirs(pair: Pair) -> None:
    pair.in_file(pair.replica, SHOUT)
    pair.in_file(
        pair.replica,
        "create trigger round after insert on product begin "
        "update product set stock = 0 where id = new.id; end",
    )
    pair.at_hub("alter table product add column colour text")
    pair.replica.sync()
    found = "select name from sqlite_master where type = 'trigger' and name not like 'reunite%'"
    assert pair.in_file(pair.replica, found) == [("shout",)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_unique_index_of_a_computed_column_stays_at_the_hub(pair: Pair) -> None:
    """SQLite takes the name of a column that is not there for a text: equal in all rows."""
    pair.at_hub("create table tag (id integer primary key, name text, low text as (lower(name)))")
    pair.at_hub("create unique index tag_low on tag (low)")
    pair.at_hub("insert into tag (name) values ('One'), ('Two')")
    pair.hub.track("tag")
    other = pair.clone("tablet")
    assert [row[1] for row in pair.rows(other, "tag")] == ["One", "Two"]
    pair.in_file(other, "insert into tag (name) values ('ONE')")
    other.sync()
    assert [change.code for change in other.parked()] == ["unique"]
    assert [row[1] for row in pair.rows(other, "tag")] == ["One", "Two"]
