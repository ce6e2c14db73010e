"""SQLite lets NULL into most keys. Such a row has no name: it stays at the hub, harming nobody."""

from __future__ import annotations

import pytest

from reunite.core.fields import row
from reunite.errors import UntrackableTableError
from reunite.replica import Replica
from tests.pair.conftest import Pair

pytestmark = pytest.mark.hubs("sqlite")


@pytest.fixture
def word(pair: Pair) -> Replica:
    """A replica that has a table whose key may be NULL: a, b and c, which are named x, y, z."""
    pair.at_hub("create table word (part text, name text, title text, primary key (part, name))")
    pair.hub.track("word")
    pair.at_hub("insert into word values ('x', 'a', 'A'), ('y', 'b', 'B'), ('z', 'c', 'C')")
    replica = pair.clone("words")
    pair.at_hub("insert into word values (null, 'k', 'K'), ('q', null, 'Q'), ('v', 'd', 'D')")
    pair.at_hub("update word set part = null where name = 'a'")
    return replica


def names(pair: Pair, replica: Replica) -> list[str]:
    return [name for _, name, _ in pair.rows(replica, "word")]


def test_a_row_with_null_in_its_key_stays_at_the_hub_and_the_others_go_on(
    pair: Pair, word: Replica
) -> None:
    pair.write(word, "update word set title = 'mine' where name in ('a', 'b')")
    assert word.sync().rejected == 0
    assert names(pair, word) == ["d", "b", "c"]
    assert pair.at_hub("select title from word where name = 'b'") == [("mine",)]
    assert len(pair.at_hub("select * from word")) == 6
    assert not word.repair().found


def test_new_clones_leave_rows_with_null_in_their_key_out(pair: Pair, word: Replica) -> None:
    for name, asked in (("all", None), ("some", {"word": row.title >= "A"})):
        replica = pair.clone(name, tables=asked, page_rows=1)
        assert names(pair, replica) == ["d", "b", "c"]
    replica.set_tables({"word": row.title >= "C"})
    replica.sync()
    assert names(pair, replica) == ["d", "c"]


def test_a_row_reaches_replicas_once_its_key_has_a_value(pair: Pair, word: Replica) -> None:
    word.sync()
    pair.at_hub("update word set part = 'w' where name = 'a'")
    pair.at_hub("update word set name = 'e' where part = 'q'")
    pair.at_hub("delete from word where part is null")
    word.sync()
    assert pair.rows(word, "word") == pair.at_hub("select * from word order by 1")
    assert names(pair, word) == ["e", "d", "a", "b", "c"]


def test_a_tracked_table_stays_tracked_whatever_its_keys_are(pair: Pair, word: Replica) -> None:
    """After a restart, after a migration that takes the triggers, and when policies change."""
    pair.restart_hub()
    pair.hub.track("word", merge={"title": "hub_wins"})
    with pair.hub.migrating():
        pair.at_hub("create table other as select * from word")
        pair.at_hub("drop table word")
        pair.at_hub("create table word (part text, name text, title text, primary key (part,name))")
        pair.at_hub("insert into word select * from other")
    pair.at_hub("insert into word values ('s', 'f', 'F')")
    word.sync()
    assert names(pair, word) == ["f", "d", "b", "c"]
    pair.at_hub("create table late (id text primary key)")
    pair.at_hub("insert into late values (null)")
    with pytest.raises(UntrackableTableError, match="NULL"):
        pair.hub.track("late")
