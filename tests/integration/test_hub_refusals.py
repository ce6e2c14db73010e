"""What a hub refuses, and that it says so: arguments of the API, and single fields of messages."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reunite.core.schema import ColumnMerge, ColumnType
from reunite.errors import BadRequestError
from reunite.hub import Hub
from reunite.protocol.limits import NAME_LENGTH_MAX
from reunite.server import ServerThread
from tests.integration.http_helpers import JSON, client_of

TABLES = """
    create table item (
        id integer primary key, a_integer integer, a_real real, a_text text, a_blob blob,
        a_boolean boolean, a_decimal decimal, a_date date, a_time time, a_datetime datetime,
        a_uuid uuid, a_json json, a_any
    );
    create table seat (hall text, number integer, guest text, primary key (hall, number));
    insert into item (id) values (1), (2);
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(TABLES)
    with Hub(path) as hub:
        hub.track_all()
        with closing(sqlite3.connect(path)) as db:
            db.executescript(
                "insert into seat values ('red', 7, 'Ann'); update item set a_text = 'new'"
            )
        yield hub


# --- The API --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("item", ()),
        ("item", (1, 2)),
        ("seat", ("red",)),
        ("seat", ("red", 7, "Ann")),
        ("item", ([1],)),
        ("item", (2**70,)),
        ("item", "1"),
        ("item", 1),
        ("item", None),
    ],
    ids=repr,
)
def test_history_refuses_what_is_no_key(hub: Hub, table: str, key: Any) -> None:
    with pytest.raises(BadRequestError, match=r"\.$"):
        hub.history(table, key)


def test_what_is_of_another_type_is_refused_in_words(hub: Hub, tmp_path: Path) -> None:
    for ask, words in (
        (lambda: Hub(tmp_path / "hub.db", keep="30d"), "'30d' is no age: give a timedelta"),  # type: ignore[arg-type]
        (lambda: hub.on_insert("seat")(3), "A hook is a function; 3 is none"),  # type: ignore[arg-type]
        (lambda: hub.track("seat", merge={"guest": "custom"}), "or give a merge function"),
        (lambda: hub.track("seat", merge={"guest": "nope"}), "last_writer, hub_wins"),
        (lambda: hub.track("seat", rules="x"), "'x' are no Rules"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BadRequestError, match=words):
            ask()


def test_history_names_the_columns_of_a_key(hub: Hub) -> None:
    with pytest.raises(BadRequestError, match="hall, number; this one has 1 for 2"):
        hub.history("seat", ["red"])
    assert len(hub.history("seat", ["red", 7])) == 1
    assert hub.history("seat", ["red", 8]) == []


@pytest.mark.parametrize(
    "arguments", [{"after_id": -1}, {"after_id": 2**64}, {"limit": 0}], ids=str
)
def test_the_log_is_asked_for_ids_and_parts_that_can_be(
    hub: Hub, arguments: dict[str, int]
) -> None:
    with pytest.raises(BadRequestError):
        hub.log(**arguments)
    assert hub.log(after_id=2**63 - 1) == []


@pytest.mark.parametrize("age", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_trim_refuses_what_is_no_age(hub: Hub, age: float) -> None:
    with pytest.raises(BadRequestError, match="no age"):
        hub.trim(older_than_s=age)
    assert len(hub.log()) == 3, "nothing was trimmed"


@pytest.mark.parametrize("table", [7, b"item", ["item"]])
def test_a_table_is_tracked_by_its_name(hub: Hub, table: Any) -> None:
    with pytest.raises(BadRequestError, match="name"):
        hub.track(table)


NUMBERS = {ColumnType.INTEGER, ColumnType.REAL, ColumnType.DECIMAL}
TYPES_BY_POLICY = {
    ColumnMerge.COUNTER: NUMBERS,
    ColumnMerge.UNION: {ColumnType.JSON},
    ColumnMerge.MAXIMUM: set(ColumnType) - {ColumnType.JSON, ColumnType.BLOB},
    ColumnMerge.MINIMUM: set(ColumnType) - {ColumnType.JSON, ColumnType.BLOB},
    ColumnMerge.ASK: set(ColumnType),
}


@pytest.mark.parametrize("kind", ColumnType)
@pytest.mark.parametrize("policy", TYPES_BY_POLICY)
def test_a_policy_merges_the_types_it_has_a_meaning_for(
    hub: Hub, policy: ColumnMerge, kind: ColumnType
) -> None:
    column = f"a_{kind.value}"
    if kind in TYPES_BY_POLICY[policy]:
        assert hub.track("item", merge={column: policy.value}).column[column].merge is policy
    else:
        with pytest.raises(BadRequestError, match=f"'{policy.value}' merges .* is {kind.value}"):
            hub.track("item", merge={column: policy.value})
        (kept,) = [schema for schema in hub.adopt() if schema.name == "item"]
        assert kept.column[column].merge is ColumnMerge.LAST_WRITER


# --- Messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, -(2**70)])
def test_a_query_asks_for_a_row_or_more(hub: Hub, limit: int) -> None:
    with ServerThread(hub) as server, client_of(server.url, hub.create_token()) as client:
        problem = client.get(f"v1/query/item?limit={limit}").json()
        assert (problem["status"], problem["code"], problem["path"]) == (
            400,
            "bad-request",
            "limit",
        )
        assert len(client.get("v1/query/item?limit=1").json()["rows"]) == 1
        assert len(client.get(f"v1/query/item?limit={2**70}").json()["rows"]) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * (NAME_LENGTH_MAX + 1), (413, "limit-exceeded", "name", "NAME_LENGTH_MAX")),
        ("x" * 1_000_000, (413, "limit-exceeded", "name", "NAME_LENGTH_MAX")),
        ("a\0b", (400, "bad-request", "name", None)),
        ("a\nb", (400, "bad-request", "name", None)),
        ("\x1b[2J", (400, "bad-request", "name", None)),
        ("a\x9bb", (400, "bad-request", "name", None)),
    ],
    ids=["one too long", "long", "NUL", "line", "escape", "C1"],
)
def test_a_replicas_name_is_short_and_can_be_shown(
    hub: Hub, name: str, expected: tuple[int, str, str, str | None]
) -> None:
    with ServerThread(hub) as server, client_of(server.url, hub.create_token()) as client:

        def register(name: str) -> dict[str, Any]:
            body = msgspec.json.encode({"protocol": 1, "name": name})
            answer: dict[str, Any] = client.post("v1/register", content=body, headers=JSON).json()
            return answer

        problem = register(name)
        assert (
            problem["status"],
            problem["code"],
            problem["path"],
            problem.get("limit"),
        ) == expected
        assert hub.status().replicas == ()
        longest = "é" * NAME_LENGTH_MAX
        assert "replica" in register(longest)
        assert [record.name for record in hub.status().replicas] == [longest]
