"""The feeds keep the promises of a feed."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from reunite.engine.news import Feed
from reunite.feeds import ListeningFeed, LocalFeed, LookingFeed
from reunite.stores.memory import MemoryStore
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts import STANDARD_SCHEMAS, FeedContract, FeedSubject


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


class SqliteSubject:
    def __init__(self, path: Path) -> None:
        self._program = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._program.execute("pragma journal_mode = wal")
        self._program.execute("create table note (id integer primary key)")
        self._stores = [open_store(path), open_store(path)]
        self.feed: Feed = LookingFeed(self._stores[0].look)
        self._other = LookingFeed(self._stores[1].look)

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


class TestLookingFeedOfADatabase(FeedContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[FeedSubject]:
        subject = SqliteSubject(tmp_path / "hub.db")
        yield subject
        subject.close()


def test_a_looking_feed_has_a_thread_only_while_somebody_listens() -> None:
    feed = LookingFeed(object)
    before = threading.active_count()
    ends = [feed.listen(lambda: None), feed.listen(lambda: None)]
    assert threading.active_count() == before + 1
    for end in ends:
        end()
    assert threading.active_count() == before


def looking(store: SqlStore) -> Feed:
    return LookingFeed(store.look)


def listening(store: SqlStore) -> Feed:
    assert store.lines is not None
    return ListeningFeed(store.look, store.lines)


class PostgresSubject:
    def __init__(self, url: str, feed_of: Callable[[SqlStore], Feed]) -> None:
        self._program = psycopg.connect(url, autocommit=True)
        self._program.execute("create table note (id int generated always as identity)")
        self._stores = [open_store(url), open_store(url)]
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


class TestListeningFeedOfPostgresql(FeedContract):
    @pytest.fixture
    def subject(self, postgresql: str) -> Iterator[FeedSubject]:
        subject = PostgresSubject(postgresql, listening)
        yield subject
        subject.close()


class TestLookingFeedOfPostgresql(FeedContract):
    @pytest.fixture
    def subject(self, postgresql: str) -> Iterator[FeedSubject]:
        subject = PostgresSubject(postgresql, looking)
        yield subject
        subject.close()
