"""The feeds keep the promises of a feed."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reunite.engine.news import Feed
from reunite.feeds import ListeningFeed, LocalFeed, LookingFeed
from reunite.feeds import looking as looking_feed
from reunite.stores.memory import MemoryStore
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import STANDARD_SCHEMAS, FeedContract, FeedSubject
from tests.patience import DEADLINE_S


class LocalSubject:
    def __init__(self) -> None:
        self.feed: Feed = LocalFeed()

    def other(self) -> Feed:
        return self.feed

    def write(self) -> bool:
        return False


class TestLocalFeed(FeedContract):
    @pytest.fixture
    def subject(self) -> Iterator[FeedSubject]:
        subject = LocalSubject()
        yield subject
        subject.feed.close()


class MemorySubject(LocalSubject):
    def __init__(self) -> None:
        self._store = MemoryStore()
        self._store.track(STANDARD_SCHEMAS)
        self._parents = 0
        self.feed = LookingFeed(self._store.look)

    def write(self) -> bool:
        self._parents += 1
        with self._store.foreign_write() as program:
            program.insert("parent", {"id": f"p{self._parents}", "name": "P"})
        return True


class TestLookingFeedOfAMemoryStore(FeedContract):
    @pytest.fixture
    def subject(self) -> Iterator[FeedSubject]:
        subject = MemorySubject()
        yield subject
        subject.feed.close()


class DatabaseSubject:
    """Two hub processes' stores of one database, and a program that writes to it."""

    def __init__(
        self, program: Any, database: Path | str, feed_of: Callable[[SqlStore], Feed]
    ) -> None:
        self._program = program
        self._stores = [open_store(database), open_store(database)]
        self.feed, self._other = map(feed_of, self._stores)

    def other(self) -> Feed:
        return self._other

    def write(self) -> bool:
        self._program.execute("insert into note default values")
        return True

    def close(self) -> None:
        self.feed.close()
        self._other.close()
        for store in self._stores:
            store.close()
        self._program.close()


def looking(store: SqlStore) -> Feed:
    return LookingFeed(store.look)


def listening(store: SqlStore) -> Feed:
    assert store.lines is not None
    return ListeningFeed(store.look, store.lines)


def sqlite_subject(path: Path) -> DatabaseSubject:
    program = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    program.execute("pragma journal_mode = wal")
    program.execute("create table note (id integer primary key)")
    return DatabaseSubject(program, path, looking)


def postgres_subject(url: str, feed_of: Callable[[SqlStore], Feed]) -> DatabaseSubject:
    program = psycopg.connect(url, autocommit=True)
    program.execute("create table note (id int generated always as identity)")
    return DatabaseSubject(program, url, feed_of)


class TestLookingFeedOfADatabase(FeedContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[FeedSubject]:
        subject = sqlite_subject(tmp_path / "hub.db")
        yield subject
        subject.close()


def test_a_looking_feed_waits_for_who_is_about_to_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its listeners would be in the way of who numbers, and find what has no number yet."""
    monkeypatch.setattr(looking_feed, "WAITS_S_MAX", 3_600)
    looks, turns = [0], [0]
    has_turned = threading.Condition()

    def look() -> int:
        looks[0] += 1
        return looks[0]

    def take_turn() -> bool:
        with has_turned:
            turns[0] += 1
            has_turned.notify_all()
        return False

    def wait_for_turns(count: int) -> None:
        with has_turned:
            wanted = turns[0] + count
            assert has_turned.wait_for(lambda: turns[0] >= wanted, DEADLINE_S)

    feed = LookingFeed(look, is_led=take_turn)
    end = feed.listen(lambda: None)
    with feed.waking():
        wait_for_turns(2)  # the first one may have begun before the block
        before = looks[0]
        with feed.waking():
            wait_for_turns(3)
        wait_for_turns(3)
        assert looks[0] == before
    wait_for_turns(3)
    assert looks[0] > before
    end()


def test_a_looking_feed_has_a_thread_only_while_somebody_listens() -> None:
    feed = LookingFeed(object)
    before = threading.active_count()
    ends = [feed.listen(lambda: None), feed.listen(lambda: None)]
    assert threading.active_count() == before + 1
    for end in ends:
        end()
    assert threading.active_count() == before


class TestListeningFeedOfPostgresql(FeedContract):
    @pytest.fixture
    def subject(self, postgresql: str) -> Iterator[FeedSubject]:
        subject = postgres_subject(postgresql, listening)
        yield subject
        subject.close()


class TestLookingFeedOfPostgresql(FeedContract):
    @pytest.fixture
    def subject(self, postgresql: str) -> Iterator[FeedSubject]:
        subject = postgres_subject(postgresql, looking)
        yield subject
        subject.close()
