"""The console's pages over a hub on PostgreSQL."""

from __future__ import annotations

import psycopg

from benchmarks.console import PAGES, asked
from reunite import Hub


def test_every_page_is_answered_over_postgresql(postgresql: str) -> None:
    with psycopg.connect(postgresql, autocommit=True) as db, Hub(postgresql) as hub:
        db.execute("create table table_7 (id integer primary key, name text)")
        hub.track("table_7")
        hub.workings.meter.begin()
        hub.directory.add_role("role7")
        hub.directory.permit("role7", "table_7", "read_only")
        for n in range(3):
            with hub.acting_as("user7", None) as line:
                line.execute("insert into table_7 values (%s, 'x')", (n,))
        for method, page, given in PAGES:
            if "replica" not in given:
                given = {key: value for key, value in given.items() if key != "after"}
                assert asked(hub, method, page, given), page
        changes = asked(hub, "GET", "changes", {"actor": "user7", "limit": "2"})
        assert changes.count(b'"op":"insert"') == 2
        assert b'"next":"' in changes
        assert b'"user7"' in asked(hub, "GET", "commits", {})
        assert b'"checked":3' in asked(hub, "POST", "verify", {})
