"""A first clone from one SQLite to another: rows come as a database, and arrive as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reunite import Hub, Replica, row
from reunite.core.principal import Principal
from reunite.errors import BadRequestError
from reunite.protocol.codec import encode
from reunite.protocol.limits import PAGE_BYTES_MAX
from reunite.protocol.pack import decode_page, encode_page, is_packed, table_sql
from reunite.protocol.pull import Page
from reunite.replica import cloning
from reunite.server import ServerThread
from reunite.testing.wire import Request, WireObserver
from tests.pair.conftest import Pair
from tests.pair.test_types import COLUMNS, DECLARED, LISTED, told, told_by, typed

pytestmark = pytest.mark.hubs("sqlite")

__all__ = ["typed"]

NOT_UTF8 = b"caf\xe9"


class Answers(WireObserver):
    """What the hub answered to pulls."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def answered(self, request: Request, answer: bytes) -> None:
        if request.operation == "pull":
            self.bodies.append(answer)

    @property
    def packed(self) -> list[bytes]:
        """Those with a pack."""
        return [body for body in self.bodies if is_packed(body)]


class Forger:
    """A hub's door that answers a pull with something else than the hub's page."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.forge = lambda page: page

    def authenticate(self, token: str) -> Principal:
        return self._hub.authenticate(token)

    def answer(self, operation: str, body: bytes, principal: Principal) -> bytes:
        answer = self._hub.answer(operation, body, principal)
        return encode_page(self.forge(decode_page(answer, Page))) if is_packed(answer) else answer


@pytest.fixture
def answers(pair: Pair) -> Answers:
    pair.wire.observer = Answers()
    return pair.wire.observer


def fill(pair: Pair) -> None:
    """A row for every value, which it has in every column."""
    marks = ", ".join("?" * len(DECLARED))
    pair.at_hub_many(
        f"insert into t (other, {COLUMNS}) values (0, {marks})",
        [(value,) * len(DECLARED) for value in [None, *LISTED]],
    )


def test_a_packed_clone_holds_what_the_hub_holds_and_what_one_by_json_holds(
    typed: Pair, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(typed)
    typed.clone("packed")
    assert answers.packed
    assert told_by(typed, "packed") == told(typed.hub_db)

    answers.bodies.clear()
    monkeypatch.setattr(cloning, "can_pack", lambda: False)
    typed.clone("plain")
    assert not answers.packed
    assert told_by(typed, "packed") == told_by(typed, "plain")


def test_what_was_packed_is_what_the_hub_means_by_it(typed: Pair) -> None:
    """Edited beside the odd values, none of them is taken for changed; compared, none differs."""
    fill(typed)
    replica = typed.clone("packed")
    typed.in_file(replica, "update t set other = other + 1")
    report = replica.sync()
    assert (report.rejected, report.conflicts, report.pending) == (0, 0, 0)
    assert replica.repair().found == 0


@pytest.mark.parametrize("column", ["c_text", "c_json", "c_integer", "c_blob", "c_nothing"])
def test_a_page_with_a_text_that_is_none_comes_as_json(
    typed: Pair, answers: Answers, column: str
) -> None:
    typed.hub_db.execute(f"insert into t (other, {column}) values (1, 'fine')")
    typed.hub_db.execute(
        f"insert into t (other, {column}) values (2, cast(? as text))", (NOT_UTF8,)
    )
    replica = typed.clone("packed")
    assert not answers.packed
    assert typed.in_file(replica, f"select {column} from t order by other") == [
        ("fine",), (NOT_UTF8,)
    ]  # fmt: skip


def test_the_halves_of_a_character_in_two_rows_are_no_text(typed: Pair, answers: Answers) -> None:
    for half in ("é".encode()[:1], "é".encode()[1:]):
        typed.hub_db.execute("insert into t (other, c_text) values (1, cast(? as text))", (half,))
    typed.clone("packed")
    assert not answers.packed


def test_a_pack_has_only_the_rows_that_a_clone_asks_for(pair: Pair, answers: Answers) -> None:
    pair.at_hub("insert into note (id, title) values ('n1', 'canary-inside')")
    pair.at_hub("insert into note (id, title) values ('n2', 'canary-outside')")
    replica = pair.clone("part", tables={"note": row.id == "n1"})
    assert pair.rows(replica, "note") == pair.at_hub("select * from note where id = 'n1'")
    assert b"canary-inside" in b"".join(answers.packed)
    assert b"canary-outside" not in b"".join(answers.bodies)


def test_pages_of_large_rows_stay_within_their_bounds(pair: Pair, answers: Answers) -> None:
    pair.at_hub_many(
        "insert into note (id, title) values (?, ?)",
        [(f"n{i:03}", f"{i:03}" + "x" * 500_000) for i in range(60)],
    )
    replica = pair.clone("wide")
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")
    assert len(answers.packed) >= 60 * 500_000 // (2 * PAGE_BYTES_MAX)
    assert max(map(len, answers.packed)) < 7 * PAGE_BYTES_MAX


def test_a_hub_in_utf_16_sends_json(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "hub.db")) as db:
        db.executescript("pragma encoding = 'UTF-16'; create table t (id integer primary key, a);")
        db.execute("insert into t (a) values ('größer')")
        db.commit()
    with Hub(tmp_path / "hub.db") as hub, ServerThread(hub) as server:
        hub.track_all()
        token = hub.create_token("owner")
        with (
            Replica.clone(tmp_path / "r.db", server.url, token=token) as replica,
            closing(sqlite3.connect(replica.path)) as db,
        ):
            assert db.execute("select a from t").fetchall() == [("größer",)]


def other(page: Page, *statements: str) -> Page:
    """The page with a pack that somebody has worked on."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(page.pack)
        for statement in statements:
            db.execute(statement)
        return msgspec.structs.replace(page, pack=db.serialize())


def named(page: Page, name: str) -> Page:
    """The page with another name for the pack's first table."""
    first, *rest = page.tables
    return msgspec.structs.replace(
        page, tables=(msgspec.structs.replace(first, packed=name), *rest)
    )


FORGED: dict[str, Any] = {
    "cut": lambda page: msgspec.structs.replace(page, pack=page.pack[: len(page.pack) // 2]),
    "no database": lambda page: msgspec.structs.replace(page, pack=b"x" * len(page.pack)),
    "damaged": lambda page: msgspec.structs.replace(
        page, pack=page.pack[:4096] + b"\xff" * (len(page.pack) - 4096)
    ),
    "a table more": lambda page: other(page, "create table t9 (a)"),
    "a trigger": lambda page: other(
        page, "create trigger tr after insert on t0 begin select 1; end"
    ),
    "a view instead": lambda page: other(
        page, "alter table t0 rename to t8", "create view t0 as select * from t8"
    ),
    "other columns": lambda page: other(page, "drop table t0", table_sql("t0", 1)),
    "sql for a name": lambda page: named(page, "t0; drop table note"),
    "the file's own table": lambda page: named(page, "reunite_state"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_pack_that_is_none_is_refused_and_a_true_one_taken_after_it(
    pair: Pair, forged: str
) -> None:
    pair.at_hub("insert into note (id, title) values ('n1', 'true')")
    forger = Forger(pair.hub)
    forger.forge = FORGED[forged]
    pair.wire.hub = forger
    with pytest.raises(BadRequestError, match="pack"):
        pair.clone("victim")
    forger.forge = lambda page: page
    replica = pair.clone("victim")
    assert pair.rows(replica, "note") == pair.at_hub("select * from note order by 1")


def test_a_page_without_a_pack_is_json() -> None:
    page = Page(cursor="c", stamp="s", schemas={})
    assert encode_page(page) == encode(page)
    assert decode_page(encode(page), Page) == page


@pytest.mark.parametrize("head", [b"", b"zzzzzzzz", b"-0000001", b"ffffffff{"])
def test_a_body_that_only_begins_like_a_pack_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode_page(b"reunite-pack" + head, Page)
