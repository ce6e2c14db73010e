"""Live replicas of a PostgreSQL hub, with two server processes' worth of hubs on it."""

from pathlib import Path

import psycopg

from reunite import Hub, Replica
from reunite.server import ServerThread
from tests.integration.live_helpers import LiveReplica, query
from tests.patience import DEADLINE_S

NOTES = "select id, title from note order by id"


def test_commits_of_programs_and_of_other_hubs_reach_the_streams(
    postgresql: str, tmp_path: Path
) -> None:
    with psycopg.connect(postgresql, autocommit=True) as program:
        program.execute("create table note (id text primary key, title text)")
        with Hub(postgresql) as hub, Hub(postgresql) as other_hub:
            hub.track("note")
            other_hub.track("note")
            token = hub.create_token()
            with ServerThread(hub) as server, ServerThread(other_hub) as other_server:
                here = Replica.clone(tmp_path / "a.db", server.url, token=token)
                there = Replica.clone(tmp_path / "b.db", other_server.url, token=token)
                with LiveReplica(here, "note") as a, LiveReplica(there, "note") as b:
                    a.seen.until_phase("live")
                    b.seen.until_phase("live")
                    program.execute("insert into note values ('p', 'of a program')")
                    a.until_rows(NOTES, [("p", "of a program")])
                    b.until_rows(NOTES, [("p", "of a program")])
                    query(there.path, "update note set title = 'pushed elsewhere'")
                    a.until_rows(NOTES, [("p", "pushed elsewhere")])
                    assert there.wait_until_synced(DEADLINE_S)
                    assert there.status().pending == 0
                    found = program.execute("select title from note").fetchall()
                    assert found == [("pushed elsewhere",)]
