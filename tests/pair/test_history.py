"""The log read as history: who did what, when, and what stood there."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reunite.core.principal import Principal
from reunite.errors import BadRequestError, CallerError, UnknownTableError
from tests.pair.conftest import Pair
from tests.pair.hubs import PostgresHubDatabase, SqliteHubDatabase


def moment(pair: Pair) -> datetime:
    """The hub's time, and a second goes by."""
    now = datetime.fromtimestamp(pair.clock.now_ms() / 1000, UTC)
    pair.clock.advance(1_000)
    return now


def titles(pair: Pair, **asked: Any) -> list[Any]:
    return [
        None if entry.row is None else entry.row["title"]
        for entry in pair.hub.history("note", ("a",), **asked)
    ]


@pytest.fixture
def told(pair: Pair) -> dict[str, datetime]:
    """A note with a history; the moments right after each change."""
    moments = {}
    pair.at_hub("insert into note values ('a', 'from the hub')")
    pair.hub.number()
    moments["inserted"] = moment(pair)
    pair.replica.sync()
    pair.write(pair.replica, "update note set title = 'from the laptop' where id = 'a'")
    pair.replica.sync()
    moments["updated"] = moment(pair)
    tablet = pair.clone("tablet")
    pair.write(tablet, "delete from note where id = 'a'")
    tablet.sync()
    moments["deleted"] = moment(pair)
    return moments


def test_history_is_asked_by_actor_replica_and_time(pair: Pair, told: dict[str, datetime]) -> None:
    laptop = pair.hub.history("note", ("a",))[1].replica
    assert laptop in [each.id for each in pair.hub.status().replicas]
    assert titles(pair) == ["from the hub", "from the laptop", None]
    assert titles(pair, actor="owner") == ["from the laptop", None]
    assert titles(pair, replica=laptop) == ["from the laptop"]
    assert titles(pair, actor="nobody") == []
    assert titles(pair, until=told["updated"]) == ["from the hub"]
    assert titles(pair, since=told["updated"]) == ["from the laptop", None]
    assert titles(pair, since=told["updated"], until=told["deleted"]) == ["from the laptop"]
    assert [entry.key for entry in pair.hub.log(table="note", actor="owner")] == [("a",)] * 2


def test_a_row_is_told_as_it_was_at_a_time(pair: Pair, told: dict[str, datetime]) -> None:
    assert pair.hub.row_at("note", ("a",), told["inserted"]) == {"id": "a", "title": "from the hub"}
    assert pair.hub.row_at("note", ("a",), told["updated"] - timedelta(milliseconds=1)) == {
        "id": "a",
        "title": "from the hub",
    }
    assert pair.hub.row_at("note", ("a",), told["updated"]) == {
        "id": "a",
        "title": "from the laptop",
    }
    assert pair.hub.row_at("note", ("a",), told["deleted"]) is None
    assert pair.hub.row_at("note", ("a",), told["inserted"] - timedelta(seconds=9)) is None
    assert pair.hub.row_at("product", (1,), moment(pair)) == {
        "id": 1,
        "name": "Apple",
        "code": "A",
        "stock": 10,
    }


def test_a_row_that_moved_has_the_history_of_its_former_key_and_no_other(pair: Pair) -> None:
    pair.at_hub("insert into note values ('a', 'one')")
    pair.hub.number()
    before = moment(pair)
    pair.at_hub("update note set id = 'b' where id = 'a'")
    pair.hub.number()
    after = moment(pair)
    pair.at_hub("insert into note values ('a', 'another')")
    moved = pair.hub.history("note", ("b",))
    assert [(entry.key, entry.row) for entry in moved] == [
        (("a",), {"id": "a", "title": "one"}),
        (("b",), {"id": "b", "title": "one"}),
    ]
    assert pair.hub.row_at("note", ("a",), before) == {"id": "a", "title": "one"}
    assert pair.hub.row_at("note", ("b",), before) is None
    assert pair.hub.row_at("note", ("a",), after) is None
    assert pair.hub.row_at("note", ("b",), after) == {"id": "b", "title": "one"}


def test_a_time_before_a_trim_cannot_be_asked_for(pair: Pair, told: dict[str, datetime]) -> None:
    for replica in pair.replicas.values():
        replica.sync()
    pair.clock.advance(1_000_000)
    for replica in pair.replicas.values():
        replica.sync()
    assert pair.hub.trim(older_than_s=0) > 0
    with pytest.raises(BadRequestError, match="trimmed"):
        pair.hub.row_at("note", ("a",), told["inserted"])
    assert pair.hub.row_at("note", ("a",), moment(pair)) is None


def test_what_cannot_be_asked_for_is_refused(pair: Pair) -> None:
    naive = datetime(2026, 5, 1)  # noqa: DTZ001 — what is refused
    for ask in (
        lambda: pair.hub.row_at("note", ("a",), naive),
        lambda: pair.hub.history("note", ("a",), since="yesterday"),  # type: ignore[arg-type]
        lambda: pair.hub.row_at("note", "a", datetime.now(UTC)),
        lambda: pair.hub.history("note", ("a", "b")),
        lambda: pair.hub.export(io.StringIO(), "xml"),
        lambda: pair.hub.export(io.StringIO(), key=("a",)),
    ):
        with pytest.raises(BadRequestError):
            ask()
    with pytest.raises(UnknownTableError):
        pair.hub.log(table="nothing")
    with pytest.raises(BadRequestError, match="No replica has the id 'nobody'"):
        pair.hub.log(replica="nobody")
    with pytest.raises(UnknownTableError):
        pair.hub.export(io.StringIO(), table="nothing")


def test_the_history_is_exported_as_lines_of_json(pair: Pair, told: dict[str, datetime]) -> None:
    file = io.StringIO()
    assert pair.hub.export(file, table="note") == 3
    first, second, third = (json.loads(line) for line in file.getvalue().splitlines())
    assert (first["old"], first["new"]) == (None, {"id": "a", "title": "from the hub"})
    assert first["actor"] is None
    assert (second["old"], second["change"]) == (first["new"], "update")
    assert second["new"] == third["old"] == {"id": "a", "title": "from the laptop"}
    assert (third["new"], third["actor"], third["key"]) == (None, "owner", ["a"])
    assert datetime.fromisoformat(third["at"]) + timedelta(seconds=1) > told["updated"]


def test_the_history_is_exported_as_csv(pair: Pair, told: dict[str, datetime]) -> None:
    pair.at_hub("insert into note values ('=1+1', 'say \"hi\",\nthere')")
    file = io.StringIO(newline="")
    assert pair.hub.export(file, "csv", table="note", since=told["inserted"]) == 3 + 1
    rows = list(csv.DictReader(io.StringIO(file.getvalue(), newline="")))
    assert [row["change"] for row in rows] == ["insert", "update", "delete", "insert"]
    assert rows[0]["old"] == ""
    assert json.loads(rows[3]["key"]) == ["=1+1"]
    assert json.loads(rows[3]["new"]) == {"id": "=1+1", "title": 'say "hi",\nthere'}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@pytest.mark.parametrize("actor", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum(1)"])
def test_a_name_that_would_be_a_formula_has_an_apostrophe_in_csv(pair: Pair, actor: str) -> None:
    with pair.hub.acting_as(actor) as db:
        write_with(pair, db, "n")
    csv_file, lines = io.StringIO(newline=""), io.StringIO(newline="")
    pair.hub.export(csv_file, "csv", actor=actor)
    pair.hub.export(lines, actor=actor)
    (found,) = csv.DictReader(io.StringIO(csv_file.getvalue(), newline=""))
    assert found["actor"] == f"'{actor}"
    assert json.loads(lines.getvalue())["actor"] == actor


def test_an_export_of_many_parts_says_what_each_change_made(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.engine.history.LOG_ENTRIES_MAX", 3)
    pair.at_hub("insert into note values ('a', '0')")
    for n in range(1, 8):
        pair.at_hub("update note set title = ? where id = 'a'", str(n))
        pair.at_hub("update product set stock = ? where id = 1", 100 + n)
    file = io.StringIO()
    pair.hub.export(file)
    found = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["id"] for line in found] == [entry.id for entry in pair.hub.log()]
    notes = [line for line in found if line["table"] == "note"]
    assert [line["new"]["title"] for line in notes] == [str(n) for n in range(8)]
    assert [line["old"]["title"] for line in notes[1:]] == [str(n) for n in range(7)]
    of_one = io.StringIO()
    pair.hub.export(of_one, table="note", key=("a",))
    assert [json.loads(line) for line in of_one.getvalue().splitlines()] == notes


def write_with(pair: Pair, db: Any, id_: str) -> None:
    if pair.database.kind == "memory":
        db.insert("note", {"id": id_, "title": "x"})
    else:
        db.execute(f"insert into note values ('{id_}', 'x')")


def actors(pair: Pair) -> dict[str, str | None]:
    return {entry.key[0]: entry.principal for entry in pair.hub.log(table="note")}


def test_the_backend_writes_as_somebody(pair: Pair) -> None:
    pair.at_hub("insert into note values ('before', 'x')")
    with pair.hub.acting_as("ann") as db:
        write_with(pair, db, "a")
    with pair.hub.acting_as(Principal(user="bob", roles=("boss",))) as db:
        write_with(pair, db, "b")
    pair.at_hub("insert into note values ('after', 'x')")
    assert actors(pair) == {"before": None, "a": "ann", "b": "bob", "after": None}
    (entry,) = pair.hub.history("note", ("a",))
    assert (entry.principal, entry.replica, entry.n) == ("ann", None, None)
    pair.assert_agreed()


def test_what_an_actor_gave_up_has_not_happened(pair: Pair) -> None:
    with suppress(ZeroDivisionError), pair.hub.acting_as("ann") as db:
        write_with(pair, db, "a")
        raise ZeroDivisionError
    assert actors(pair) == {}
    with pytest.raises(BadRequestError), pair.hub.acting_as(""):
        pass


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_block_of_who_acts_in_another_one_is_refused_at_once(pair: Pair) -> None:
    """It waited for the other one's transaction, which waited for it, and told of a lock."""
    with pair.hub.acting_as("ann") as db:
        write_with(pair, db, "a")
        with pytest.raises(CallerError, match="open already"), pair.hub.acting_as("bob"):
            pass
    with suppress(ZeroDivisionError), pair.hub.acting_as("bob"):
        raise ZeroDivisionError
    with pair.hub.acting_as("carl") as db:
        write_with(pair, db, "c")
    assert actors(pair) == {"a": "ann", "c": "carl"}


@pytest.mark.hubs("sqlite", "postgresql")
def test_the_backend_acts_on_its_own_connection(pair: Pair) -> None:
    """Also one whose rows are dicts; blocks nest, and what is outside them has no actor."""
    with open_connection(pair, autocommit=False) as db:
        db.row_factory = dict_factory(pair)
        with pair.hub.acting_as("ann", db):
            write_with(pair, db, "a1")
            with pair.hub.acting_as("bob", db):
                write_with(pair, db, "b")
            write_with(pair, db, "a2")
        write_with(pair, db, "nobody")
        db.commit()
        with suppress(ZeroDivisionError), pair.hub.acting_as("ann", db):
            write_with(pair, db, "given up")
            raise ZeroDivisionError
        db.rollback()
        with pair.hub.acting_as("carl", db):
            pass
        db.commit()
    assert actors(pair) == {"a1": "ann", "b": "bob", "a2": "ann", "nobody": None}


@pytest.mark.hubs("sqlite", "postgresql")
def test_who_acts_needs_a_transaction_to_act_in(pair: Pair) -> None:
    with open_connection(pair, autocommit=True) as db:
        with pytest.raises(BadRequestError, match="transaction"), pair.hub.acting_as("ann", db):
            pass
        with pytest.raises(BadRequestError, match="driver"), pair.hub.acting_as("ann", "db"):
            pass
        db.execute("begin")
        with pair.hub.acting_as("ann", db):
            write_with(pair, db, "a")
        db.execute("commit")
    assert actors(pair) == {"a": "ann"}


def open_connection(pair: Pair, *, autocommit: bool) -> Any:
    """A connection of the application, which the driver closes at the end of a block."""
    if isinstance(pair.database, PostgresHubDatabase):
        import psycopg

        return psycopg.connect(pair.database.url, autocommit=autocommit)
    assert isinstance(pair.database, SqliteHubDatabase)
    return closing(sqlite3.connect(pair.database.path, isolation_level=None if autocommit else ""))


def dict_factory(pair: Pair) -> Any:
    if isinstance(pair.database, PostgresHubDatabase):
        from psycopg.rows import dict_row

        return dict_row
    return lambda cursor, row: {
        item[0]: one for item, one in zip(cursor.description, row, strict=True)
    }
