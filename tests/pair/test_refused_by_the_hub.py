"""What the hub's own tables do to a push: triggers and constraints that fail, undo or ignore.

Each time the change to blame is parked, once and with a reason, and the rest takes effect once.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from reunite import ConstraintError, HookedChange
from reunite.replica import Replica, sending
from tests.pair.conftest import Pair

LESS = "update product set stock = stock - 1 where id = 1"


def _refusing_by_rollback(pair: Pair) -> Replica:
    pair.at_hub(
        "create trigger refuse before insert on note when new.title = 'bad' "
        "begin select raise(rollback, 'no'); end"
    )
    return pair.clone("till")


def _synced(pair: Pair, replica: Replica) -> None:
    for _ in range(3):
        replica.sync()
    assert replica.status().pending == 0


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("by", ["groups", "another program", "parts"])
def test_a_refusal_that_undoes_the_whole_push_lets_the_rest_take_effect_once(
    pair: Pair, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = _refusing_by_rollback(pair)
    first, last = "insert into note values ('n1', 'x')", "insert into note values ('n2', 'y')"
    whole = [f"insert into note values ('w{i}', 'x')" for i in range(9)]
    bad = [*whole, "insert into note values ('p', 'bad')"]
    if by == "parts":
        monkeypatch.setattr(sending, "WHOLE_MAX", 8)
        monkeypatch.setattr(sending, "PART_MAX", 5)
    if by == "another program":
        pair.in_file(till, first, LESS, *bad, LESS, last)
    else:
        for group in ([first, LESS], [LESS], bad, [last]):
            pair.write(till, *group)
    _synced(pair, till)

    kept = [f"w{i}" for i in range(9)] if by == "another program" else []
    assert pair.at_hub("select stock from product where id = 1") == [(8,)]
    assert pair.at_hub("select id from note order by 1") == [(key,) for key in ["n1", "n2", *kept]]
    parked = {change.key: change.code for change in till.parked()}
    assert len(parked) == 10 - len(kept)
    assert parked["p",] == "constraint"
    pair.at_hub("drop trigger refuse")
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_column_whose_conflicts_undo_the_transaction_parks_one_change(pair: Pair) -> None:
    pair.at_hub(
        "create table tag (id text primary key not null, v text unique on conflict rollback)"
    )
    pair.hub.track("tag")
    till = pair.clone("till")
    pair.at_hub("insert into tag values ('h', 'same')")
    pair.in_file(till, "insert into tag values ('p', 'same')", LESS)
    _synced(pair, till)
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    assert [(change.table, change.code) for change in till.parked()] == [("tag", "unique")]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_what_undoes_every_change_of_a_program_parks_each_of_them(pair: Pair) -> None:
    till = _refusing_by_rollback(pair)
    bad = [f"insert into note values ('p{i}', 'bad')" for i in range(9)]
    pair.in_file(till, *bad[:5], LESS, *bad[5:])
    _synced(pair, till)
    assert len(till.parked()) == 9
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
@pytest.mark.parametrize("is_swallowed", [True, False])
def test_a_hook_whose_statement_undoes_the_push_has_failed(pair: Pair, is_swallowed: bool) -> None:
    pair.at_hub("create table seen (id text primary key, note text)")

    @pair.hub.on_insert("note")
    def look(change: HookedChange, db: Any) -> None:
        try:
            db.execute("insert or rollback into seen values ('one', ?)", change.key)
        except Exception:
            if not is_swallowed:
                raise
            db.execute("insert into seen values (?, 'after all')", change.key)

    till = pair.clone("till")
    for statement in (LESS, "insert into note values ('a', 'x'), ('b', 'y')", LESS):
        pair.write(till, statement)
    _synced(pair, till)
    assert [change.code for change in till.parked()] == ["hook-failed"] * 2
    assert pair.at_hub("select stock from product where id = 1") == [(8,)]
    assert pair.at_hub("select * from seen") == []
    pair.assert_agreed()


FAILING = {
    "sqlite": {
        "no json": "select json_extract(new.title, '$') where new.title = 'bad'",
        "no table": "insert into missing select 1 where new.title = 'bad'",
        "no function": "select absent(new.title) where new.title = 'bad'",
        "overflow": "select abs(-9223372036854775808) where new.title = 'bad'",
    },
    "postgresql": {
        "no json": "perform new.title::json where new.title = 'bad'",
        "no table": "if new.title = 'bad' then insert into missing values (1); end if",
        "no function": "if new.title = 'bad' then perform absent(new.title); end if",
        "overflow": "if new.title = 'bad' then perform 9223372036854775807 + 1::bigint; end if",
        "asserted": "assert new.title <> 'bad'",
        "no sequence": "if new.title = 'bad' then perform currval('lonely'); end if",
        "too deep": "if new.title = 'bad' then "
        "insert into note values (new.id || 'x', 'bad'); end if",
    },
}


def _failing(pair: Pair, statement: str) -> None:
    if pair.database.kind == "sqlite":
        pair.at_hub(f"create trigger failing after insert on note begin {statement}; end")
        return
    pair.at_hub("create sequence lonely")
    pair.at_hub(
        "create function failing() returns trigger language plpgsql as "
        f"$$ begin {statement}; return new; end $$"
    )
    pair.at_hub(
        "create trigger failing after insert on note for each row execute function failing()"
    )


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize("why", list(FAILING["postgresql"]))
def test_a_trigger_of_the_hub_that_fails_parks_what_it_fails_at(
    pair: Pair, why: str, hub_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if why not in FAILING[hub_kind]:
        pytest.skip("of PostgreSQL")
    _failing(pair, FAILING[hub_kind][why])
    till = pair.clone("till")
    pair.write(till, LESS)
    pair.in_file(
        till,
        "insert into note values ('p', 'bad')",
        "insert into product (id, name) values (7, 'Fig')",
        LESS,
    )
    _synced(pair, till)
    (parked,) = till.parked()
    assert parked.table == "note"
    if parked.code != "check":  # PostgreSQL knows many of these as errors of values
        assert parked.code == ("unknown-table" if why == "no table" else "write-failed")
        assert "missing" not in parked.reason
        assert "absent" not in parked.reason
        told = [record for record in caplog.records if record.name == "reunite.hub"]
        assert any("a write of 'note'" in record.getMessage() for record in told)
    assert pair.at_hub("select stock from product where id = 1") == [(8,)]
    assert pair.at_hub("select count(*) from product") == [(3,)]

    pair.at_hub("drop trigger failing" + (" on note" if hub_kind == "postgresql" else ""))
    till.retry(parked.id)
    _synced(pair, till)
    assert pair.at_hub("select id from note") == [("p",)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_child_whose_parents_table_is_gone_is_parked_and_the_rest_drains(pair: Pair) -> None:
    till = pair.clone("till")
    pair.at_hub("pragma foreign_keys = off")
    pair.at_hub("drop table product")
    pair.in_file(
        till,
        "insert into sale (id, product_id, amount) values (7, 1, 5)",
        "insert into note values ('mine', 'x')",
    )
    _synced(pair, till)
    assert [(change.table, change.code) for change in till.parked()] == [("sale", "unknown-table")]
    assert pair.at_hub("select * from note") == [("mine", "x")]


def _ignoring(pair: Pair, event: str, otherwise: str = "") -> None:
    """A trigger that passes over writes of the note `p`, and may do something else."""
    row = "old" if event == "delete" else "new"
    if pair.database.kind == "sqlite":
        pair.at_hub(
            f"create trigger passing before {event} on note when {row}.id = 'p' "
            f"begin {otherwise}; select raise(ignore); end".replace("begin ;", "begin")
        )
        return
    pair.at_hub(
        "create function passing() returns trigger language plpgsql as "
        f"$$ begin {otherwise}; return null; end $$".replace("begin ;", "begin")
    )
    pair.at_hub(
        f"create trigger passing before {event} on note for each row "
        f"when ({row}.id = 'p') execute function passing()"
    )


WRITES = {
    "insert": "insert into note values ('p', 'mine')",
    "update": "update note set title = 'mine' where id = 'p'",
    "delete": "delete from note where id = 'p'",
}


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize("by", ["groups", "another program"])
@pytest.mark.parametrize("event", list(WRITES))
def test_what_a_trigger_of_the_hub_passes_over_is_parked(pair: Pair, event: str, by: str) -> None:
    if event != "insert":
        pair.at_hub("insert into note values ('p', 'x')")
    till = pair.clone("till")
    _ignoring(pair, event)
    statements = ["insert into note values ('n', 'x')", WRITES[event], LESS]
    if by == "groups":
        for statement in statements:
            pair.write(till, statement)
    else:
        pair.in_file(till, *statements)
    _synced(pair, till)
    assert [(change.key, change.code) for change in till.parked()] == [(("p",), "ignored")]
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
@pytest.mark.parametrize(
    ("event", "otherwise"),
    [
        ("delete", "update note set title = 'deleted' where id = 'p'"),
        ("insert", "insert into note values ('instead', 'x')"),
        ("update", "update product set name = 'instead' where id = 2"),
    ],
)
def test_what_a_trigger_of_the_hub_does_in_a_changes_place_takes_it(
    pair: Pair, event: str, otherwise: str
) -> None:
    if event != "insert":
        pair.at_hub("insert into note values ('p', 'x')")
    till = pair.clone("till")
    _ignoring(pair, event, otherwise)
    pair.write(till, WRITES[event], LESS)
    _synced(pair, till)
    assert till.parked() == []
    assert pair.at_hub("select stock from product where id = 1") == [(9,)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_a_column_that_ignores_conflicts_parks_what_it_ignores(pair: Pair) -> None:
    pair.at_hub("create table tag (id text primary key not null, v text unique on conflict ignore)")
    pair.hub.track("tag")
    till = pair.clone("till")
    pair.at_hub("insert into tag values ('h', 'same')")
    pair.write(till, "insert into tag values ('p', 'same'), ('q', 'other')")
    pair.write(till, "insert into tag values ('r', 'third')")
    _synced(pair, till)
    assert {change.key: change.code for change in till.parked()} == {
        ("p",): "ignored",
        ("q",): "ignored",
    }
    assert pair.at_hub("select id from tag order by 1") == [("h",), ("r",)]
    pair.assert_agreed()


@pytest.mark.hubs("postgresql")
@pytest.mark.parametrize("by", ["groups", "another program"])
@pytest.mark.parametrize(
    ("statement", "code"),
    [("raise exception 'no'", "check"), ("perform 1 / (length(new.title) - 3)", "check"),
     ("insert into missing values (1)", "unknown-table")],
    ids=["raised", "divided", "no table"],
)  # fmt: skip
def test_what_is_refused_at_commit_is_found_in_halves(
    pair: Pair, by: str, statement: str, code: str
) -> None:
    """A constraint trigger that waits for COMMIT made every push fail, each time."""
    pair.at_hub(
        "create function refuse() returns trigger language plpgsql as "
        f"$$ begin {statement}; return new; end $$"
    )
    pair.at_hub(
        "create constraint trigger late after insert on note deferrable initially deferred "
        "for each row when (new.title = 'bad') execute function refuse()"
    )
    till = pair.clone("till")
    groups = (["insert into note values ('n1', 'x')", LESS],
              ["insert into note values ('p', 'bad')"],
              [LESS, "insert into note values ('n2', 'y')"])  # fmt: skip
    if by == "another program":
        pair.in_file(till, *(each for group in groups for each in group))
    else:
        for group in groups:
            pair.write(till, *group)
    _synced(pair, till)
    assert pair.at_hub("select stock from product where id = 1") == [(8,)]
    assert pair.at_hub("select id from note order by 1") == [("n1",), ("n2",)]
    assert [(change.key, change.code) for change in till.parked()] == [(("p",), code)]
    pair.assert_agreed()


@pytest.mark.hubs("sqlite")
def test_an_undo_and_an_erasure_that_the_database_undoes_are_refused(pair: Pair) -> None:
    pair.at_hub("insert into note values ('n1', 'x')")
    seq = pair.hub.number().seq
    pair.at_hub(
        "create trigger keep before delete on note begin select raise(rollback, 'kept'); end"
    )
    for ask in (lambda: pair.hub.undo(seq), lambda: pair.hub.erase("note", ("n1",))):
        with pytest.raises(ConstraintError, match="undid all of it: kept") as caught:
            ask()
        assert type(caught.value) is ConstraintError
    assert pair.at_hub("select id from note") == [("n1",)]


@pytest.mark.hubs("sqlite", "postgresql")
def test_reasons_are_told_in_the_words_of_tables(pair: Pair) -> None:
    """They were the driver's: UNIQUE constraint failed, or duplicate key value violates …"""
    till = pair.clone("till")
    pair.at_hub("insert into product (id, name, code) values (99, 'Plum', 'C')")
    pair.write(till, "insert into product (name, code) values ('Kiwi', 'C')")
    pair.write(till, "update product set stock = 0 where id = 1")
    pair.at_hub("alter table sale add column why text check (why <> 'none')")
    till.sync()
    assert [change.reason for change in till.parked()] == [
        "product has another row with the same code."
    ]
    pair.write(till, "insert into sale (product_id, amount, why) values (1, 1, 'none')")
    till.sync()
    _, reason = (change.reason for change in till.parked())
    assert re.fullmatch(r"A CHECK of the hub does not hold: .*why.*\.", reason), reason
