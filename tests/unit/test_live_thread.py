"""The live thread with a hub that is a script: pauses, clocks that jump, refusals, wishes."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reunite import Hub, HubUnreachableError, LiveReport, NotAuthenticatedError, Replica
from reunite.protocol.codec import encode
from reunite.protocol.live import Answered, LiveRequest
from reunite.protocol.pull import Page
from reunite.replica.live import PAUSE_S, PAUSE_S_MAX, QUEUE_MAX, LiveThread
from reunite.replica.transport import LiveEvent
from reunite.stores.memory import MemoryStore
from reunite.testing import FakeClock, FakeWire
from reunite.testing.contracts import STANDARD_SCHEMAS
from tests.patience import DEADLINE_S


class ScriptedStream:
    """Says what is answered, and then nothing until it is closed."""

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def __iter__(self) -> Iterator[LiveEvent]:
        yield LiveEvent(name="answered", data=encode(Answered(answered=0)).decode())
        assert self.is_closed.wait(DEADLINE_S), "nobody closed the stream"

    def close(self) -> None:
        self.is_closed.set()


class ScriptedTransport:
    """A fake wire that can hold streams; `refuse` makes what a call raises."""

    is_remote = False

    def __init__(self, wire: FakeWire, token: str) -> None:
        self._transport = wire.transport(token)
        self.refuse: Callable[[], Exception] | None = None
        self.streams: list[ScriptedStream] = []

    def call(self, operation: str, body: bytes) -> bytes:
        if self.refuse is not None:
            raise self.refuse()
        return self._transport.call(operation, body)

    def live(self, request: LiveRequest) -> ScriptedStream:
        self.streams.append(ScriptedStream())
        return self.streams[-1]

    def close(self) -> None:
        self._transport.close()


class Scene:
    """A replica whose thread is started by the test."""

    def __init__(self, path: Path) -> None:
        store = MemoryStore()
        store.track(STANDARD_SCHEMAS)
        self.clock = FakeClock()
        self.hub = Hub(store, clock=self.clock)
        self.hub.adopt()
        self.transport = ScriptedTransport(FakeWire(self.hub), self.hub.create_token())
        self.replica = Replica.clone(path, transport=self.transport, clock=self.clock)
        self.drawn: list[float] = []
        self._news = threading.Condition()
        self.reports: list[LiveReport] = []

    def start(self, chance: float = 0.0) -> None:
        self.replica.start(on_event=self._note, chance=lambda: chance)

    def _note(self, report: LiveReport) -> None:
        with self._news:
            self.reports.append(report)
            self._news.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        with self._news:
            assert self._news.wait_for(condition, timeout=DEADLINE_S), self.reports[-3:]

    def phases(self) -> list[str]:
        return [report.phase for report in self.reports]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "till.db")
    yield scene
    scene.replica.close()
    scene.hub.close()


def test_pauses_are_drawn_from_a_range_that_doubles_up_to_the_longest(scene: Scene) -> None:
    thread = LiveThread(None, chance=lambda: 0.5)  # type: ignore[arg-type]
    error = HubUnreachableError("gone")
    pauses = [thread._pause_s(error) for _ in range(20)]
    assert pauses[:4] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S, 8 * PAUSE_S]
    assert pauses[-1] == PAUSE_S_MAX / 2
    assert thread._pause_s(HubUnreachableError("busy", retry_after_s=60.0)) > 60


def test_a_hub_that_comes_back_is_found(scene: Scene) -> None:
    attempts: list[Exception] = []
    has_tried_often = threading.Event()

    def refuse() -> Exception:
        attempts.append(HubUnreachableError("gone"))
        if len(attempts) > 3:
            has_tried_often.set()
        return attempts[-1]

    scene.transport.refuse = refuse
    scene.start()
    assert has_tried_often.wait(DEADLINE_S)
    assert scene.replica.live.phase == "offline"
    scene.transport.refuse = None
    scene.until(lambda: scene.phases()[-1] == "live")
    assert scene.replica.live.error == ""


def test_a_token_that_is_refused_is_told_and_tried_again(scene: Scene) -> None:
    scene.transport.refuse = lambda: NotAuthenticatedError("The token is not one of this hub.")
    scene.start()
    scene.until(lambda: "offline" in scene.phases())
    assert "token" in scene.replica.live.error
    assert scene.replica.status().last_error.startswith("not-authenticated")
    scene.transport.refuse = None
    scene.until(lambda: scene.phases()[-1] == "live")


def test_a_wish_does_not_wait_for_the_end_of_a_pause(scene: Scene) -> None:
    scene.transport.refuse = lambda: HubUnreachableError("away", retry_after_s=3_600)
    scene.start()
    scene.until(lambda: "offline" in scene.phases())
    assert not scene.replica.wait_until_synced(0.05), "it tried, and the hub is still away"
    scene.transport.refuse = None
    assert scene.replica.wait_until_synced(DEADLINE_S)


def test_a_machine_that_slept_opens_another_line(scene: Scene) -> None:
    scene.start()
    scene.until(lambda: "live" in scene.phases())
    scene.clock.advance(3_600_000)
    scene.transport.streams[0].is_closed.wait(DEADLINE_S)
    assert scene.replica.wait_until_synced(DEADLINE_S)
    assert len(scene.transport.streams) == 2


def test_a_function_that_fails_while_it_watches_disturbs_nobody(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(table: str) -> None:
        raise RuntimeError("in the application")

    scene.replica.watch("note", fail)
    scene.start()
    with scene.replica.transaction() as db:
        db.execute("insert into note (a, b) values ('a', 'b')")
    assert scene.replica.wait_until_synced(DEADLINE_S)
    assert "in the application" in caplog.text


def test_watching_can_end(scene: Scene) -> None:
    seen: list[str] = []
    scene.replica.watch("note", seen.append)()
    scene.start()
    with scene.replica.transaction() as db:
        db.execute("insert into note (a, b) values ('a', 'b')")
    assert scene.replica.wait_until_synced(DEADLINE_S)
    assert seen == []


class Flood(ScriptedStream):
    """Pages that do not follow, one after the other, as long as anybody takes them."""

    given = 0

    def __init__(self) -> None:
        super().__init__()
        self.is_left = threading.Event()

    def __iter__(self) -> Iterator[LiveEvent]:
        page = encode(Page(cursor="another", stamp="", schemas={})).decode()
        try:
            while self.given < 1_000:
                self.given += 1
                yield LiveEvent(name="page", data=page)
        finally:
            self.is_left.set()


def test_who_reads_a_stream_that_nobody_wants_any_more_lets_its_connection_go(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = Flood()
    streams = iter([flood])
    usual = scene.transport.live
    monkeypatch.setattr(scene.transport, "live", lambda asked: next(streams, None) or usual(asked))
    scene.start()
    assert flood.is_left.wait(DEADLINE_S)
    assert flood.given <= 2 * QUEUE_MAX
    assert scene.replica.wait_until_synced(DEADLINE_S)
