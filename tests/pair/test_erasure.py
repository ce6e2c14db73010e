"""What is known of a row is erased: at the hub, in its files, and on replicas with a sync."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reunite import Principal, Replica, Rules, Veto, row, user
from reunite.errors import BadRequestError, ConstraintError, UnknownTableError
from reunite.hub import Hub
from reunite.stores.sql import open_store
from reunite.testing.wire import Request, WireObserver
from tests.pair.conftest import Pair

# Long, so that one is in more than one place of a page, and with nothing that JSON escapes.
CANARY = "canary-"


def canary(name: str) -> str:
    return f"{CANARY}{name}-" + name * 20


def in_files(path: Path) -> set[str]:
    """The canaries that the bytes of a database hold, free pages and write-ahead log included."""
    found = set()
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            for part in file.read_bytes().split(CANARY.encode())[1:]:
                found.add(part.split(b"-")[0].decode(errors="replace"))
    return found


def in_hub(pair: Pair) -> set[str]:
    """The canaries that the hub knows of in any of its tables, ours and the application's."""
    store = pair.hub._store
    if pair.database.kind == "memory":
        text = repr(store._state)  # type: ignore[attr-defined]
        entries = [*store._state.log.after(0), *store._state.outcomes.after(0)]  # type: ignore[attr-defined]
        text += repr(entries) + repr({n: t.rows for n, t in store._state.tables.items()})  # type: ignore[attr-defined]
    else:
        names = [
            name
            for (name,) in pair.at_hub(
                "select name from sqlite_schema where type = 'table'"
                if pair.database.kind == "sqlite"
                else "select tablename from pg_tables where schemaname = 'public'"
            )
        ]
        text = repr([pair.at_hub(f'select * from "{name}"') for name in names])
    return {part.split("-")[0] for part in text.split(CANARY)[1:]}


@pytest.fixture
def known(pair: Pair) -> Pair:
    """A note with a history in every place that there is: updates, conflicts, a parked change."""
    title = {name: canary(name) for name in ("first", "laptop", "tablet", "later", "other")}
    pair.at_hub("insert into note values ('a', ?), ('b', ?)", title["first"], title["other"])
    tablet = pair.clone("tablet")
    pair.replica.sync()
    tablet.sync()
    pair.write(pair.replica, f"update note set title = '{title['laptop']}' where id = 'a'")
    pair.write(tablet, f"update note set title = '{title['tablet']}' where id = 'a'")
    pair.replica.sync()
    pair.clock.advance(1_000)
    tablet.sync()
    assert tablet.conflicts(), "both changed the title"
    pair.replica.sync()
    pair.at_hub("update note set title = ? where id = 'a'", title["later"])
    pair.replica.sync()
    tablet.sync()
    return pair


def test_what_the_hub_knew_of_a_row_is_gone_and_that_it_was_erased_stays(known: Pair) -> None:
    assert in_hub(known) >= {"first", "laptop", "tablet", "later", "other"}
    report = known.hub.erase("note", ("a",), actor="ann")
    assert in_hub(known) == {"other"}
    assert [(each.table, each.key, each.principal) for each in report.erased] == [
        ("note", ("a",), "ann")
    ]
    assert report.outcomes == 1
    history = known.hub.history("note", ("a",))
    assert len(history) == report.changes + 1
    assert all(entry.is_erased and entry.old is None and entry.row is None for entry in history)
    assert history[-1].principal == "ann"
    assert [entry.op.name.lower() for entry in history[-2:]] == ["delete", "update"]
    (fact,) = known.hub.erasures()
    assert (fact.key, fact.at_ms) == (("a",), known.clock.now_ms())
    assert ("VACUUM FULL" in report.left) == (known.database.kind == "postgresql")


def test_replicas_forget_what_was_erased_with_their_next_sync(known: Pair) -> None:
    """Their conflicts about it too, and what their free pages and write-ahead logs held (I6)."""
    tablet = known.clone("tablet")
    assert in_files(tablet.path) >= {"tablet", "later", "other"}
    known.hub.erase("note", ("a",))
    known.replica.sync()
    tablet.sync()
    assert known.rows(tablet, "note") == [("b", canary("other"))]
    assert in_files(tablet.path) == in_files(known.replica.path) == {"other"}
    (conflict,) = tablet.conflicts()
    assert (conflict.hub, conflict.replica, conflict.base) == (None, None, None)
    assert conflict.column == "title"
    known.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_no_page_of_the_hubs_file_holds_what_was_erased(known: Pair) -> None:
    """Neither the free pages, nor what is left in used ones, nor the write-ahead log."""
    path = known.folder / "hub.db"
    for n in range(50):
        known.at_hub("update note set title = ? where id = 'a'", canary(f"n{n}") * (1 + n % 7 * 9))
    known.hub.number()
    assert len(in_files(path)) > 50
    assert known.hub.erase("note", ("a",)).left == ""
    assert in_files(path) == {"other"}
    assert known.at_hub("pragma integrity_check") == [("ok",)]
    known.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_file_that_others_are_reading_is_scrubbed_later(known: Pair) -> None:
    path = known.folder / "hub.db"
    with Hub(open_store(path, timeout_s=0.1), clock=known.clock) as hub:
        hub.adopt()
        known.at_hub("begin")
        known.at_hub("select * from note")
        assert "--scrub" in hub.erase("note", ("a",)).left
        assert in_files(path) > {"other"}
        known.at_hub("commit")
        assert hub.scrub() == ""
    assert in_files(path) == {"other"}


@pytest.mark.hubs("sqlite")
def test_a_replica_that_others_are_reading_is_scrubbed_with_a_later_sync(known: Pair) -> None:
    known.hub.erase("note", ("a",))
    reader = sqlite3.connect(known.replica.path, isolation_level=None)
    reader.execute("begin")
    reader.execute("select * from note").fetchall()
    known.replica.sync()
    assert known.rows(known.replica, "note") == [("b", canary("other"))]
    reader.close()
    known.at_hub("insert into note values ('c', 'd')")
    known.replica.sync()
    assert in_files(known.replica.path) == {"other"}


def test_changes_that_waited_on_a_replica_bring_nothing_back(known: Pair) -> None:
    tablet = known.clone("tablet")
    known.write(tablet, f"update note set title = '{canary('late')}' where id = 'a'")
    known.write(known.replica, "delete from note where id = 'a'")
    known.hub.erase("note", ("a",))
    tablet.sync()
    known.replica.sync()
    assert in_hub(known) == {"other"}
    assert in_files(tablet.path) == in_files(known.replica.path) == {"other"}
    assert tablet.status().parked == 0
    assert tablet.conflicts()[-1].replica is None, "that a change was lost is told"
    known.assert_agreed()


def test_a_parked_change_loses_its_values_too(known: Pair) -> None:
    known.hub.on_update("note")(refuse)
    known.write(known.replica, f"update note set title = '{canary('parked')}' where id = 'a'")
    known.replica.sync()
    assert known.replica.status().parked == 1
    known.hub.erase("note", ("a",))
    known.replica.sync()
    (parked,) = known.replica.parked()
    assert (parked.key, parked.set) == (("a",), {})
    assert "erased" in parked.reason
    assert in_files(known.replica.path) == in_hub(known) == {"other"}
    with pytest.raises(BadRequestError):
        known.replica.retry(parked.id)
    known.replica.discard(parked.id)


def refuse(change: Any, db: Any) -> None:
    raise Veto("not now")


def test_rows_that_go_with_an_erased_one_are_erased_with_it(pair: Pair) -> None:
    pair.at_hub("update product set name = ? where id = 1", canary("product"))
    pair.at_hub("update sale set amount = 424242 where id = 1")
    pair.hub.number()
    pair.replica.sync()
    report = pair.hub.erase("product", (1,))
    assert {(each.table, each.key) for each in report.erased} == {
        ("product", (1,)),
        ("sale", (1,)),
    }
    assert in_hub(pair) == set()
    assert all(entry.old is None for entry in pair.hub.history("sale", (1,)))
    pair.assert_agreed()


def test_what_was_under_the_former_keys_of_a_row_is_erased_too(pair: Pair) -> None:
    pair.at_hub("insert into note values ('old', ?)", canary("old"))
    pair.at_hub("update note set id = 'new', title = ? where id = 'old'", canary("new"))
    pair.replica.sync()
    pair.at_hub("insert into note values ('old', ?)", canary("another"))
    report = pair.hub.erase("note", ("new",))
    assert [each.key for each in report.erased] == [("new",), ("old",)]
    assert in_hub(pair) == {"another"}, "the row that has the key of before now is another one"
    pair.assert_agreed()
    assert in_files(pair.replica.path) == {"another"}


def test_a_replica_that_missed_the_erasure_in_a_trimmed_log_forgets_all_the_same(
    known: Pair,
) -> None:
    tablet = known.clone("tablet")
    known.hub.erase("note", ("a",))
    known.clock.advance(1_000_000)
    known.replica.sync()
    known.clock.advance(1_000)
    assert known.hub.trim(older_than_s=500) > 0
    tablet.sync()
    assert in_files(tablet.path) == {"other"}
    known.assert_agreed()


def test_a_key_that_was_erased_may_be_used_again(known: Pair) -> None:
    known.hub.erase("note", ("a",))
    known.at_hub("insert into note values ('a', ?)", canary("again"))
    known.assert_agreed()
    assert known.rows(known.replica, "note")[0] == ("a", canary("again"))
    assert in_files(known.replica.path) == {"again", "other"}
    known.write(known.replica, "update note set title = 'x' where id = 'a'")
    known.assert_agreed()
    assert [entry.is_erased for entry in known.hub.history("note", ("a",))[-2:]] == [False, False]


def test_a_row_that_is_gone_already_is_erased_from_the_past(known: Pair) -> None:
    known.at_hub("delete from note where id = 'a'")
    tablet = known.clone("tablet")
    tablet.sync()
    assert in_files(tablet.path) > {"other"}, "a conflict about it"
    known.hub.erase("note", ("a",))
    assert in_hub(known) == {"other"}
    tablet.sync()
    assert in_files(tablet.path) == {"other"}
    known.assert_agreed()


def test_an_erased_past_is_neither_told_nor_undone(known: Pair) -> None:
    first = known.hub.history("note", ("a",))[0]
    known.hub.erase("note", ("a",))
    erased = known.hub.number().seq
    before = datetime.fromtimestamp((first.at_ms or 0) / 1000, UTC) + timedelta(milliseconds=1)
    with pytest.raises(BadRequestError, match="erased"):
        known.hub.row_at("note", ("a",), before)
    for seq in (erased, first.seq or 0):
        report = known.hub.undo(seq)
        assert {each.code for each in report.conflicts if each.key == ("a",)} == {"erased"}
    assert in_hub(known) <= {"other"}
    assert known.at_hub("select count(*) from note where id = 'a'") == [(0,)]


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_table_that_was_renamed_is_erased_under_both_names(known: Pair) -> None:
    """Its past stands in the log under the former one."""
    known.at_hub("alter table note rename to memo")
    known.hub.track("memo")
    assert known.hub.erase("memo", ("a",)).changes > 0
    assert len(in_hub(known)) > 1
    report = known.hub.erase("note", ("a",))
    assert report.changes > 0
    assert in_hub(known) == {"other"}
    assert [row[0] for row in known.at_hub("select id from memo")] == ["b"]
    history = known.hub.history("note", ("a",))
    assert all(entry.is_erased for entry in history)


def test_a_table_that_is_not_tracked_any_more_is_erased_from_the_log(known: Pair) -> None:
    known.hub.untrack("note")
    known.hub.erase("note", ("a",))
    # The row itself is not ours any more.
    left = {canary for canary in in_hub(known) if canary != "other"}
    assert left <= {"later", "hub", "tablet"}
    assert len(left) <= 1
    assert all(entry.is_erased for entry in known.hub.history("note", ("a",)))


def test_a_row_of_which_nothing_is_known_is_no_erasure(known: Pair) -> None:
    with pytest.raises(BadRequestError, match="Nothing is known"):
        known.hub.erase("note", ("never",))
    assert known.hub.erasures() == []
    known.hub.erase("note", ("a",))
    known.hub.erase("note", ("a",))  # once more does no harm


def test_what_cannot_be_erased_is_refused_and_nothing_is_done(pair: Pair) -> None:
    with pytest.raises(UnknownTableError):
        pair.hub.erase("nothing", ("a",))
    with pytest.raises(BadRequestError):
        pair.hub.erase("note", "a")
    assert pair.hub.erasures() == []


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_row_that_others_point_to_stays_whole(pair: Pair) -> None:
    pair.at_hub("create table shelf (id text primary key not null, name text)")
    pair.at_hub(
        "create table book (id text primary key not null, shelf text references shelf (id))"
    )
    pair.hub.track("shelf")
    pair.hub.track("book")
    pair.at_hub("insert into shelf values ('s', ?)", canary("shelf"))
    pair.at_hub("insert into book values ('b', 's')")
    with pytest.raises(ConstraintError):
        pair.hub.erase("shelf", ("s",))
    assert pair.hub.erasures() == []
    assert in_hub(pair) == {"shelf"}


class Answers(WireObserver):
    """What the hub answered, by replica."""

    def __init__(self) -> None:
        self.by_label: dict[str, bytes] = {}

    def answered(self, request: Request, answer: bytes) -> None:
        self.by_label[request.label] = self.by_label.get(request.label, b"") + answer


def test_those_who_never_saw_a_row_are_not_told_its_key(pair: Pair) -> None:
    """Neither those who may not read it, nor those who did not ask for it; others are (I8)."""
    pair.hub.track("note", rules=Rules(read=row.title == user.team))
    pair.at_hub("insert into note values ('key-red', 'red'), ('key-blue', 'blue')")
    team = {name: Principal(user=name, claims={"team": name}) for name in ("red", "blue")}
    tokens = {name: pair.hub.create_token(principal) for name, principal in team.items()}

    def clone(label: str, name: str, **options: Any) -> Replica:
        transport = pair.wire.transport(tokens[name], label=label)
        path = pair.folder / f"{label}.db"
        return pair.closing.enter_context(
            Replica.clone(path, transport=transport, clock=pair.clock, **options)
        )

    replicas = {
        "red": clone("red", "red"),
        "blue": clone("blue", "blue"),
        "some of red": clone("some of red", "red", tables={"note": row.id == "another"}),
    }
    assert pair.rows(replicas["red"], "note") == [("key-red", "red")]
    pair.hub.erase("note", ("key-red",))
    answers = pair.wire.observer = Answers()
    for replica in replicas.values():
        replica.sync()
    told = {label for label, answer in answers.by_label.items() if b"key-red" in answer}
    assert told == {"red"}
    assert pair.rows(replicas["red"], "note") == []
    assert b"key-red" not in replicas["red"].path.read_bytes()
    assert pair.rows(replicas["blue"], "note") == [("key-blue", "blue")]


@pytest.mark.parametrize("is_refused", [False, True])
def test_what_waits_of_a_row_forgets_what_the_row_was(known: Pair, is_refused: bool) -> None:
    """The erasure comes while a change of the row is not answered yet; what the user wrote stays
    where it was refused."""
    known.write(known.replica, f"update note set title = '{canary('own')}' where id = 'a'")
    known.hub.erase("note", ("a",))
    known.replica.pull()
    if is_refused:
        known.hub.track("note", rules=Rules(read=True, insert=True))
        known.hub.track("product", rules=Rules.none())
        known.hub.track("sale", rules=Rules.none())
        known.at_hub("insert into note values ('a', 'another')")
        known.hub.number()
    known.replica.sync()
    assert known.replica.status().pending == 0
    assert in_files(known.replica.path) <= {"own", "other"}
