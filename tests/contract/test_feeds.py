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


class Counted:
    """How often a feed looked, and how often it was about to; each look finds news."""

    def __init__(self) -> None:
        self.looks = self.turns = 0
        self.is_led = False
        self._has_changed = threading.Condition()

    def look(self) -> int:
        with self._has_changed:
            self.looks += 1
            self._has_changed.notify_all()
            return self.looks

    def take_turn(self) -> bool:
        with self._has_changed:
            self.turns += 1
            self._has_changed.notify_all()
            return self.is_led

    def wait_for_turns(self, count: int) -> None:
        with self._has_changed:
            wanted = self.turns + count
            assert self._has_changed.wait_for(lambda: self.turns >= wanted, DEADLINE_S)

    def wait_for_a_look(self, *, after: int) -> None:
        with self._has_changed:
            assert self._has_changed.wait_for(lambda: self.looks > after, DEADLINE_S)


def test_a_looking_feed_waits_for_who_is_about_to_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its listeners would be in the way of who numbers, and find what has no number yet."""
    monkeypatch.setattr(looking_feed, "WAITS_S_MAX", 3_600)
    counted = Counted()
    feed = LookingFeed(counted.look, is_led=counted.take_turn)
    end = feed.listen(lambda: None)
    with feed.waking():
        counted.wait_for_turns(2)  # the first one may have begun before the block
        before = counted.looks
        with feed.waking():
            counted.wait_for_turns(3)
        counted.wait_for_turns(3)
        assert counted.looks == before
    counted.wait_for_a_look(after=before)
    end()


def test_a_look_that_was_left_out_comes_soon_where_pauses_are_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One process pushes all the time, and another one has begun to look for both."""
    monkeypatch.setattr(looking_feed, "LED_S", 3_600)
    counted = Counted()
    feed = LookingFeed(counted.look, is_led=counted.take_turn)
    end = feed.listen(lambda: None)
    with feed.waking():
        counted.wait_for_turns(2)
        before = counted.looks
        counted.wait_for_turns(2)
        counted.is_led = True
        counted.wait_for_a_look(after=before)
    end()


def test_who_pushes_does_not_wait_for_the_look_of_who_begins_to_listen() -> None:
    """The database may be slow to answer it."""
    is_looking, may_end = threading.Event(), threading.Event()

    def look() -> None:
        is_looking.set()
        assert may_end.wait(DEADLINE_S)

    feed = LookingFeed(look)
    begins = threading.Thread(target=feed.listen, args=(lambda: None,))
    begins.start()
    assert is_looking.wait(DEADLINE_S)
    pushed = threading.Event()

    def push() -> None:
        with feed.waking():
            pushed.set()

    pushes = threading.Thread(target=push)
    pushes.start()
    assert pushed.wait(DEADLINE_S)
    may_end.set()
    for thread in (begins, pushes):
        thread.join()
    feed.close()


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
