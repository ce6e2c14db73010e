"""A page of many rows comes in parts, so that a replica has few of them in memory at a time."""

from __future__ import annotations

import pytest

from reunite.protocol.codec import decode
from reunite.protocol.pull import Page
from reunite.testing.wire import Request, WireObserver
from tests.pair.conftest import Pair

MANY = """
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 1200)
    insert into note (id, title) select 'n' || i, case i when 777 then ? else 'note' end from n
"""


class Parts(WireObserver):
    """The numbers of notes in the parts of the pages that the hub sent."""

    def __init__(self) -> None:
        self.of_pages: list[list[int]] = []

    def answered(self, request: Request, answer: bytes) -> None:
        if request.operation == "pull":
            parts = decode(answer, Page).tables
            self.of_pages.append([len(part.puts) for part in parts if part.table == "note"])


@pytest.mark.hubs("sqlite")
def test_rows_of_a_snapshot_come_in_parts_and_arrive_whole(pair: Pair) -> None:
    """In one of them a text that looks like a tag, which only this part is searched for."""
    pair.at_hub(MANY, "reunite:text:")
    pair.wire.observer = parts = Parts()

    replica = pair.clone("phone")

    first, second = parts.of_pages[:2]
    assert sum(first) == 500, "the first page is small, so that writing begins early"
    assert max(first + second) <= 250
    assert sum(map(sum, parts.of_pages)) == 1200
    query = "select * from note order by 1"
    assert pair.rows(replica, "note") == pair.at_hub(query)


def test_what_a_commit_touched_comes_as_one_part(pair: Pair) -> None:
    """Live streams and small pulls carry a table's columns once."""
    pair.replica.sync()
    pair.wire.observer = parts = Parts()
    for number in range(300):
        pair.at_hub("insert into note (id, title) values (?, ?)", f"n{number:04}", "note")

    pair.replica.sync()

    assert [sum(part) for part in parts.of_pages if part] == [300]
    assert all(len(part) <= 1 for part in parts.of_pages)
