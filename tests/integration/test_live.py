"""A live replica over HTTP: what others commit arrives, what is written here is pushed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reunite import CallerError, Hub, Replica, row
from reunite.protocol.limits import LIVE_BYTES_MAX, LIVE_PAGE_BYTES
from reunite.server import ServerThread
from tests.integration.live_helpers import LiveReplica, Seen, query
from tests.patience import DEADLINE_S

SCHEMA = """
pragma journal_mode = wal;
create table note (id text primary key not null, title text);
create table sale (
    id text primary key not null, store integer, amount integer check (amount >= 0)
);
"""
NOTES = "select id, title from note order by id"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA)
    connection.close()
    return path


@pytest.fixture
def hub(database: Path) -> Iterator[Hub]:
    with Hub(database) as hub:
        hub.track("note")
        hub.track("sale")
        yield hub


@pytest.fixture
def token(hub: Hub) -> str:
    return hub.create_token()


@pytest.fixture
def server(hub: Hub) -> Iterator[ServerThread]:
    with ServerThread(hub) as server:
        yield server


@pytest.fixture
def live(tmp_path: Path, server: ServerThread, token: str) -> Iterator[LiveReplica]:
    replica = Replica.clone(tmp_path / "laptop.db", server.url, token=token)
    with LiveReplica(replica, "note", "sale") as live:
        live.seen.until_phase("live")
        yield live


def test_what_others_commit_arrives(database: Path, live: LiveReplica) -> None:
    query(database, "insert into note values ('a', 'from the hub')")
    live.until_rows(NOTES, [("a", "from the hub")])
    query(database, "update note set title = 'again'")
    live.until_rows(NOTES, [("a", "again")])
    query(database, "delete from note")
    live.until_rows(NOTES, [])
    assert live.replica.live.phase == "live"
    assert sum(report.phase == "connecting" for report in live.seen.reports) <= 1, "one stream"


def test_what_is_written_here_is_pushed_and_retired(database: Path, live: LiveReplica) -> None:
    with live.replica.transaction() as db:
        db.execute("insert into note values ('b', 'of this program')")
    query(live.replica.path, "insert into note values ('c', 'of another one')")
    assert live.replica.wait_until_synced(DEADLINE_S)
    assert query(database, NOTES) == [("b", "of this program"), ("c", "of another one")]
    assert live.replica.status().pending == live.replica.status().answered == 0


def test_replicas_see_each_other(
    tmp_path: Path, server: ServerThread, token: str, live: LiveReplica
) -> None:
    other = Replica.clone(tmp_path / "till.db", server.url, token=token)
    with LiveReplica(other, "note") as till:
        query(live.replica.path, "insert into note values ('d', 'hello')")
        till.until_rows(NOTES, [("d", "hello")])
        query(other.path, "update note set title = 'hello, you'")
        live.until_rows(NOTES, [("d", "hello, you")])


def test_a_rejected_change_is_parked_though_nothing_was_committed(live: LiveReplica) -> None:
    query(live.replica.path, "pragma ignore_check_constraints = on")
    query(live.replica.path, "insert into sale values ('s', 1, -1)")
    live.seen.until(lambda: any(report.rejected for report in live.seen.reports))
    assert [change.table for change in live.replica.parked()] == ["sale"]
    assert live.rows("select * from sale") == []


@pytest.mark.parametrize("size", [3 * LIVE_PAGE_BYTES, 2 * LIVE_BYTES_MAX])
def test_a_large_transaction_appears_whole(database: Path, live: LiveReplica, size: int) -> None:
    """In parts on the stream, or through a pull where it is too much for one."""
    counts: set[int] = set()
    count = "select count(*) from note"
    live.replica.watch("note", lambda _: counts.add(live.rows(count)[0][0]))
    query(
        database,
        "insert into note select value, printf('%.*c', 1000, 'x') from"
        " (with recursive n(value) as (select 1 union all select value + 1 from n where value < ?)"
        " select value from n)",
        size // 1000,
    )
    live.until_rows(count, [(size // 1000,)])
    live.seen.until(lambda: live.replica.live.phase == "live")
    assert counts <= {0, size // 1000}


def test_new_columns_and_tables_arrive(database: Path, live: LiveReplica) -> None:
    query(database, "alter table note add column pinned integer default 0")
    query(database, "insert into note values ('e', 'wide', 1)")
    live.until_rows("select count(*) from pragma_table_info('note')", [(3,)])
    live.until_rows("select id, title, pinned from note", [("e", "wide", 1)])


def test_rows_leave_a_partial_clone(
    tmp_path: Path, database: Path, server: ServerThread, token: str
) -> None:
    tables = {"sale": row.store == 7}
    replica = Replica.clone(tmp_path / "store.db", server.url, token=token, tables=tables)
    with LiveReplica(replica, "sale") as store:
        store.seen.until_phase("live")
        query(database, "insert into sale values ('s1', 7, 1), ('s2', 8, 1)")
        store.until_rows("select id from sale", [("s1",)])
        query(database, "update sale set store = 15 - store")
        store.until_rows("select id from sale", [("s2",)])


def test_another_process_that_syncs_the_file_does_no_harm(
    database: Path, server: ServerThread, token: str, live: LiveReplica
) -> None:
    with Replica(live.replica.path, url=server.url, token=token) as other:
        for number in range(5):
            query(database, "insert into note values (?, 'x')", f"n{number}")
            query(live.replica.path, "insert into note values (?, 'y')", f"o{number}")
            other.sync()
    expected = [(f"n{n}", "x") for n in range(5)] + [(f"o{n}", "y") for n in range(5)]
    live.until_rows(NOTES, expected)
    assert live.replica.wait_until_synced(DEADLINE_S)
    assert query(database, NOTES) == expected


def test_a_restarted_hub_is_found_again(
    hub: Hub, tmp_path: Path, database: Path, token: str
) -> None:
    with ServerThread(hub) as first:
        replica = Replica.clone(tmp_path / "laptop.db", first.url, token=token)
        live = LiveReplica(replica, "note")
        live.seen.until_phase("live")
    with live:
        live.seen.until_phase("offline")
        query(database, "insert into note values ('f', 'while it was away')")
        query(replica.path, "insert into note values ('g', 'offline')")
        port = int(first.url.rpartition(":")[2])
        with ServerThread(hub, port=port):
            live.until_rows(NOTES, [("f", "while it was away"), ("g", "offline")])
            assert replica.wait_until_synced(DEADLINE_S)
            assert query(database, NOTES) == live.rows(NOTES)


def test_a_revoked_token_ends_the_stream_and_another_one_opens_it(
    hub: Hub, tmp_path: Path, database: Path, server: ServerThread
) -> None:
    tokens = [hub.create_token(label="old")]
    replica = Replica.clone(tmp_path / "laptop.db", server.url, token=lambda: tokens[-1])
    with LiveReplica(replica, "note") as live:
        live.seen.until_phase("live")
        hub.revoke_token("old")
        live.seen.until_phase("offline")
        query(database, "insert into note values ('h', 'secret')")
        assert live.rows(NOTES) == []
        tokens.append(hub.create_token(label="new"))
        live.until_rows(NOTES, [("h", "secret")])


def test_a_server_that_closes_ends_its_streams_at_once(
    hub: Hub, tmp_path: Path, token: str
) -> None:
    with ServerThread(hub, drain_s=600) as server:
        replica = Replica.clone(tmp_path / "laptop.db", server.url, token=token)
        live = LiveReplica(replica)
        live.seen.until_phase("live")
    with live:
        live.seen.until_phase("offline")


def test_starting_and_stopping_may_be_said_twice(
    tmp_path: Path, server: ServerThread, token: str
) -> None:
    seen = Seen()
    with Replica.clone(tmp_path / "laptop.db", server.url, token=token) as replica:
        with pytest.raises(CallerError):
            replica.wait_until_synced(1)
        replica.start(on_event=seen)
        replica.start()
        seen.until_phase("live")
        replica.stop()
        replica.stop()
        assert seen.reports[-1].phase == replica.live.phase == "stopped"
        replica.start(on_event=seen)
        assert replica.wait_until_synced(DEADLINE_S)


def test_waiting_for_a_hub_that_is_not_there_ends(
    hub: Hub, tmp_path: Path, database: Path, token: str
) -> None:
    with ServerThread(hub) as server:
        replica = Replica.clone(tmp_path / "laptop.db", server.url, token=token)
    with LiveReplica(replica) as live:
        live.seen.until_phase("offline")
        assert not replica.wait_until_synced(0.2)
