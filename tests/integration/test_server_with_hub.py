"""A real hub behind the real server: what a client can get wrong, and that nothing of it stays."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from reunite.engine.ports import Store
from reunite.errors import HubUnreachableError, NotAuthenticatedError
from reunite.hub import Hub
from reunite.protocol.codec import decode, encode
from reunite.protocol.limits import PUSH_CHANGES_MAX
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import PushAnswer
from reunite.protocol.query import QueryAnswer, QueryRequest
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.replica.http import HttpTransport
from reunite.server import ServerThread
from reunite.stores.sql import open_store
from tests.integration.http_helpers import JSON, client_of

SCHEMA = """
create table product (id integer primary key, name text not null, price real);
create table sale (till text, number integer, product_id integer references product (id),
                   primary key (till, number)) without rowid;
create table note_without_tracking (id integer primary key, body text);
insert into product values (1, 'Tea', 4.5), (2, 'Milk', 1.25);
"""
STAMP = "0190163d8694-0000-r"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return new_database(tmp_path / "shop.db")


@pytest.fixture
def hub(path: Path) -> Iterator[Hub]:
    with hub_over(path) as hub:
        yield hub


@pytest.fixture
def server(hub: Hub) -> Iterator[ServerThread]:
    with ServerThread(hub) as server:
        yield server


@pytest.fixture
def client(hub: Hub, server: ServerThread) -> Iterator[httpx2.Client]:
    with client_of(server.url, hub.create_token("ann")) as client:
        yield client


def new_database(path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA)
    connection.close()
    return path


def hub_over(database: Path | Store) -> Hub:
    hub = Hub(database)
    hub.track("product")
    hub.track("sale")
    return hub


def rows_in(path: Path, table: str = "sale") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute(f"select * from {table}"))
    finally:
        connection.close()


def registered(client: httpx2.Client) -> RegisterAnswer:
    body = encode(RegisterRequest(protocol=1, name="till"))
    return decode(client.post("v1/register", content=body, headers=JSON).content, RegisterAnswer)


def change_id(number: int) -> str:
    return f"{number:032x}"


def sale_run(*rows: list[Any], first_id: int = 1) -> dict[str, Any]:
    return {
        "table": "sale",
        "op": "insert",
        "columns": ["till", "number", "product_id"],
        "mark": 0,
        "covered": 0,
        "stamps": [STAMP],
        "ids": [change_id(first_id + index) for index in range(len(rows))],
        "set": list(rows),
    }


def push_message(answer: RegisterAnswer, *runs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Each run a group of its own."""
    return {
        "protocol": 1,
        "epoch": answer.epoch,
        "replica": answer.replica,
        "known": 0,
        "first_n": 1,
        "schemas": {"product": 1, "sale": 1},
        "groups": [{"runs": [run]} for run in runs],
    } | fields


def pull_message(answer: RegisterAnswer, **fields: Any) -> dict[str, Any]:
    return {"protocol": 1, "replica": answer.replica, "known": 0} | fields


def send(client: httpx2.Client, operation: str, message: dict[str, Any]) -> httpx2.Response:
    return client.post(f"v1/{operation}", content=msgspec.json.encode(message), headers=JSON)


def refusal(response: httpx2.Response) -> tuple[int, str, str | None]:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, problem["code"], problem.get("path")


def test_a_push_and_a_pull_go_through(path: Path, client: httpx2.Client) -> None:
    replica = registered(client)
    response = send(client, "push", push_message(replica, sale_run(["north", 1, 2])))
    answer = decode(response.content, PushAnswer)
    assert (answer.first_n, answer.last_n, answer.outcomes) == (1, 1, ())
    assert rows_in(path) == [("north", 1, 2)]
    pages = [decode(send(client, "pull", pull_message(replica)).content, Page)]
    while not pages[-1].checkpoint:
        message = pull_message(replica, cursor=pages[-1].cursor)
        pages.append(decode(send(client, "pull", message).content, Page))
    puts = {part.table: part.puts for part in pages[0].tables}
    assert puts == {"product": [(1, "Tea", 4.5), (2, "Milk", 1.25)], "sale": [("north", 1, 2)]}
    assert pages[0].reset
    assert pages[-1].answered == 1


GOOD = sale_run(["north", 1, 1])
BAD_RUNS: dict[str, tuple[dict[str, Any], tuple[int, str, str | None]]] = {
    "an unknown table": (
        sale_run(["north", 2, 1], first_id=9) | {"table": "nothing"},
        (404, "unknown-table", "groups[1].runs[0].table"),
    ),
    "a table that is not tracked": (
        sale_run(["north", 2, 1], first_id=9) | {"table": "note_without_tracking"},
        (404, "unknown-table", "groups[1].runs[0].table"),
    ),
    "the hub's own table": (
        sale_run(["north", 2, 1], first_id=9) | {"table": "reunite_change"},
        (404, "unknown-table", "groups[1].runs[0].table"),
    ),
    "an unknown column": (
        sale_run(["north", 2, 1], first_id=9) | {"columns": ["till", "number", "price"]},
        (400, "bad-request", "groups[1].runs[0].columns"),
    ),
    "a column twice": (
        sale_run(["north", 2, 1], first_id=9) | {"columns": ["till", "number", "till"]},
        (400, "bad-request", "groups[1].runs[0].columns"),
    ),
    "too few values": (
        sale_run(["north", 2], first_id=9),
        (400, "bad-request", "groups[1].runs[0].set[0]"),
    ),
    "NULL in a key": (
        sale_run(["north", None, 1], first_id=9),
        (400, "bad-request", "groups[1].runs[0].set[0][1]"),
    ),
    "an id that is none": (
        sale_run(["north", 2, 1]) | {"ids": ["' or 1=1"]},
        (400, "bad-request", "groups[1].runs[0].ids[0]"),
    ),
    "an id twice": (sale_run(["north", 2, 1], first_id=1), (400, "bad-request", "groups")),
    "a stamp that is none": (
        sale_run(["north", 2, 1], first_id=9) | {"stamps": ["now"]},
        (400, "bad-request", "groups[1].runs[0].stamps[0]"),
    ),
    "an operation that is none": (
        sale_run(["north", 2, 1], first_id=9) | {"op": "drop"},
        (400, "bad-request", "groups[1].runs[0].op"),
    ),
}


@pytest.mark.parametrize(("run", "expected"), BAD_RUNS.values(), ids=BAD_RUNS.keys())
def test_a_malformed_change_is_a_problem_and_nothing_of_its_push_stays(
    path: Path,
    client: httpx2.Client,
    run: dict[str, Any],
    expected: tuple[int, str, str | None],
) -> None:
    replica = registered(client)
    assert refusal(send(client, "push", push_message(replica, GOOD, run))) == expected
    assert rows_in(path) == []
    good = send(client, "push", push_message(replica, GOOD))
    assert good.status_code == 200, good.text
    assert rows_in(path) == [("north", 1, 1)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"first_n": 2}, (409, "number-gap", "first_n")),
        ({"first_n": 0}, (400, "bad-request", "first_n")),
        ({"first_n": 2**70}, (400, "bad-request", "first_n")),
        ({"known": 1}, (409, "hub-restored", None)),
        ({"replica": "nobody"}, (409, "replica-unknown", None)),
        ({"epoch": "another"}, (409, "epoch-changed", None)),
        ({"schemas": {}}, (409, "schema-changed", "schemas.sale")),
        ({"schemas": {"sale": 7}}, (409, "schema-changed", "schemas.sale")),
        ({"protocol": 99}, (426, "upgrade-required", "protocol")),
        ({"groups": [{"runs": []}]}, (400, "bad-request", "groups[0]")),
        ({"lease": {"nothing": 1}}, (404, "unknown-table", "lease")),
    ],
    ids=str,
)
def test_a_push_that_cannot_be_is_a_problem_and_nothing_of_it_stays(
    path: Path,
    client: httpx2.Client,
    fields: dict[str, Any],
    expected: tuple[int, str, str | None],
) -> None:
    replica = registered(client)
    assert refusal(send(client, "push", push_message(replica, GOOD, **fields))) == expected
    assert rows_in(path) == []
    assert send(client, "push", push_message(replica, GOOD)).status_code == 200


def test_too_many_changes_are_a_problem(path: Path, client: httpx2.Client) -> None:
    replica = registered(client)
    rows = [["north", number, 1] for number in range(PUSH_CHANGES_MAX + 1)]
    response = send(client, "push", push_message(replica, sale_run(*rows)))
    assert refusal(response) == (413, "limit-exceeded", None)
    assert response.json()["limit"] == "PUSH_CHANGES_MAX"
    assert rows_in(path) == []


def test_another_principals_replica_is_nobodys(
    path: Path, hub: Hub, server: ServerThread, client: httpx2.Client
) -> None:
    replica = registered(client)
    with client_of(server.url, hub.create_token("ben")) as other:
        expected = (409, "replica-unknown", None)
        assert refusal(send(other, "push", push_message(replica, GOOD))) == expected
        assert refusal(send(other, "pull", pull_message(replica))) == expected
    assert rows_in(path) == []


def test_the_same_push_twice_takes_effect_once(path: Path, client: httpx2.Client) -> None:
    replica = registered(client)
    message = push_message(replica, GOOD)
    answers = [decode(send(client, "push", message).content, PushAnswer) for _ in range(2)]
    assert [(answer.first_n, answer.last_n) for answer in answers] == [(1, 1), (1, 1)]
    assert rows_in(path) == [("north", 1, 1)]
    other = push_message(replica, sale_run(["north", 5, 1], first_id=77))
    assert refusal(send(client, "push", other)) == (409, "identity-forked", None)


def test_a_value_that_does_not_fit_rejects_its_change_and_not_the_push(
    path: Path, client: httpx2.Client
) -> None:
    replica = registered(client)
    bad = sale_run(["north", "three", 1], first_id=9)
    answer = decode(send(client, "push", push_message(replica, bad, GOOD)).content, PushAnswer)
    assert answer.last_n == 2
    assert [(outcome.n, outcome.kind, outcome.code) for outcome in answer.outcomes] == [
        (1, "rejected", "bad-value")
    ]
    assert rows_in(path) == [("north", 1, 1)]


def test_a_refused_change_is_an_outcome_and_no_problem(path: Path, client: httpx2.Client) -> None:
    replica = registered(client)
    message = push_message(replica, sale_run(["north", 1, 99]), sale_run(["s", 2, 1], first_id=5))
    answer = decode(send(client, "push", message).content, PushAnswer)
    assert answer.last_n == 2
    assert [(outcome.n, outcome.kind, outcome.code) for outcome in answer.outcomes] == [
        (1, "rejected", "foreign-key")
    ]
    assert rows_in(path) == [("s", 2, 1)]


def test_asking_for_a_table_that_is_not_there_makes_no_replica(
    hub: Hub, client: httpx2.Client
) -> None:
    for table in ("nothing", "note_without_tracking"):
        message = {"protocol": 1, "tables": [table]}
        assert refusal(send(client, "register", message)) == (404, "unknown-table", "tables")
    assert hub.status().replicas == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cursor": "not one"}, (400, "bad-request", "cursor")),
        ({"cursor": ""}, (400, "bad-request", "cursor")),
        ({"replica": "nobody"}, (409, "replica-unknown", None)),
        ({"protocol": 0}, (426, "upgrade-required", "protocol")),
    ],
    ids=str,
)
def test_a_pull_that_cannot_be_is_a_problem(
    client: httpx2.Client, fields: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    replica = registered(client)
    assert refusal(send(client, "pull", pull_message(replica, **fields))) == expected


def test_tables_that_the_hub_does_not_track_are_left_out(client: httpx2.Client) -> None:
    replica = registered(client)
    message = pull_message(replica, tables=["nothing", "note_without_tracking", "sale"])
    page = decode(send(client, "pull", message).content, Page)
    assert set(page.schemas) == {"sale"}


def test_a_cursor_of_another_hub_is_answered_with_a_snapshot(
    tmp_path: Path, client: httpx2.Client
) -> None:
    """Never with silence, and never with rows that only make sense over there."""
    elsewhere = new_database(tmp_path / "elsewhere.db")
    with hub_over(elsewhere) as other_hub:
        principal = other_hub.authenticate(other_hub.create_token())
        message = encode(RegisterRequest(protocol=1))
        there = decode(other_hub.answer("register", message, principal), RegisterAnswer)
        cursor = None
        while True:
            request = PullRequest(protocol=1, replica=there.replica, known=0, cursor=cursor)
            page = decode(other_hub.answer("pull", encode(request), principal), Page)
            cursor = page.cursor
            if page.checkpoint:
                break
    replica = registered(client)
    page = decode(send(client, "pull", pull_message(replica, cursor=cursor)).content, Page)
    assert page.reset
    assert {part.table for part in page.tables} == {"product"}


def test_a_query_reads_page_by_page_and_refuses_what_is_not_there(client: httpx2.Client) -> None:
    first = decode(client.get("v1/query/product?limit=1").content, QueryAnswer)
    assert (first.columns, first.rows, first.next) == (
        ("id", "name", "price"),
        [(1, "Tea", 4.5)],
        (1,),
    )
    second = decode(client.get("v1/query/product?after=[1]").content, QueryAnswer)
    assert (second.rows, second.next) == ([(2, "Milk", 1.25)], None)
    found = decode(client.get('v1/query/product?where={"name":"Milk"}').content, QueryAnswer)
    assert found.rows == [(2, "Milk", 1.25)]
    for query, expected in {
        "nothing": (404, "unknown-table", "table"),
        "sqlite_master": (404, "unknown-table", "table"),
        "reunite_change": (404, "unknown-table", "table"),
        'product?where={"secret":1}': (400, "bad-request", "where.secret"),
        'product?where={"id":"one"}': (400, "bad-request", "where[0][0]"),
        "product?after=[1,2]": (400, "bad-request", "after[0]"),
    }.items():
        assert refusal(client.get(f"v1/query/{query}")) == expected


def test_a_locked_database_is_a_problem_that_passes(path: Path) -> None:
    with hub_over(open_store(path, timeout_s=0.05)) as hub:
        token = hub.create_token()
        with ServerThread(hub) as server, client_of(server.url, token) as client:
            replica = registered(client)
            writer = sqlite3.connect(path)
            writer.execute("begin immediate")
            response = send(client, "push", push_message(replica, GOOD))
            assert refusal(response) == (503, "storage-unavailable", None)
            assert int(response.headers["retry-after"]) >= 1
            assert client.get("readyz").status_code == 200, "readers do not wait for writers"
            writer.close()
            assert send(client, "push", push_message(replica, GOOD)).status_code == 200
    assert rows_in(path) == [("north", 1, 1)]


def test_a_hub_that_is_none_any_more_is_not_the_callers_fault(path: Path) -> None:
    """`reunite uninstall` under a running hub: strangers were told 400 and to track a table."""
    with hub_over(open_store(path)) as hub:
        token = hub.create_token()
        with ServerThread(hub) as server, client_of(server.url, token) as client:
            with hub_over(open_store(path)) as other:
                other.uninstall()
            for route in ("readyz", "v1/schema", "v1/query/product"):
                response = client.get(route)
                assert refusal(response) == (503, "storage-unavailable", None)
                assert "track" not in response.text
                assert int(response.headers["retry-after"]) >= 1


def test_a_revoked_token_opens_nothing(hub: Hub, server: ServerThread) -> None:
    token = hub.create_token(label="lost phone")
    with HttpTransport(server.url, token=token) as transport:
        transport.call("schema", b"")
        assert hub.revoke_token("lost phone") == 1
        with pytest.raises(NotAuthenticatedError):
            transport.call("schema", b"")


def test_clients_push_side_by_side(path: Path, hub: Hub, server: ServerThread) -> None:
    """One writer at a time in the database; the others wait, and nothing is lost or doubled."""
    failures: list[BaseException] = []

    def sell(till: str, first_id: int) -> None:
        try:
            with client_of(server.url, hub.create_token(till)) as client:
                replica = registered(client)
                for number in range(1, 11):
                    run = sale_run([till, number, 1], first_id=first_id + number)
                    message = push_message(replica, run, first_n=number)
                    answer = decode(send(client, "push", message).content, PushAnswer)
                    assert answer.last_n == number
        except BaseException as exc:
            failures.append(exc)

    tills = ["north", "south", "east", "west"]
    threads = [
        threading.Thread(target=sell, args=(till, 100 * index)) for index, till in enumerate(tills)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert rows_in(path) == sorted((till, n, 1) for till in tills for n in range(1, 11))


def test_the_transport_speaks_with_a_real_hub(hub: Hub, server: ServerThread) -> None:
    with HttpTransport(server.url, token=hub.create_token()) as transport:
        body = transport.call("register", encode(RegisterRequest(protocol=1)))
        assert decode(body, RegisterAnswer).epoch == hub.status().epoch
        query = QueryRequest(table="product", where={"id": 2})
        assert decode(transport.call("query", encode(query)), QueryAnswer).rows == [
            (2, "Milk", 1.25)
        ]
        server.close()
        with pytest.raises(HubUnreachableError):
            transport.call("schema", b"")
