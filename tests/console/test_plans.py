"""What the console asks a database goes by indexes, however long the log and the lists are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.console import PAGES, asked, fill
from reunite import Hub
from reunite.stores.sql.database import SqliteSession

# Tables that grow without end: whoever reads one of them through takes as long as it is large.
LARGE = re.compile(
    r"SCAN (?:\w+ )?(reunite_(?:change|change_key|commit|push|origin|outcome|sync|series|act|"
    r"refusal|hub_conflict))\b(?! USING)|SCAN (?:c|m|p|o)\b(?! USING)"
)

LAST_COMMIT = "SELECT * FROM reunite_commit ORDER BY seq DESC LIMIT 1"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("console") / "hub.db"
    fill(path, commits=2_000, tables=12, replicas=30, roles=4, kept=500)
    return path


class Watched:
    """The statements that a page runs, and how SQLite goes about them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.plans: list[tuple[str, str]] = []
        plain = SqliteSession.execute

        def execute(session: SqliteSession, sql: str, parameters: Any = ()) -> Any:
            self.asked.append(sql)
            is_question = sql.lstrip().upper().startswith(("SELECT", "WITH"))
            # Where the log stands is its last commit, which is found from the end.
            if is_question and LAST_COMMIT not in sql:
                steps = plain(session, f"EXPLAIN QUERY PLAN {sql}", parameters)
                self.plans += [(sql, step[3]) for step in steps]
            return plain(session, sql, parameters)

        monkeypatch.setattr(SqliteSession, "execute", execute)


@pytest.mark.parametrize(
    ("method", "page", "given"), PAGES, ids=[f"{one[1]} {one[2]}" for one in PAGES]
)
def test_no_page_reads_a_large_table_through(
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    page: str,
    given: dict[str, str],
) -> None:
    given = {key: "1000" if key == "after" else value for key, value in given.items()}
    with Hub(large) as hub:
        hub.adopt()
        watched = Watched(monkeypatch)
        asked(hub, method, page, given)
    assert watched.asked, "this test no longer sees what is asked"
    assert [one for one in watched.plans if LARGE.search(one[1])] == []


def test_a_page_asks_no_more_of_a_longer_list(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of statements follows the size of the page."""
    with Hub(large) as hub:
        hub.adopt()
        watched = Watched(monkeypatch)
        counts = []
        for after in ("1900", "900"):
            watched.asked.clear()
            asked(hub, "GET", "commits", {"after": after, "limit": "20"})
            counts.append(len(watched.asked))
    assert counts[0] == counts[1] <= 60
