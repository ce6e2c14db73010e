"""The sealed door: what comes through it, and what does not."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from reunite.errors import CallerError
from reunite.server.sealed import sessions
from reunite.server.sealed.door import SCOPE_KEY, SealedDoor
from reunite.server.sealed.frames import REQUEST, Opening, Parts, Sealing
from reunite.server.sealed.keys import DoorKeys, parse_token
from tests.sealed.knocking import Knocker, Refused, outer, streamed


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


class House:
    """A door with an application behind it that notes what it was asked."""

    def __init__(self, folder: Path, *, secret: str | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, str, bytes]] = []
        self.go_on = asyncio.Event()
        routes = [
            Route("/echo", self.echo, methods=["POST"]),
            Route("/events", self.events, methods=["GET"]),
        ]
        self.keys = DoorKeys(folder, secret=secret, clock=self.clock)
        self.door = SealedDoor(Starlette(routes=routes), self.keys, clock=self.clock, **options)

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        await asyncio.sleep(0)  # let others come in between
        self.asked.append((request.method, request.scope[SCOPE_KEY].hex(), body))
        headers = {"x-said": request.headers.get("x-said", "")}
        return JSONResponse({"length": len(body), "q": request.query_params.get("q")}, 201, headers)

    async def events(self, _request: Request) -> Response:
        async def events() -> Any:
            yield b"data: 1\n\n"
            await self.go_on.wait()
            yield b"data: 2\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    def knocker(self) -> Knocker:
        return Knocker(self.door, self.keys.token())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "keys")


async def settled(house: House) -> Knocker:
    knocker = house.knocker()
    await knocker.hello()
    return knocker


def test_a_request_goes_through_and_its_answer_comes_back(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        number, message = knocker.sealed("POST", "/echo?q=7", b"hello", {"x-said": "yes"})
        answer = knocker.opened(number, (await knocker.say(message)).body)
        assert (answer.status, json.loads(answer.body)) == (201, {"length": 5, "q": "7"})
        assert answer.headers["x-said"] == "yes"
        key_id, _ = parse_token(knocker.token)
        assert house.asked == [("POST", key_id.hex(), b"hello")]

    asyncio.run(story())


@pytest.mark.parametrize("length", [0, 1, 65_517, 65_518, 65_519, 1_000_000])
def test_a_body_of_any_length_arrives_whole(house: House, length: int) -> None:
    async def story() -> None:
        knocker = await settled(house)
        body = bytes(index % 251 for index in range(length))
        answer = await knocker.ask("POST", "/echo", body)
        assert json.loads(answer.body)["length"] == length
        assert house.asked[0][2] == body

    asyncio.run(story())


def test_nothing_of_it_can_be_read_outside(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        number, message = knocker.sealed("POST", "/echo", b"the canary sings")
        answer = await knocker.say(message)
        for text in (b"canary", b"/echo", b"POST", b"length"):
            assert text not in message
            assert text not in answer.body
        assert knocker.opened(number, answer.body).status == 201

    asyncio.run(story())


def test_the_events_of_a_stream_are_sealed_one_by_one(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        number, message = knocker.sealed("GET", "/events")
        assert knocker.ciphers is not None
        opening = Opening(
            knocker.ciphers.receiving, lambda _: None, session=knocker.session, request=number
        )
        parts, heard = Parts(), b""
        async for piece in streamed(house.door, knocker.door, message):
            heard += b"".join([parts.feed(text) for text in opening.feed(piece)])
            if heard.endswith(b"1\n\n"):
                house.go_on.set()
            if heard.endswith(b"2\n\n"):
                break
        assert heard == b"data: 1\n\ndata: 2\n\n"

    asyncio.run(story())


# -- doors ------------------------------------------------------------------------------------


def test_the_door_changes_and_the_answers_say_where_it_is(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        doors = [(await knocker.ask("POST", "/echo")).door for _ in range(250)]
        assert doors[98:100] == ["/sync/001", "/sync/002"]
        assert doors[-1] == house.door.path == "/sync/003"

    asyncio.run(story())


def test_the_former_door_stays_open_for_those_under_way_and_older_ones_do_not(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, requests_per_door=2)

    async def story() -> None:
        knocker = await settled(house)
        for _ in range(2):
            await knocker.ask("POST", "/echo")
        assert knocker.door == "/sync/002"
        number, message = knocker.sealed("POST", "/echo", b"late")
        late = await knocker.say(message, door="/sync/001")
        assert knocker.opened(number, late.body).status == 201
        await knocker.ask("POST", "/echo")
        _, message = knocker.sealed("POST", "/echo", b"too late")
        with pytest.raises(Refused, match="door-closed"):
            await knocker.say(message, door="/sync/001")
        with pytest.raises(Refused, match="door-closed"):
            await knocker.say(message, door="/sync/004")
        assert [body for _, _, body in house.asked] == [b"", b"", b"late", b""]
        # Who comes with an old address is welcome.
        newcomer = Knocker(house.door, knocker.token, door="/sync/001")
        await newcomer.hello()
        assert newcomer.door == house.door.path

    asyncio.run(story())


def test_doors_beyond_999_are_doors(tmp_path: Path) -> None:
    house = House(tmp_path, requests_per_door=1)

    async def story() -> None:
        knocker = await settled(house)
        for _ in range(1_005):
            await knocker.ask("POST", "/echo")
        assert knocker.door == "/sync/1006"

    asyncio.run(story())


def test_ten_thousand_requests_64_at_a_time_cross_all_doors_and_none_is_lost(
    house: House,
) -> None:
    async def story() -> None:
        knocker = await settled(house)
        turns = asyncio.Semaphore(64)

        async def one(index: int) -> None:
            async with turns:
                answer = await knocker.ask_until_open("POST", "/echo", str(index).encode())
                assert answer.status == 201

        await asyncio.gather(*map(one, range(10_000)))
        said = sorted(int(body) for _, _, body in house.asked)
        assert said == list(range(10_000))
        assert house.door.path == "/sync/101"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sync/001"),
        ("HEAD", "/sync/001"),
        ("POST", "/"),
        ("POST", "/sync"),
        ("POST", "/sync/"),
        ("POST", "/sync/abc"),
        ("POST", "/sync/001/../002"),
        ("POST", "/sync/٣"),
        ("POST", "/sync/1234567890123456789"),
        ("GET", "/etc/passwd"),
    ],
)
def test_there_is_nothing_beside_the_door(house: House, method: str, path: str) -> None:
    answer = asyncio.run(outer(house.door, path, [], method=method))
    assert answer.status == 404


# -- attacks ----------------------------------------------------------------------------------


def test_what_was_said_before_is_refused_and_does_not_act_again(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        _, message = knocker.sealed("POST", "/echo", b"once")
        await knocker.say(message)
        with pytest.raises(Refused, match="replayed"):
            await knocker.say(message)
        assert [body for _, _, body in house.asked] == [b"once"]

    asyncio.run(story())


def test_requests_may_overtake_each_other(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        messages = [knocker.sealed("POST", "/echo", str(n).encode())[1] for n in range(50)]
        for message in reversed(messages):
            await knocker.say(message)
        for message in messages:
            with pytest.raises(Refused, match="replayed"):
                await knocker.say(message)
        assert len(house.asked) == 50

    asyncio.run(story())


def test_what_is_older_than_the_window_counts_as_said_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "WINDOW", 16)

    async def story() -> None:
        knocker = await settled(house)
        _, early = knocker.sealed("POST", "/echo", b"early")
        for _ in range(16):
            await knocker.ask("POST", "/echo", b"later")
        with pytest.raises(Refused, match="replayed"):
            await knocker.say(early)

    asyncio.run(story())


def test_one_changed_byte_anywhere_opens_nothing(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        _, message = knocker.sealed("POST", "/echo", b"pay 10")
        for at in range(len(message)):
            altered = bytearray(message)
            altered[at] ^= 0x01
            with pytest.raises(Refused) as refused:
                await knocker.say(bytes(altered))
            assert refused.value.code in ("seal-broken", "session-unknown")
        assert house.asked == []
        # None of it used up the number.
        await knocker.say(message)
        assert [body for _, _, body in house.asked] == [b"pay 10"]

    asyncio.run(story())


@pytest.mark.parametrize("keep", [0, 1, 10, 17, 20, 60])
def test_a_request_that_is_cut_does_not_act(house: House, keep: int) -> None:
    async def story() -> None:
        knocker = await settled(house)
        _, message = knocker.sealed("POST", "/echo", b"x" * 200)
        with pytest.raises(Refused, match="seal-broken"):
            await knocker.say(message[:keep])
        assert house.asked == []

    asyncio.run(story())


def test_a_long_request_does_not_act_when_its_end_is_cut_or_altered(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        size = 300_000
        for change in (
            lambda message: message[:-70_000],
            lambda message: message[:-1],
            lambda message: message[:-1] + bytes([message[-1] ^ 1]),
            lambda message: message + b"\x00",
        ):
            _, message = knocker.sealed("POST", "/echo", b"x" * size)
            with pytest.raises(Refused, match="seal-broken"):
                await knocker.say(change(message))
        assert house.asked == []

    asyncio.run(story())


def test_a_client_that_goes_away_in_the_middle_did_not_ask(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        _, message = knocker.sealed("POST", "/echo", b"x" * 300_000)
        await outer(house.door, knocker.door, [message[:150_000]], gone=True)
        assert house.asked == []

    asyncio.run(story())


def test_frames_of_two_requests_cannot_be_mixed(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        size, prefix = 150_000, 17
        _, first = knocker.sealed("POST", "/echo", b"a" * size)
        _, second = knocker.sealed("POST", "/echo", b"b" * size)
        end = prefix + 10 + 65_535
        with pytest.raises(Refused, match="seal-broken"):
            await knocker.say(first[:end] + second[end:])
        with pytest.raises(Refused, match="seal-broken"):
            await knocker.say(first[:prefix] + first[end:])
        assert house.asked == []

    asyncio.run(story())


def test_the_answer_to_one_request_is_none_to_another(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        first, message = knocker.sealed("POST", "/echo", b"1")
        one = await knocker.say(message)
        second, message = knocker.sealed("POST", "/echo", b"22")
        two = await knocker.say(message)
        with pytest.raises(Exception, match="seal is broken"):
            knocker.opened(first, two.body)
        with pytest.raises(Exception, match="seal is broken"):
            knocker.opened(second, one.body)
        with pytest.raises(Exception, match="cut short"):
            knocker.opened(first, one.body[:-1])

    asyncio.run(story())


def test_a_session_is_its_clients_own(house: House) -> None:
    async def story() -> None:
        mine, other = await settled(house), await settled(house)
        _, message = other.sealed("POST", "/echo", b"as another")
        with pytest.raises(Refused, match="seal-broken"):
            await other.say(message[:1] + mine.session + message[17:])
        assert house.asked == []

    asyncio.run(story())


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b'{"method":"POST"}',
        b'{"method":"POST","path":"echo","headers":{}}',
        b'{"method":"PO ST","path":"/echo","headers":{}}',
        b'{"method":"POST","path":"/e cho","headers":{}}',
        b'{"method":"POST","path":"/echo\\r\\n","headers":{}}',
        b'{"method":"POST","path":"/echo","headers":{"a b":"c"}}',
        b'{"method":"POST","path":"/echo","headers":{"a":"c\\r\\nd: e"}}',
        b"x" * 60_001,
    ],
)
def test_a_head_that_is_no_request_is_refused(house: House, head: bytes) -> None:
    async def story() -> None:
        knocker = await settled(house)
        assert knocker.ciphers is not None
        sealing = Sealing(
            knocker.ciphers.sending, knocker.take_number, session=knocker.session, request=None
        )
        frames = sealing.begin(head)
        with pytest.raises(Refused, match="seal-broken"):
            await knocker.say(bytes([REQUEST]) + knocker.session + frames)
        assert house.asked == []

    asyncio.run(story())


def test_a_hello_that_was_recorded_gives_its_thief_nothing(house: House) -> None:
    async def story() -> None:
        knocker = house.knocker()
        _, message = knocker.hello_message()
        first = await outer(house.door, knocker.door, [message])
        again = await outer(house.door, knocker.door, [message])
        assert (first.status, again.status) == (200, 200)
        assert first.body[1:] != again.body[1:]
        assert house.asked == []

    asyncio.run(story())


def test_hellos_without_end_push_out_no_session_that_is_in_use(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "UNUSED_MAX", 5)

    async def story() -> None:
        knocker = await settled(house)
        await knocker.ask("POST", "/echo")
        idle = await settled(house)
        for _ in range(10):
            await settled(house)
        assert (await knocker.ask("POST", "/echo")).status == 201
        with pytest.raises(Refused, match="session-unknown"):
            await idle.ask("POST", "/echo")

    asyncio.run(story())


# -- tokens -----------------------------------------------------------------------------------


def test_a_forged_token_opens_nothing(house: House) -> None:
    async def story() -> None:
        key_id, _, secret = house.keys.token().partition(".")
        with pytest.raises(Refused, match="seal-broken"):
            await Knocker(house.door, f"{key_id}.{'A' * len(secret)}").hello()
        with pytest.raises(Refused, match="key-unknown"):
            await Knocker(house.door, f"{'A' * len(key_id)}.{secret}").hello()

    asyncio.run(story())


def test_an_expired_token_says_so_and_ends_its_sessions(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        house.clock.now_s += house.keys.life_s + 1
        with pytest.raises(Refused, match="session-unknown"):
            await knocker.ask("POST", "/echo")
        with pytest.raises(Refused, match="key-expired"):
            await knocker.hello()

    asyncio.run(story())


def test_whoever_comes_within_half_a_life_is_told_the_next_token(house: House) -> None:
    async def story() -> None:
        knocker = await settled(house)
        for _ in range(10):
            house.clock.now_s += house.keys.life_s * 0.45
            await knocker.ask_until_open("POST", "/echo")
        assert len(house.asked) == 10

    asyncio.run(story())


def test_after_a_rotation_connected_clients_go_on_and_a_revoked_token_ends_at_once(
    house: House,
) -> None:
    async def story() -> None:
        knocker = await settled(house)
        former, newer = knocker.token, house.keys.rotate()
        assert (await knocker.ask("POST", "/echo")).status == 201
        assert newer == knocker.token != former
        late = Knocker(house.door, former)
        await late.hello()
        assert late.token == newer
        house.door.revoke(former)
        for refused in (knocker, late):
            with pytest.raises(Refused, match="session-unknown"):
                await refused.ask("POST", "/echo")
            await refused.hello()  # with the new one
        with pytest.raises(Refused, match="key-unknown"):
            await Knocker(house.door, former).hello()

    asyncio.run(story())


@pytest.mark.parametrize("secret", [None, "a secret of the host"])
def test_tokens_outlive_a_restart_and_their_file_tells_nothing(
    tmp_path: Path, secret: str | None
) -> None:
    first = House(tmp_path, secret=secret)
    token = first.keys.token()

    async def story() -> None:
        again = House(tmp_path, secret=secret)
        await Knocker(again.door, token).hello()
        assert again.keys.token() == token

    asyncio.run(story())
    _, key = parse_token(token)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0
        text = path.read_bytes()
        assert key not in text
        assert token.partition(".")[2].encode() not in text


def test_a_file_of_tokens_does_not_open_under_another_secret_or_when_damaged(
    tmp_path: Path,
) -> None:
    House(tmp_path, secret="one").keys.token()
    with pytest.raises(CallerError, match="another secret"):
        House(tmp_path, secret="two")
    path = tmp_path / "door.keys"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CallerError, match="damaged"):
        House(tmp_path, secret="one")


def test_refusals_are_logged_and_secrets_are_not(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> str:
        knocker = await settled(house)
        _, message = knocker.sealed("POST", "/echo", b"the canary sings")
        await knocker.say(message)
        with pytest.raises(Refused, match="replayed"):
            await knocker.say(message)
        return knocker.token

    with caplog.at_level(logging.DEBUG):
        token = asyncio.run(story())
    assert "refused /sync/001 from 127.0.0.1: replayed" in caplog.text
    assert token.partition(".")[2] not in caplog.text
    assert "canary" not in caplog.text


def test_an_answer_of_another_kind_than_expected_is_refused(house: House) -> None:
    answer = asyncio.run(outer(house.door, "/sync/001", [b"\x07nothing that we know"]))
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "seal-broken")
    long = asyncio.run(outer(house.door, "/sync/001", [b"\x01" + b"x" * 2_000]))
    assert (long.status, json.loads(long.body)["limit"]) == (413, "HELLO_BYTES_MAX")
