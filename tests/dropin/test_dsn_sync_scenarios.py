"""The acceptance scenarios of dsn-sync, DS-S1 to DS-S14, over the network and the sealed door.

From the page's side they are told again in `js/tests/dsn`, and there alone S6: what is heard live.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from reunite.dropin.dsn_sync import DSNSync
from reunite.errors import SealError
from tests.dropin.dsn_sync_world import ALICE, USERS, Door, Page, page_of, running
from tests.patience import DEADLINE_S

PEOPLE = {
    "user_001": {"name": "John", "email": "john@example.com"},
    "user_002": {"name": "Jane", "email": "jane@example.com"},
    "user_003": {"name": "Bob", "email": "bob@example.com"},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DSNSync]:
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgresql")
    with running(tmp_path, database) as sync:
        sync.define_table("users", USERS)
        yield sync


@pytest.fixture
def page(backend: DSNSync, tmp_path: Path) -> Iterator[Page]:
    for key, person in PEOPLE.items():
        assert backend.sync("users", key, person) is True
    with page_of(backend, tmp_path) as page:
        yield page


def test_s1_what_the_backend_syncs_is_read_and_nothing_else(page: Page) -> None:
    assert page.get_all("users") == PEOPLE


def test_s2_a_create_reaches_the_handler_the_database_and_other_pages(
    backend: DSNSync, page: Page, tmp_path: Path
) -> None:
    told = []
    backend.on_create("users")(told.append)
    assert page.create("users", "user_004", ALICE)
    assert told == [{"user_id": "user_004", **ALICE}]
    with page_of(backend, tmp_path, "other") as other:
        assert other.get_all("users")["user_004"] == ALICE


def test_s3_an_update_tells_the_changed_fields_and_keeps_the_others(
    backend: DSNSync, page: Page
) -> None:
    told = []
    backend.on_update("users")(told.append)
    change = {"name": "John Updated", "status": "inactive"}
    assert page.update("users", "user_001", change)
    assert told == [{"user_id": "user_001", **change}]
    assert page.get_all("users")["user_001"] == {**PEOPLE["user_001"], **change}


def test_s4_a_delete_tells_the_key_and_the_record_is_gone_for_all(
    backend: DSNSync, page: Page, tmp_path: Path
) -> None:
    told = []
    backend.on_delete("users")(told.append)
    with page_of(backend, tmp_path, "other") as other:
        assert page.delete("users", "user_001")
        assert told == [{"user_id": "user_001"}]
        assert "user_001" not in other.get_all("users")


def test_s5_a_handler_that_says_no_or_raises_leaves_nothing(
    backend: DSNSync, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    @backend.on_create("users")
    def refuse(data: dict[str, object]) -> bool:
        return False

    assert not page.create("users", "user_004", ALICE)

    @backend.on_create("users")
    def fail(data: dict[str, object]) -> None:
        backend.sync("users", "user_001", {"name": "Changed"})
        raise RuntimeError("the mail server is down")

    with caplog.at_level(logging.ERROR, logger="reunite.dsn_sync"):
        assert not page.create("users", "user_005", ALICE)
    assert page.get_all("users") == PEOPLE
    assert page.refusals == ["vetoed", "vetoed"]
    (record,) = caplog.records
    assert "users" in record.getMessage()
    assert "user_005" in record.getMessage()
    assert "the mail server is down" in caplog.text
    assert "mail server" not in page.replica.parked()[-1].reason


def test_s8_data_key_and_tokens_outlive_the_process(tmp_path: Path, postgresql: str) -> None:
    for database in (None, postgresql):
        folder = tmp_path / ("b" if database else "a")
        folder.mkdir()
        with running(folder, database) as first:
            first.define_table("users", USERS)
            first.sync("users", "user_001", PEOPLE["user_001"])
            token, port = first.get_token(), first.port
            page = Page(folder / "page.db", first.get_url(), token)
        with closing(page), running(folder, database) as second:
            second.stop()
            second.port = port
            assert second.start(), second.last_error
            assert second.get_token() == token
            # Nothing was declared again, and the page knows no other token.
            assert page.get_all("users") == {"user_001": PEOPLE["user_001"]}
            assert page.create("users", "user_002", PEOPLE["user_002"])


def test_s9_whoever_has_no_good_token_gets_in_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with running(tmp_path, token_life_s=0.5) as sync:
        sync.define_table("users", USERS)
        url, token = sync.get_url(), sync.get_token()
        key_id, _, secret = token.partition(".")
        other = "A" if secret[0] != "A" else "B"
        codes = []
        for bad in (f"{key_id}.{other}{secret[1:]}", f"AAAAAAAAAAA.{secret}"):
            with closing(Door(url, bad)) as door, pytest.raises(SealError) as refused:
                door.ask("GET", "/v1/schema")
            codes.append(refused.value.code)
        assert codes == ["seal-broken", "key-unknown"]
        with closing(Door(url, token)) as door:
            assert when_refused(door, token) == "key-expired"
            assert all(secret not in path for path in door.network.paths)
    assert secret not in caplog.text


def when_refused(door: Door, token: str) -> str:
    """Say hello with a token again and again, until it is refused."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        door.say_hello_with(token)
        try:
            door.ask("GET", "/v1/schema")
        except SealError as error:
            return error.code
    return "never"


def test_s10_a_message_notifies_and_a_refused_one_leaves_neither(
    backend: DSNSync, page: Page
) -> None:
    backend.define_table(
        "messages",
        {"key": "message_id", "fields": ["from_user", "to_user", "message", "timestamp", "read"]},
    )
    fields = ["user_id", "message", "type", "read", "timestamp"]
    backend.define_table("notifications", {"key": "notification_id", "fields": fields})

    @backend.on_create("messages")
    def notify(data: dict[str, str]) -> bool:
        backend.sync(
            "notifications",
            f"notif_{data['message_id']}",
            {"user_id": data["to_user"], "message": data["message"], "read": False},
        )
        return data["message"] != "Spam!"

    page.replica.sync()
    assert page.create("messages", "m1", {"to_user": "user_456", "message": "Hello!"})
    assert not page.create("messages", "m2", {"to_user": "user_456", "message": "Spam!"})
    assert list(page.get_all("messages")) == ["m1"]
    assert page.get_all("notifications") == {
        "notif_m1": {"user_id": "user_456", "message": "Hello!", "read": False}
    }
    # S11: without a handler, a write is taken as it is.
    assert page.update("notifications", "notif_m1", {"read": True})
    assert page.get_all("notifications")["notif_m1"]["read"] is True


def test_s12_a_stock_that_is_synced_keeps_name_and_price(backend: DSNSync, page: Page) -> None:
    backend.define_table("products", {"key": "product_id", "fields": ["name", "price", "stock"]})
    backend.sync("products", "prod_001", {"name": "Laptop", "price": 999.99, "stock": 50})
    backend.sync("products", "prod_001", {"stock": 5})
    product = {"name": "Laptop", "price": 999.99, "stock": 5}
    assert page.get_all("products") == {"prod_001": product}
    backend.sync("products", "prod_001", {"name": "Laptop"}, replace=True)
    assert page.get_all("products") == {"prod_001": {"name": "Laptop"}}


def test_s13_what_was_written_offline_arrives_in_its_order(backend: DSNSync, page: Page) -> None:
    told = []
    backend.on_create("users")(lambda data: told.append(data["user_id"]))
    with page.replica.transaction() as db:
        db.execute("insert into users (dsn_sync_key, dsn_sync_made) values ('z', '1')")
    with page.replica.transaction() as db:
        db.execute("insert into users (dsn_sync_key, dsn_sync_made) values ('a', '2')")
    with page.replica.transaction() as db:
        db.execute("insert into users (dsn_sync_key, dsn_sync_made) values ('m', '3')")
    page.replica.sync()
    assert told == ["z", "a", "m"]


def test_s14_a_create_whose_answer_was_lost_counts_once(backend: DSNSync, page: Page) -> None:
    told = []
    backend.on_create("users")(lambda data: told.append(data["user_id"]))
    page.door.answers_to_lose = 1
    assert page.create("users", "user_004", ALICE)
    assert told == ["user_004"]
    assert page.get_all("users")["user_004"] == ALICE


@pytest.mark.slow
def test_s7_a_thousand_requests_of_twenty_threads_pass_ten_doors(tmp_path: Path) -> None:
    with running(tmp_path) as sync:
        sync.define_table("users", USERS)
        url, token = sync.get_url(), sync.get_token()

        def ask_fifty_times(_: int) -> int:
            with closing(Door(url, token)) as door:
                return sum(door.ask("GET", "/v1/schema").status == 200 for _ in range(50))

        with ThreadPoolExecutor(20) as threads:
            assert sum(threads.map(ask_fifty_times, range(20))) == 1_000
        assert sync.get_url().endswith("/sync/011")
        assert sync.get_token() == token


def test_the_database_of_the_backend_has_the_records_under_their_key(tmp_path: Path) -> None:
    with running(tmp_path) as sync:
        sync.define_table("users", USERS)
        sync.sync("users", "user_004", ALICE)
    with closing(sqlite3.connect(tmp_path / "dsn" / "data.db")) as db:
        (kind,) = db.execute(
            "select type from pragma_table_info('users') where name = 'dsn_sync_key'"
        ).fetchone()
        assert kind == "varchar(255)"
        assert db.execute("select dsn_sync_key, name, cart from users").fetchall() == [
            ("user_004", '"Alice"', "[]")
        ]
