"""What was wrong in dsn-sync and is right here: DS-1 to DS-17, but for what the scenarios show."""

import json
import logging
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import reunite.dropin.dsn_sync
from reunite.dropin.dsn_sync import DSNSync
from reunite.errors import BadRequestError, SealError
from tests.docs.files import ROOT
from tests.dropin.dsn_sync_world import ALICE, USERS, Door, Page, page_of, running
from tests.patience import DEADLINE_S


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[DSNSync]:
    with running(tmp_path) as sync:
        sync.define_table("users", USERS)
        yield sync


@pytest.fixture
def page(backend: DSNSync, tmp_path: Path) -> Iterator[Page]:
    with page_of(backend, tmp_path) as page:
        yield page


def test_the_public_names_are_those_of_the_interface(backend: DSNSync) -> None:
    assert reunite.dropin.dsn_sync.__all__ == ["DSNSync"]
    assert {name for name in vars(backend) if not name.startswith("_")} == {"port", "last_error"}


def test_ds1_url_and_token_are_told_while_doors_rotate(tmp_path: Path) -> None:
    with running(tmp_path, requests_per_endpoint=5) as sync:
        url, token = sync.get_url(), sync.get_token()

        def ask_and_tell(_: int) -> set[str]:
            with closing(Door(url, token)) as door:
                return {
                    f"{door.ask('GET', '/v1/schema').status} {sync.get_token()}" for _ in "12345"
                }

        with ThreadPoolExecutor(10) as threads:
            assert set().union(*threads.map(ask_and_tell, range(10))) == {f"200 {token}"}
        assert sync.get_url().endswith("/sync/011")


def test_ds2_a_write_that_is_said_again_is_refused_and_changes_nothing(
    backend: DSNSync, page: Page
) -> None:
    told: list[Any] = []
    backend.on_create("users")(told.append)
    said: list[tuple[str, bytes]] = []
    post = page.door.network._client.post

    def record(url: str, *, content: bytes) -> httpx2.Response:
        said.append((url, content))
        return post(url, content=content)

    page.door.network._client.post = record  # type: ignore[method-assign]
    assert page.create("users", "user_004", ALICE)
    before = page.get_all("users")
    codes = {json.loads(post(url, content=content).content)["code"] for url, content in said}
    assert codes == {"replayed"}
    assert len(told) == 1
    assert page.get_all("users") == before


def test_ds4_tokens_are_encrypted_at_rest_and_rotate_with_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as sync:
        sync.define_table("users", USERS)
        url, first = sync.get_url(), sync.get_token()
        with closing(Door(url, first)) as before:
            before.ask("GET", "/v1/schema")
            second = sync.rotate_token()
            assert sync.get_token() == second != first
            assert before.ask("GET", "/v1/schema").status == 200
            assert before.knocker.token == second  # told inside the sealed answer
        with closing(Door(url, first)) as late:
            assert late.ask("GET", "/v1/schema").status == 200
        sync.revoke_token(first)
        with closing(Door(url, first)) as revoked, pytest.raises(SealError, match="refused"):
            revoked.ask("GET", "/v1/schema")
    data = b"".join(path.read_bytes() for path in (tmp_path / "dsn").iterdir())
    for token in (first, second):
        assert token.partition(".")[2].encode() not in data
    modes = {stat.S_IMODE((tmp_path / "dsn" / name).stat().st_mode) for name in ("door.secret",)}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "dsn").stat().st_mode) == 0o700

    monkeypatch.setenv("DSN_SYNC_SECRET", "another one")
    with closing(DSNSync(0, tls="off", data_dir=tmp_path / "dsn")) as other:
        assert other.start() is False
        assert "another secret" in (other.last_error or "")


def test_ds4_tokens_in_the_database_need_no_folder_where_the_secret_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSN_SYNC_SECRET", "correct horse battery staple")
    database = f"sqlite:///{tmp_path / 'app.db'}"
    with running(tmp_path, database) as first:
        token = first.get_token()
    with running(tmp_path, database, data_dir=tmp_path / "elsewhere") as second:
        assert second.get_token() == token


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_ds5_only_the_doors_answer(backend: DSNSync, tmp_path: Path, method: str) -> None:
    base = backend.get_url().rpartition("/sync")[0].replace("localhost", "127.0.0.1")
    with httpx2.Client(base_url=base, timeout=DEADLINE_S) as web:
        for path in (
            "/",
            "/pyproject.toml",
            "/../etc/passwd",
            "/v1/schema",
            "/client.js",
            "/livez",
        ):
            assert web.request(method, path).status_code == 404, path
        if method in ("GET", "HEAD"):
            assert web.request(method, "/sync/001").status_code == 404


def test_ds5_pages_of_any_origin_may_knock_and_load_the_client(backend: DSNSync) -> None:
    base = backend.get_url().replace("localhost", "127.0.0.1")
    origin = {"Origin": "https://shop.example"}
    with httpx2.Client(timeout=DEADLINE_S) as web:
        asked = {**origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type"
        allowed = web.options(base, headers=asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
        module = web.get(base.rpartition("/")[0] + "/client.js", headers=origin)
    assert module.headers["content-type"].startswith("text/javascript")
    assert module.headers["access-control-allow-origin"] == "*"


def test_ds6_one_port_is_started_and_stopped_twenty_times(tmp_path: Path) -> None:
    with running(tmp_path) as sync:
        port = sync.port
        assert sync.start() is False
        assert "already" in (sync.last_error or "")
        for _ in range(20):
            assert sync.stop() is True
            with socket.create_server(("127.0.0.1", port)):
                pass  # it is free
            assert sync.start() is True, sync.last_error
            assert (sync.port, sync.last_error) == (port, None)
        assert sync.stop() is True
        assert sync.stop() is False


def test_ds6_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with closing(DSNSync(port, data_dir=tmp_path, tls="off")) as sync:
            assert sync.start() is False
            assert f"Port {port}" in (sync.last_error or "")


def test_ds7_what_the_caller_changes_later_is_not_seen(backend: DSNSync, page: Page) -> None:
    data = {"name": "Ada", "cart": [{"id": 1}]}
    backend.sync("users", "user_001", data)
    data["name"] = "Changed"
    data["cart"][0]["id"] = 2  # type: ignore[index]
    assert page.get_all("users") == {"user_001": {"name": "Ada", "cart": [{"id": 1}]}}


def test_ds8_numbers_of_doors_may_have_more_digits(tmp_path: Path) -> None:
    with running(tmp_path, requests_per_endpoint=1) as sync:
        assert sync._entrance is not None
        sync._entrance.door._requests = 998
        with closing(Door(sync.get_url(), sync.get_token())) as door:
            for _ in range(4):
                assert door.ask("GET", "/v1/schema").status == 200
        assert sync.get_url().endswith("/sync/1003")


@pytest.mark.parametrize(
    "wrong",
    ["mysql://localhost/shop", "postgresql://127.0.0.1:1/none", "no/such/folder/shop.db", "", None],
)
def test_ds9_a_database_that_is_none_is_said_and_all_stays(
    backend: DSNSync, page: Page, wrong: Any
) -> None:
    backend.sync("users", "user_001", {"name": "Ada"})
    assert backend.connect_database(wrong) is False
    assert backend.last_error
    assert page.get_all("users") == {"user_001": {"name": "Ada"}}


def test_ds9_another_database_is_used_from_now_on(
    tmp_path: Path, postgresql: str, backend: DSNSync, page: Page
) -> None:
    """Tables, handlers and tokens go on; the page connects again by itself."""
    told: list[Any] = []
    backend.on_create("users")(told.append)
    token = backend.get_token()
    assert backend.connect_database(postgresql) is True
    assert backend.get_token() == token
    page.door.network.close()
    with page_of(backend, tmp_path, "other") as other:
        assert other.create("users", "user_004", ALICE)
        backend.sync("users", "user_004", {"status": "new"})
        assert other.get_all("users") == {"user_004": {**ALICE, "status": "new"}}
    assert told == [{"user_id": "user_004", **ALICE}]
    with running(tmp_path, postgresql) as later, page_of(later, tmp_path, "p3") as third:
        assert third.get_all("users") == {"user_004": {**ALICE, "status": "new"}}


def test_ds11_the_certificate_is_its_own_and_stays(tmp_path: Path) -> None:
    with running(tmp_path, tls="auto") as sync:
        assert sync.get_url().startswith(f"https://localhost:{sync.port}/sync/")
        files = [tmp_path / "dsn" / name for name in ("tls.crt", "tls.key")]
        context = ssl.create_default_context(cafile=str(files[0]))
        with closing(socket.create_connection(("127.0.0.1", sync.port))) as line:
            context.wrap_socket(line, server_hostname="localhost").close()
        with closing(Door(sync.get_url(), sync.get_token())) as door:
            assert door.ask("GET", "/v1/schema").status == 200
        assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
        before = files[0].read_bytes()
    with running(tmp_path, tls=tuple(files)) as given:
        assert given.get_url().startswith("https:")
    with running(tmp_path, tls="self-signed"):
        assert files[0].read_bytes() == before
    with closing(DSNSync(0, data_dir=tmp_path, tls=("no.crt", "no.key"))) as missing:
        assert missing.start() is False
        assert "no.crt" in (missing.last_error or "")
    with pytest.raises(BadRequestError, match="tls"):
        DSNSync(tls="on")


def test_ds12_one_changed_bit_is_refused(backend: DSNSync, page: Page) -> None:
    _, message = page.door.knocker.sealed("GET", "/v1/schema")
    altered = message[:-1] + bytes([message[-1] ^ 1])
    base = backend.get_url().replace("localhost", "127.0.0.1")
    answer = httpx2.post(base, content=altered, timeout=DEADLINE_S)
    assert answer.json()["code"] == "seal-broken"


def test_ds13_fields_that_were_not_declared_are_refused(backend: DSNSync, page: Page) -> None:
    with pytest.raises(ValueError, match="has no field 'age', but name, email, cart, status"):
        backend.sync("users", "user_001", {"name": "Ada", "age": 36})
    assert page.get_all("users") == {}
    with pytest.raises(sqlite3.OperationalError, match="age"):
        page.create("users", "user_001", {"age": 36})


@pytest.mark.parametrize("text", ["not json", "NaN", '{"a":', "[" * 100_000, ""])
def test_a_text_that_no_page_could_read_is_refused_with_handlers_and_without(
    backend: DSNSync, page: Page, text: str
) -> None:
    """Whoever has a token may push any text; one of these would end the table for all pages."""
    backend.define_table("free", {"key": "id", "fields": ["name"]})
    backend.sync("free", "f1", {"name": 1})
    backend.on_create("users")(lambda data: True)
    page.replica.sync()
    insert = "insert into {} (dsn_sync_key, dsn_sync_made, name) values ('evil', 'm', ?)"
    assert not page._write(insert.format("users"), text)
    assert not page._write(insert.format("free"), text)
    assert not page._write("update free set name = ? where dsn_sync_key = 'f1'", text)
    assert page.refusals == ["vetoed"] * 3
    assert page.get_all("free") == {"f1": {"name": 1}}
    assert page.get_all("users") == {}


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b"])
def test_a_page_makes_no_key_that_the_backend_could_not_make(
    backend: DSNSync, page: Page, key: str
) -> None:
    assert not page.create("users", key, {"name": "Ada"})
    assert page.refusals == ["vetoed"]
    assert page.get_all("users") == {}


def test_a_page_gives_no_record_another_key(backend: DSNSync, page: Page) -> None:
    """No handler would be told of which record it was."""
    told: list[Any] = []
    for on in (backend.on_create, backend.on_update, backend.on_delete):
        on("users")(told.append)
    backend.sync("users", "user_001", {"name": "Ada"})
    page.replica.sync()
    assert not page._write("update users set dsn_sync_key = 'user_002'")
    assert page.refusals == ["not-allowed"]
    assert told == []
    assert page.get_all("users") == {"user_001": {"name": "Ada"}}


def test_an_async_handler_is_refused_at_once(backend: DSNSync) -> None:
    async def later(data: dict[str, Any]) -> bool:
        return False

    with pytest.raises(ValueError, match="'later' an async one"):
        backend.on_create("users")(later)


def test_a_field_that_held_the_key_before_the_table_was_declared_becomes_the_key_field(
    backend: DSNSync, page: Page
) -> None:
    backend.sync("orders", "o1", {"order_id": "o1", "total": 5})
    backend.sync("orders", "o2", {"total": 7})
    backend.define_table("orders", {"key": "order_id", "fields": ["total"]})
    assert page.get_all("orders") == {"o1": {"total": 5}, "o2": {"total": 7}}
    told: list[Any] = []
    backend.on_update("orders")(told.append)
    assert page.update("orders", "o1", {"total": 6})
    assert told == [{"order_id": "o1", "total": 6}]
    backend.sync("bills", "b1", {"bill_id": "other", "total": 5})
    with pytest.raises(ValueError, match="of the record 'b1' in 'bills' is not its key"):
        backend.define_table("bills", {"key": "bill_id", "fields": ["total"]})


def test_ds15_a_create_of_a_key_that_is_there_is_refused(
    backend: DSNSync, page: Page, tmp_path: Path
) -> None:
    told: list[Any] = []
    backend.on_create("users")(told.append)
    backend.on_update("users")(told.append)
    with page_of(backend, tmp_path, "other") as other:
        assert other.create("users", "user_004", ALICE)
        assert len(told) == 1
        # This page has not seen it yet.
        assert not page.create("users", "user_004", {"name": "Mallory"})
    assert page.refusals == ["not-allowed"]
    assert page.get_all("users") == {"user_004": ALICE}
    backend.sync("users", "user_005", {"name": "Of the backend"})
    assert not page.create("users", "user_005", {"name": "Mallory"})
    assert page.get_all("users")["user_005"] == {"name": "Of the backend"}
    assert len(told) == 1


# -- what the interface says beside --------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ([], "Schema must be a dictionary"),
        ({"fields": []}, "Schema must contain 'key' field"),
        ({"key": "id"}, "Schema must contain 'fields' list"),
        ({"key": "id", "fields": "name"}, "Schema must have 'fields' as a list"),
        ({"key": "id", "fields": ["name", "Name"]}, "differ only in upper case"),
        ({"key": "id", "fields": [""]}, "needs a name"),
        ({"key": 5, "fields": []}, "needs a name"),
        ({"key": "id", "fields": ["dsn_sync_key"]}, "such names are taken"),
        ({"key": "id", "fields": ["x" * 64]}, "longer than 63 bytes"),
    ],
)
def test_a_schema_that_is_none_is_refused(backend: DSNSync, schema: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        backend.define_table("things", schema)


@pytest.mark.parametrize(
    ("key", "data", "text"),
    [
        ("", {}, "A key is a text"),
        (5, {}, "A key is a text"),
        ("x" * 256, {}, "A key is a text"),
        ("k", [], "Data must be a dictionary"),
        ("k", {"name": object()}, "cannot be written as JSON"),
        ("k", {"name": float("nan")}, "cannot be written as JSON"),
        ("k", {"name": "\ud800"}, "cannot be written as JSON"),
        ("k", {"user_id": "other"}, "is the key"),
    ],
)
def test_a_record_that_is_none_is_refused_and_nothing_is_stored(
    backend: DSNSync, page: Page, key: Any, data: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        backend.sync("users", key, data)
    assert page.get_all("users") == {}


def test_a_table_that_was_never_declared_is_open_for_the_backend_and_read_only_for_pages(
    backend: DSNSync, page: Page
) -> None:
    backend.sync("tasks", "task_001", {"status": "running"})
    backend.sync("tasks", "task_001", {"status": "done", "größe": [1, None]})
    assert page.get_all("tasks") == {"task_001": {"status": "done", "größe": [1, None]}}
    assert not page.update("tasks", "task_001", {"status": "hacked"})
    assert not page.create("tasks", "task_002", {"status": "hacked"})
    assert not page.delete("tasks", "task_001")
    assert page.refusals == ["not-allowed"] * 3
    with pytest.raises(ValueError, match=r"synced to 'tasks' before it was declared.*'größe'"):
        backend.define_table("tasks", {"key": "task_id", "fields": ["status"]})
    backend.define_table("tasks", {"key": "task_id", "fields": ["status", "größe", "due"]})
    page.replica.sync()
    assert page.update("tasks", "task_001", {"due": "today"})


def test_declaring_again_adds_fields_and_takes_none_away(backend: DSNSync, page: Page) -> None:
    backend.sync("users", "user_001", {"name": "Ada"})
    backend.define_table("users", {"key": "id", "fields": ["phone"]})
    told: list[Any] = []
    backend.on_update("users")(told.append)
    page.replica.sync()
    assert page.update("users", "user_001", {"phone": "12", "email": None})
    assert told == [{"id": "user_001", "phone": "12", "email": None}]
    assert page.get_all("users") == {"user_001": {"name": "Ada", "phone": "12", "email": None}}


def test_a_table_of_the_database_s_own_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        db.execute("create table users (id integer primary key, name text)")
        db.execute("insert into users values (1, 'Ada')")
    with running(tmp_path, str(tmp_path / "app.db")) as sync:
        with pytest.raises(ValueError, match="choose another name"):
            sync.define_table("users", USERS)
        with page_of(sync, tmp_path) as page:
            assert page.replica.status().tables == {"dsn_sync_tables": 0}
    with closing(sqlite3.connect(tmp_path / "app.db")) as db:
        assert db.execute("select * from users").fetchall() == [(1, "Ada")]


def test_a_handler_may_sync_but_not_make_tables(
    backend: DSNSync, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    @backend.on_create("users")
    def handle(data: dict[str, Any]) -> bool:
        backend.sync("users", data["user_id"], {"status": "welcome"})
        if data["user_id"] == "user_005":
            backend.sync("never_declared", "k", {"a": 1})
        return True

    assert page.create("users", "user_004", ALICE)
    assert page.get_all("users") == {"user_004": {**ALICE, "status": "welcome"}}
    with caplog.at_level(logging.ERROR):
        assert not page.create("users", "user_005", ALICE)
    assert "cannot make the table 'never_declared'" in caplog.text


def test_many_threads_sync_while_pages_write(backend: DSNSync, page: Page) -> None:
    """Handlers, new fields and records of threads do not wait for each other in a ring."""

    @backend.on_create("users")
    def handle(data: dict[str, Any]) -> None:
        backend.sync("users", "last", {"name": data["user_id"]})

    def sync_many(thread: int) -> None:
        for turn in range(5):
            backend.sync("open", f"{thread}", {f"field_{thread}_{turn}": turn})

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(sync_many, thread) for thread in range(4)]
        for number in range(10):
            assert page.create("users", f"user_{number}", ALICE)
        for each in done:
            each.result(DEADLINE_S)
    found = page.get_all("open")
    assert {key: len(record) for key, record in found.items()} == dict.fromkeys("0123", 5)
    assert page.get_all("users")["last"] == {"name": "user_9"}


def test_the_readme_s_backends_run_with_their_import_changed(tmp_path: Path) -> None:
    """Its pages run against them in `js/tests/dsn`."""
    for which, table, count in (("tour", "users", 4), ("shop", "products", 1)):
        folder = tmp_path / which
        asked = json.dumps({"folder": str(folder / "dsn"), "readme": which})
        folder.mkdir()
        backend = subprocess.Popen(
            [sys.executable, ROOT / "tests/js/dsn_backend.py", asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with backend:
            assert backend.stdin is not None
            assert backend.stdout is not None
            told = json.loads(backend.stdout.readline())
            with closing(Page(folder / "page.db", told["url"], told["token"])) as page:
                records = page.get_all(table)
                assert len(records) == count
                if which == "shop":
                    assert records["prod_001"]["name"] == "Laptop"
                    assert records["prod_001"]["stock"] == 49  # the auto task's own
            backend.stdin.close()


def test_a_job_runs_while_the_server_does(tmp_path: Path) -> None:
    has_run = threading.Event()
    with running(tmp_path) as sync:

        @sync.every(seconds=0.05)
        def tell() -> None:
            sync.sync("tasks", "task_001", {"status": "running"})
            has_run.set()

        assert has_run.wait(DEADLINE_S)
        sync.stop()
        has_run.clear()
        assert sync.start()
        assert has_run.wait(DEADLINE_S)


def test_a_job_in_the_middle_of_its_work_ends_before_the_server_has_stopped(
    tmp_path: Path,
) -> None:
    """It needs the tables, as whoever stops the server does."""
    has_begun, may_go_on = threading.Event(), threading.Event()
    with running(tmp_path) as sync:

        @sync.every(seconds=3600)
        def tell() -> None:
            has_begun.set()
            assert may_go_on.wait(DEADLINE_S)
            sync.sync("tasks", "task_001", {"status": "done"})

        assert has_begun.wait(DEADLINE_S)
        stopping = threading.Thread(target=sync.stop, daemon=True)
        stopping.start()
        stopping.join(0.2)
        assert stopping.is_alive(), "it waits for the job"
        may_go_on.set()
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive()


def test_a_database_needs_no_tables_and_the_folder_is_only_made_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sync = DSNSync(port=0)
    assert list(tmp_path.iterdir()) == []
    with closing(sync):
        assert sync.start(), sync.last_error
        assert [path.name for path in tmp_path.iterdir()] == [".dsn_sync"]
    assert urlsplit(sync.get_url()).scheme == "https"
