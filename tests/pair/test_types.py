"""Whatever a hub's column holds, it reaches replicas as it is, and edits beside it leave it alone.

Every column type of the schema, and values that SQLite keeps although they do not fit it.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reunite.core.stored import tagged
from tests.pair.conftest import Pair, Rows

pytestmark = pytest.mark.hubs("sqlite")

DECLARED = {
    "c_integer": "integer",
    "c_bigint": "bigint",
    "c_real": "double precision",
    "c_text": "text",
    "c_varchar": "varchar(5)",
    "c_blob": "blob",
    "c_binary": "binary(16)",
    "c_boolean": "boolean",
    "c_decimal": "decimal(30, 10)",
    "c_date": "date",
    "c_time": "time",
    "c_datetime": "datetime",
    "c_stamp": "timestamp with time zone",
    "c_uuid": "uuid",
    "c_json": "json",
    "c_json_text": "json_text",
    "c_enum": "enumeration",
    "c_string": "string",
    "c_nothing": "",
}
JSON_COLUMNS = ("c_json", "c_json_text")
COLUMNS = ", ".join(DECLARED)

LISTED = [
    0, 1, -1, 7, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63),
    0.0, -0.0, 0.5, 1.0, 0.1 + 0.2, 1e308, -1e308, 5e-324, 2.5e-310, 2.0**60, float("inf"),
    1.7976931348623157e308, 1234567890.123456789,
    "", " ", "a", "\0", "a\0b", "😀 ü ß", "NULL", "0", "1", "5", "1.50", "1e5", ".5", "-0",
    "9007199254740993", "true", "reunite:", "reunite:text:", "reunite:integer:7",
    "1234567890123456789012345678.9", "99999999999999999999999999999999999999",
    "2024-02-29", "2024-02-29T12:00:00.123456Z", "2024-02-29 12:00:00+02:00", "23:59:59",
    "0190163d-8694-739b-aea5-966c26f8ad91", "AP8=",
    "null", "[]", "{}", '{"b": 1, "a": [1.5, {"c": null}]}', '{"a":1,"a":2}', "{1}", "NaN",
    '"text"', '"reunite:blob:"', "123456789012345678901234567890", "[1.0, 1E2, -0]",
    "[0.12345678901234567890123]", '["\\ud800"]', "[" * 80 + "]" * 80,
    b"", b"\0", b"\xff\xfe", b"5",
]  # fmt: skip

STORED = st.one_of(
    st.none(),
    st.sampled_from(LISTED),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.binary(max_size=6),
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(list(DECLARED)), STORED, max_size=4), min_size=1, max_size=6
)


# An example is a whole sync: to shrink one would take minutes.
PHASES = [phase for phase in Phase if phase is not Phase.shrink]


@pytest.fixture
def typed(pair: Pair) -> Pair:
    """A hub with a table `t` that has a column of every kind, and its replica `till`."""
    columns = ", ".join(f"{name} {declared}" for name, declared in DECLARED.items())
    pair.hub_db.execute(f"create table t (id integer primary key, other integer, {columns})")
    pair.hub.track("t")
    pair.clone("till")
    return pair


def told(db: sqlite3.Connection) -> Rows:
    """Every row, each value with its kind; JSON as what it says, for it is written down anew."""
    kinds = ", ".join(f"typeof({name}), {name}" for name in DECLARED)
    rows = db.execute(f"select id, {kinds} from t order by id").fetchall()
    places = [2 + 2 * list(DECLARED).index(name) for name in JSON_COLUMNS]
    without_sign = [2 + 2 * list(DECLARED).index(name) for name in ("c_blob", "c_nothing")]
    return [
        tuple(
            meaning(value)
            if place in places and isinstance(value, str)
            else exact(value, has_sign=place not in without_sign)
            for place, value in enumerate(row)
        )
        for row in rows
    ]


def exact(value: Any, *, has_sign: bool) -> Any:
    """A float by its digits; where zero has no sign, without it."""
    if not isinstance(value, float):
        return value
    return value.hex() if has_sign else (value + 0.0).hex()


def meaning(text: str) -> Any:
    """What a JSON text says, to the last digit; other texts are what they are."""
    try:
        return repr(json.loads(text, object_pairs_hook=list))
    except (ValueError, RecursionError):
        return text


def told_by(pair: Pair, name: str) -> Rows:
    db = sqlite3.connect(pair.replicas[name].path)
    try:
        return told(db)
    finally:
        db.close()


def insert(db: sqlite3.Connection, rows: list[dict[str, Any]]) -> None:
    marks = ", ".join("?" * len(DECLARED))
    db.executemany(
        f"insert into t (other, {COLUMNS}) values (0, {marks})",
        [tuple(row.get(name) for name in DECLARED) for row in rows],
    )


def test_values_of_every_kind_stay_as_they_are_when_another_column_is_edited(
    typed: Pair,
) -> None:
    replica = typed.replicas["till"]

    @settings(max_examples=settings.default.max_examples // 2, phases=PHASES)
    @given(ROWS)
    def check(rows: list[dict[str, Any]]) -> None:
        typed.hub_db.execute("delete from t")
        insert(typed.hub_db, rows)
        before = told(typed.hub_db)
        replica.sync()
        assert told_by(typed, "till") == before
        typed.in_file(replica, "update t set other = other + 1")
        report = replica.sync()
        assert (report.rejected, report.conflicts, report.pending) == (0, 0, 0)
        assert typed.at_hub("select distinct other from t") == [(1,)]
        assert told(typed.hub_db) == before
        assert told_by(typed, "till") == before
        # A delete says all that the row was.
        typed.in_file(replica, "delete from t")
        report = replica.sync()
        assert (report.rejected, report.conflicts, report.pending) == (0, 0, 0)
        assert typed.at_hub("select count(*) from t") == [(0,)]

    check()


@pytest.mark.parametrize("column", DECLARED)
def test_every_listed_value_stays_as_it_is_in_every_column(typed: Pair, column: str) -> None:
    replica = typed.replicas["till"]
    typed.hub_db.executemany(
        f"insert into t (other, {column}) values (0, ?)", [(value,) for value in LISTED]
    )
    before = told(typed.hub_db)
    replica.sync()
    assert told_by(typed, "till") == before
    typed.in_file(replica, "update t set other = other + 1")
    report = replica.sync()
    assert (report.rejected, report.conflicts, report.pending) == (0, 0, 0)
    assert told(typed.hub_db) == before
    assert told_by(typed, "till") == before
    typed.in_file(replica, "delete from t")
    replica.sync()
    assert replica.conflicts() == []
    assert typed.at_hub("select count(*) from t") == [(0,)]


@pytest.mark.parametrize("column", DECLARED)
def test_a_replicas_value_is_at_the_hub_as_it_is_or_parked(typed: Pair, column: str) -> None:
    """A column takes what fits its type; one without a type takes everything finite."""
    replica = typed.replicas["till"]
    for value in LISTED:
        with replica.transaction() as db:
            db.execute(f"insert into t (other, {column}) values (0, ?)", (value,))
    report = replica.sync()
    assert report.pending == 0
    assert told_by(typed, "till") == told(typed.hub_db)
    assert len(told(typed.hub_db)) + len(replica.parked()) == len(LISTED)
    assert {parked.code for parked in replica.parked()} <= {"bad-value"}
    if DECLARED[column] in ("", "string", "enumeration"):
        assert [parked.set[column] for parked in replica.parked()] == [tagged(float("inf"))]


def test_a_value_of_the_wrong_type_is_parked_with_its_column_and_the_rest_goes_on(
    typed: Pair,
) -> None:
    replica = typed.replicas["till"]
    typed.in_file(
        replica,
        "insert into t (c_integer) values ('many')",
        "insert into t (c_text) values ('fine')",
        "insert into t (c_real) values (9e999)",
    )
    assert replica.sync().rejected == 2
    assert typed.at_hub("select c_text from t") == [("fine",)]
    reasons = [parked.reason for parked in replica.parked()]
    assert "Column 'c_integer': expected an integer, not text." in reasons[0]
    assert "Column 'c_real': the number is not finite." in reasons[1]
    replica.retry(replica.parked()[0].id, {"c_integer": 7})
    assert replica.sync().rejected == 0
    assert typed.at_hub("select c_integer from t where c_text is null") == [(7,)]


@pytest.mark.parametrize("column", DECLARED)
def test_text_that_is_no_text_gets_nobody_stuck(typed: Pair, column: str) -> None:
    """SQLite keeps any bytes as text. Replicas get them as a blob; the hub's value stays (I9)."""
    replica = typed.replicas["till"]
    sql = f"insert into t (other, {column}) values (0, cast(x'ff41' as text)), (0, 'fine')"
    typed.hub_db.execute(sql)
    replica.sync()
    kinds = f"select typeof({column}), hex({column}) from t order by id"
    assert typed.in_file(replica, kinds) == [("blob", "FF41"), ("text", "66696E65")]
    typed.clone("second")
    typed.in_file(replica, "update t set other = 1")
    report = replica.sync()
    assert (report.rejected, report.conflicts, report.pending) == (0, 0, 0)
    assert typed.at_hub(kinds) == [("text", "FF41"), ("text", "66696E65")]
    typed.hub_db.execute("delete from t where id = 1")
    replica.sync()
    assert typed.in_file(replica, f"select {column} from t") == [("fine",)]
    assert len(typed.hub.history("t", (1,))) == 3
    assert len(typed.hub.log()) > 3


KEYS = ["a", "", "a\0b", "reunite:", "5", 5, 2**60, 2.5, -0.0, 1e300, b"a", b"\xff"]


@pytest.mark.parametrize(
    "declared",
    ["int", "text", "varchar", "blob", "real", "boolean", "date", "decimal", "uuid", "string"],
)
@pytest.mark.parametrize("second", ["", ", part integer default 1"])
def test_rows_whose_keys_do_not_fit_can_be_edited_and_deleted(
    pair: Pair, declared: str, second: str
) -> None:
    key = "id, part" if second else "id"
    pair.hub_db.execute(
        f"create table odd (id {declared} not null{second}, v integer, primary key ({key}))"
    )
    pair.hub_db.executemany(
        "insert or ignore into odd (id, v) values (?, 1)", [(key,) for key in KEYS]
    )
    pair.hub.track("odd")
    replica = pair.clone("till")
    told_keys = "select typeof(id), id, v from odd order by typeof(id), id"
    before = pair.at_hub(told_keys)
    assert pair.in_file(replica, told_keys) == before
    pair.in_file(replica, "update odd set v = 2")
    assert replica.sync().conflicts == 0
    assert replica.parked() == []
    edited = pair.at_hub(told_keys)
    assert edited == [(kind, value, 2) for kind, value, _ in before]
    pair.at_hub("update odd set v = 3")
    replica.sync()
    assert pair.in_file(replica, told_keys) == [(kind, value, 3) for kind, value, _ in before]
    pair.in_file(replica, "delete from odd where rowid % 2 = 0")
    replica.sync()
    assert 0 < len(pair.at_hub(told_keys)) < len(before)
    assert pair.at_hub(told_keys) == pair.in_file(replica, told_keys)
    pair.at_hub("delete from odd")
    replica.sync()
    assert pair.at_hub(told_keys) == pair.in_file(replica, told_keys) == []
    assert replica.conflicts() == []
    assert replica.status().pending == 0
