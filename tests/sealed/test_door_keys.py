"""Tokens of a sealed door: kept by whoever holds them, whatever others do meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reunite.errors import CallerError, SealError
from reunite.server.sealed.door import SealedDoor
from reunite.server.sealed.keys import DoorKeys, parse_token
from tests.sealed.knocking import Knocker, Refused

NOW_S = 1_000_000.0


class Memory:
    """A vault that several objects hold; `before` is done once, before the next replacement."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.before: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def read(self) -> bytes | None:
        return self.data

    def replace(self, known: bytes | None, data: bytes) -> bool:
        before, self.before = self.before, None
        if before is not None:
            before()
        with self._lock:
            if self.data != known:
                return False
            self.data = data
            return True


def keys_of(folder: Path, vault: Memory | None = None, now_s: float = NOW_S) -> DoorKeys:
    return DoorKeys(folder, vault=vault, clock=lambda: now_s)


def ids_in(keys: DoorKeys, tokens: list[str]) -> int:
    return sum(keys.knows(parse_token(token)[0]) for token in tokens)


@pytest.mark.parametrize("is_file", [True, False])
def test_threads_that_rotate_at_once_lose_no_token(tmp_path: Path, is_file: bool) -> None:
    vault = None if is_file else Memory()
    keys = keys_of(tmp_path, vault)
    start = threading.Barrier(8)

    def rotate(_: int) -> list[str]:
        start.wait()
        return [keys.rotate() for _ in range(10)]

    with ThreadPoolExecutor(8) as threads:
        tokens = [token for made in threads.map(rotate, range(8)) for token in made]
    assert len(set(tokens)) == 80
    assert ids_in(keys, tokens) == ids_in(keys_of(tmp_path, vault), tokens) == 80


@pytest.mark.parametrize("is_file", [True, False])
def test_two_objects_over_one_vault_forget_nothing_of_each_other(
    tmp_path: Path, is_file: bool
) -> None:
    vault = None if is_file else Memory()
    one, two = keys_of(tmp_path, vault), keys_of(tmp_path, vault)
    tokens = [keys.rotate() for _ in range(5) for keys in (one, two)]
    one.revoke(tokens[0])
    two.rotate()  # knows nothing of the end of the first
    after = keys_of(tmp_path, vault)
    assert ids_in(after, tokens[1:]) == 9
    assert ids_in(after, tokens[:1]) == ids_in(two, tokens[:1]) == 0


def test_a_token_that_another_object_made_meanwhile_is_the_one_to_use(tmp_path: Path) -> None:
    vault = Memory()
    one, two = keys_of(tmp_path, vault), keys_of(tmp_path, vault)
    made: list[str] = []
    vault.before = lambda: made.append(two.token())
    assert [one.token()] == made


def test_threads_that_ask_first_are_given_one_token(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    start = threading.Barrier(8)

    def ask(_: int) -> str:
        start.wait()
        return keys.token()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1


def test_a_door_opens_for_a_token_that_another_object_made(tmp_path: Path) -> None:
    async def nothing(*_: object) -> None:
        raise AssertionError("nobody asks")

    one, two = keys_of(tmp_path), keys_of(tmp_path)
    door = SealedDoor(nothing, one, clock=lambda: NOW_S)
    token = two.rotate()

    async def story() -> None:
        await Knocker(door, token).hello()
        one.revoke(token)
        with pytest.raises(Refused, match="key-unknown"):
            await Knocker(door, token).hello()

    asyncio.run(story())


@pytest.mark.parametrize("token", [None, 5, b"a.b", "", "a", "a.b", "…", "\ud800"])
def test_what_is_no_token_is_told_so(tmp_path: Path, token: object) -> None:
    with pytest.raises(SealError, match="no token") as caught:
        keys_of(tmp_path).revoke(token)  # type: ignore[arg-type]
    assert caught.value.code == "key-unknown"


@pytest.mark.parametrize("life_s", [0, -1, float("nan"), float("inf")])
def test_a_token_lives_for_a_while_and_not_without_end(tmp_path: Path, life_s: float) -> None:
    with pytest.raises(CallerError, match="needs a life"):
        DoorKeys(tmp_path, life_s=life_s, clock=lambda: NOW_S)
