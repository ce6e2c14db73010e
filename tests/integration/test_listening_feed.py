"""Feeds of several processes on one PostgreSQL database: who looks, who hears of it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from reunite import Hub, Replica
from reunite.errors import StorageUnavailableError
from reunite.feeds import ListeningFeed
from reunite.feeds.looking import LED_S
from reunite.server import ServerThread
from reunite.stores.sql import open_store
from tests.integration.live_helpers import LiveReplica, query
from tests.integration.processes import wait_until

NOTES = "select id, title from note order by id"


class Listening:
    """A feed as one process has it, that counts its looks and the calls of its listener."""

    def __init__(self, url: str, *, is_blind: bool = False) -> None:
        self._store = open_store(url)
        self._is_blind = is_blind
        self.looks = 0
        self.calls = 0
        assert self._store.lines is not None
        self.feed = ListeningFeed(self._look, self._store.lines)
        self.feed.listen(self._called)

    def _look(self) -> object:
        self.looks += 1
        return None if self._is_blind else self._store.look()

    def _called(self) -> None:
        self.calls += 1

    def until(self, part: str) -> None:
        wait_until(lambda: self.feed.part == part)

    def close(self) -> None:
        self.feed.close()
        self._store.close()


@pytest.fixture
def process(postgresql: str) -> Iterator[Callable[..., Listening]]:
    with ExitStack() as stack:

        def start(url: str = postgresql, *, is_blind: bool = False) -> Listening:
            return stack.enter_context(contextlib.closing(Listening(url, is_blind=is_blind)))

        yield start


def test_words_reach_other_processes_without_a_look(process: Callable[..., Listening]) -> None:
    teller = process(is_blind=True)
    teller.until("looks")
    hearer = process(is_blind=True)
    hearer.until("hears")
    before = hearer.calls
    teller.feed.wake()
    wait_until(lambda: hearer.calls > before)


def test_one_process_looks_often_and_the_others_hear_of_it(
    process: Callable[..., Listening],
) -> None:
    looker = process()
    looker.until("looks")
    others = [process(), process()]
    for other in others:
        other.until("hears")
    begun = [looker.looks, *(other.looks for other in others)]
    pause = threading.Event()
    pause.wait(LED_S)  # from here on at the pace of the part
    wait_until(lambda: looker.looks - begun[0] > 30)
    for other, looks in zip(others, begun[1:], strict=True):
        assert other.looks - looks < 15


def test_the_turn_goes_to_another_process_when_the_one_who_had_it_ends(
    process: Callable[..., Listening],
) -> None:
    first = process()
    first.until("looks")
    second = process()
    second.until("hears")
    first.close()
    second.until("looks")


def test_a_line_that_breaks_is_opened_again(
    process: Callable[..., Listening], postgresql: str
) -> None:
    looker = process()
    looker.until("looks")
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        calls = looker.calls
        looker.until("alone")
        looker.until("looks")
        wait_until(lambda: looker.calls > calls)


def test_behind_a_pooler_every_process_looks_by_itself_and_leaves_nothing_in_a_session(
    process: Callable[..., Listening], postgresql: str, pooled: str
) -> None:
    listening = process(pooled)
    looks = listening.looks
    wait_until(lambda: listening.looks > looks + 50)
    assert listening.feed.part == "alone"
    with psycopg.connect(postgresql, autocommit=True) as program:
        calls = listening.calls
        program.execute("create table news (id int)")
        wait_until(lambda: listening.calls > calls)
        told = program.execute(
            "select query from pg_stat_activity where query like '%LISTEN%' "
            "and datname = current_database() and pid <> pg_backend_pid()"
        )
        assert told.fetchall() == []
        assert program.execute("select from pg_locks where locktype = 'advisory'").rowcount == 0
    listening.close()


def test_a_hub_behind_a_pooler_serves_streams(postgresql: str, pooled: str, tmp_path: Path) -> None:
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute("create table note (id text primary key, title text)")
        with Hub(pooled) as hub:
            hub.track("note")
            token = hub.create_token()
            with ServerThread(hub) as server:
                replica = Replica.clone(tmp_path / "a.db", server.url, token=token)
                with LiveReplica(replica, "note") as live:
                    live.seen.until_phase("live")
                    program.execute("insert into note values ('p', 'of a program')")
                    live.until_rows(NOTES, [("p", "of a program")])
                    query(replica.path, "update note set title = 'pushed'")
                    assert replica.wait_until_synced(30)
                    assert program.execute("select title from note").fetchall() == [("pushed",)]


def test_streams_may_listen_past_the_pooler(postgresql: str, pooled: str) -> None:
    with open_store(postgresql) as direct:
        assert direct.lines is not None
        feed = ListeningFeed(direct.look, direct.lines)
        with Hub(pooled, feed=feed):
            feed.listen(lambda: None)
            wait_until(lambda: feed.part == "looks")


def test_tables_are_migrated_through_a_pooler_by_one_at_a_time(
    postgresql: str, pooled: str
) -> None:
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute("create table note (id text primary key, title text)")
        with Hub(pooled) as hub, Hub(pooled) as other:
            hub.track("note")
            with hub.migrating() as tables:
                program.execute("alter table note add column text text")
                with pytest.raises(StorageUnavailableError, match="being migrated"):
                    other.number()
            assert [table.table for table in tables] == ["note"]
            other.number()
            with other.migrating():
                """Nothing is left of the lock."""


def test_a_commit_is_told_to_streams_of_a_hub_that_does_not_look(
    postgresql: str, tmp_path: Path
) -> None:
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute("create table note (id text primary key, title text)")
        looker = Listening(postgresql)
        looker.until("looks")
        with Hub(postgresql) as hub, Hub(postgresql) as other:
            hub.track("note")
            other.track("note")
            token = hub.create_token()
            with ServerThread(hub) as server, ServerThread(other) as other_server:
                a = Replica.clone(tmp_path / "a.db", server.url, token=token)
                b = Replica.clone(tmp_path / "b.db", other_server.url, token=token)
                with LiveReplica(a, "note") as live, b:
                    live.seen.until_phase("live")
                    assert isinstance(hub.feed, ListeningFeed)
                    wait_until(lambda: hub.feed.part == "hears")
                    query(b.path, "insert into note values ('b', 'pushed elsewhere')")
                    b.sync()
                    live.until_rows(NOTES, [("b", "pushed elsewhere")])
        looker.close()
