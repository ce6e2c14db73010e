"""What is given to a DSNSync and makes no sense: told at once, by name, with what would."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from reunite.dropin.dsn_sync import DSNSync
from reunite.errors import BadRequestError, CallerError, SealError
from tests.dropin.dsn_sync_world import ALICE, USERS, Door, page_of, running


class Named(StrEnum):
    """Texts of another class, as applications keep their tables' names."""

    USERS = "users"
    NAME = "name"
    KEY = "user_1"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[DSNSync]:
    with running(tmp_path) as sync:
        sync.define_table("users", USERS)
        yield sync


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("port", port) for port in ("x", "3000", None, 3.5, True, -1, 65_536, [])],
        *[("host", host) for host in (None, 5, "", b"127.0.0.1")],
        *[("tls", tls) for tls in (None, True, "on", ("a",), ("a", "b", "c"), (1, 2), ("", "b"))],
        *[("data_dir", folder) for folder in (None, 5, "", b"folder")],
        *[("requests_per_endpoint", count) for count in (0, -1, 1.5, "100", None, True)],
        *[("token_life_s", life) for life in (0, -1, "60", None, float("nan"), float("inf"))],
    ],
)
def test_an_argument_that_can_never_be_right_is_named(name: str, value: Any) -> None:
    with pytest.raises(BadRequestError, match=f"{name} is ") as caught:
        DSNSync(**{name: value})
    assert (caught.value.code, caught.value.path) == ("bad-request", name)


@pytest.mark.parametrize("place", [5, "", b"data.db", "mysql://a/b", "a\0b", "/no/such/folder/x"])
def test_a_database_that_is_none_is_told_by_start_and_typed_elsewhere(
    tmp_path: Path, place: Any
) -> None:
    with closing(DSNSync(0, place, tls="off", data_dir=tmp_path)) as sync:
        assert sync.start() is False
        assert sync.last_error


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with closing(DSNSync(0, tls="off", data_dir=tmp_path / "taken")) as sync:
        assert sync.start() is False
        assert "give another data_dir" in (sync.last_error or "")
        with pytest.raises(CallerError, match="give another data_dir"):
            sync.get_token()


def test_a_database_may_be_named_by_a_path(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with closing(DSNSync(0, file, tls="off", data_dir=tmp_path / "dsn")) as sync:
        assert sync.start() is True
        assert sync.connect_database(tmp_path / "other.db") is True
    assert file.exists()


def test_names_may_be_texts_of_another_class(backend: DSNSync, tmp_path: Path) -> None:
    assert backend.define_table(Named.USERS, {"key": "user_id", "fields": [Named.NAME, "more"]})
    assert backend.sync(Named.USERS, Named.KEY, {Named.NAME: "Ada"})
    with page_of(backend, tmp_path) as page:
        assert page.get_all("users") == {"user_1": {"name": "Ada"}}


@pytest.mark.parametrize("name", ["on_create", "on_update", "on_delete"])
def test_a_handler_of_no_table_is_refused_at_once(backend: DSNSync, name: str) -> None:
    decorator = getattr(backend, name)
    with pytest.raises(ValueError, match=r"name it, as in @sync\.on_create"):

        @decorator  # and its brackets are forgotten
        def handle(data: dict[str, Any]) -> bool:
            return False

    for odd in (5, None, [], "", 'a"b'):
        with pytest.raises(ValueError, match="A table needs a name"):
            decorator(odd)


@pytest.mark.parametrize("token", [None, 5, "", "a.b"])
def test_what_is_no_token_cannot_be_revoked(backend: DSNSync, token: Any) -> None:
    with pytest.raises(SealError, match="no token"):
        backend.revoke_token(token)


def test_two_objects_on_one_database_keep_each_other_s_tokens(tmp_path: Path) -> None:
    with running(tmp_path) as one, running(tmp_path) as two:
        tokens = [sync.rotate_token() for _ in range(3) for sync in (one, two)]
        for url in (one.get_url(), two.get_url()):
            for token in tokens:
                with closing(Door(url, token)) as door:
                    assert door.ask("GET", "/v1/schema").status == 200
    with running(tmp_path) as later:
        for token in tokens:
            with closing(Door(later.get_url(), token)) as door:
                assert door.ask("GET", "/v1/schema").status == 200


def test_threads_that_rotate_tokens_while_pages_write_lose_none(
    backend: DSNSync, tmp_path: Path
) -> None:
    with page_of(backend, tmp_path) as page, ThreadPoolExecutor(4) as threads:
        rotations = [threads.submit(backend.rotate_token) for _ in range(20)]
        for number in range(5):
            page.create("users", f"user_{number}", ALICE)
        tokens = [rotation.result() for rotation in rotations]
        for token in tokens:
            with closing(Door(backend.get_url(), token)) as door:
                assert door.ask("GET", "/v1/schema").status == 200
        assert len(page.get_all("users")) == 5
