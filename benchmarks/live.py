"""Live: one commit to many replicas, against a bare broadcast; and to one, against a round trip.

Clients of a process of their own hold the streams of registered replicas and count events; they
hold the streams of a bare broadcast server in the same way. A commit is a push of one row by
another replica, from the request to the last stream that has it; on the bare server the event of
the same bytes is sent by a request. Hub, bare server, clients and this process share the machine.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

from benchmarks import standard
from benchmarks.bare_stream import BareServer
from benchmarks.crowd import Crowd
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn
from benchmarks.hub_process import HubProcess
from reunite import Replica

CROWDS = (1, 100, 1_000)
VIEWS = 10
ROWS = 1_000
COMMITS = 10

BARE_SHARE_MIN = 0.5
VIEWS_TIMES_MAX = 1.5
OWNERS_TIMES_MAX = 3.0
ROUND_TRIPS_MAX = 3.0
STREAM_KB_MAX = 40.0

_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")


def run(settings: Settings) -> Iterator[Figure]:
    """Fan-out for crowds of several sizes, for many views, to one replica's file; and memory."""
    sizes = [settings.scaled(size, max(1, size // 50)) for size in CROWDS]
    commits = settings.scaled(COMMITS, 2) * settings.rounds
    yield from _fan_out(settings, sizes, commits)
    yield from _many_views(settings, sizes[-1], commits)
    yield from _one_replica(settings, commits * 2)


def _fan_out(settings: Settings, sizes: list[int], commits: int) -> Iterator[Figure]:
    with BareServer() as bare:
        for size in sizes:
            with ExitStack() as stack:
                scene = stack.enter_context(Scene(settings.folder, f"one-{size}"))
                before_kb = scene.resident_kb()
                crowd = scene.crowd([None] * size)
                after_kb = scene.resident_kb()
                bare_crowd = stack.enter_context(Crowd(bare.url))
                bare_crowd.open([_head("/stream")] * size)
                body = scene.event_size()
                client = stack.enter_context(httpx2.Client(base_url=bare.url, trust_env=False))

                def send(client: httpx2.Client = client, body: bytes = body) -> None:
                    client.post("/send", content=body).raise_for_status()

                pairs = Pairs()
                for number in range(commits + 1):
                    scene.catch_up()
                    settings.wait_until_idle()
                    ours, theirs = in_turn(
                        number,
                        lambda c=crowd, s=scene, n=size: delivered(c, s.commit, n),  # type: ignore[misc]
                        lambda c=bare_crowd, s=send, n=size: delivered(c, s, n),  # type: ignore[misc]
                    )
                    if number:
                        pairs.add(measured=ours, limit=theirs)
                yield pairs.speed(
                    "live",
                    f"one commit to {size:,} replicas",
                    limit="bare broadcast",
                    aim=BARE_SHARE_MIN if size == sizes[-1] else None,
                )
        if after_kb:
            yield _memory((after_kb - before_kb) / size, size)


def _many_views(settings: Settings, size: int, commits: int) -> Iterator[Figure]:
    """The same crowd with one view, with ten, and with one for each; a commit that concerns one
    replica of those beside a single replica."""
    with ExitStack() as stack:
        one, ten, each, single = (
            stack.enter_context(Scene(settings.folder, name))
            for name in ("one", "ten", "each", "single")
        )
        crowds = {
            one: one.crowd([None] * size),
            ten: ten.crowd([_all_and(number % VIEWS) for number in range(size)]),
            each: each.crowd([_shop(number) for number in range(size)]),
            single: single.crowd([_shop(0)]),
        }
        views, owners = Pairs(), Pairs()
        for number in range(commits + 1):
            for scene in (one, ten, each, single):
                scene.catch_up()
            settings.wait_until_idle()
            with_ten, with_one = in_turn(
                number,
                lambda: delivered(crowds[ten], ten.commit, size),
                lambda: delivered(crowds[one], one.commit, size),
            )
            of_many, alone = in_turn(
                number,
                lambda n=number: delivered(crowds[each], lambda: each.commit(n % size), 1),  # type: ignore[misc]
                lambda: delivered(crowds[single], lambda: single.commit(0), 1),
            )
            if number:
                views.add(measured=with_ten, limit=with_one)
                owners.add(measured=of_many, limit=alone)
    yield views.times("live", f"{VIEWS} views", limit="one view", aim=VIEWS_TIMES_MAX)
    name = f"one of {size:,} equality views"
    yield owners.times("live", name, limit="one view", aim=OWNERS_TIMES_MAX)


def _one_replica(settings: Settings, commits: int) -> Iterator[Figure]:
    """From a write to the moment at which another replica's file shows it."""
    with ExitStack() as stack:
        scene = stack.enter_context(Scene(settings.folder, "file"))
        replica = stack.enter_context(
            Replica.clone(settings.folder / "live.db", scene.url, token=scene.token)
        )
        shown = threading.Event()
        replica.watch(standard.TABLE, lambda _: shown.set())
        replica.start()
        assert replica.wait_until_synced(30)
        writer = stack.enter_context(standard.connect(scene.database))

        def write() -> None:
            writer.execute("UPDATE parcel SET quantity = quantity + 1 WHERE id = 1")

        for name, commit, aim in (
            ("another program's write to applied", write, ROUND_TRIPS_MAX),
            ("another replica's push to applied", scene.commit, None),
        ):
            pairs = Pairs()
            for number in range(commits + 1):
                scene.catch_up()
                settings.wait_until_idle()
                trip = _until(scene.make_round_trip)
                shown.clear()
                applied = _until(commit, shown)
                if number:
                    pairs.add(measured=applied, limit=trip)
            yield pairs.times("live", name, limit="round trip", aim=aim)


def _until(work: Callable[[], object], shown: threading.Event | None = None) -> Spent:
    start_s = time.monotonic()
    work()
    if shown is not None:
        assert shown.wait(30), "it was not applied"
    return Spent(time.monotonic() - start_s, 0.0)


def delivered(crowd: Crowd, commit: Callable[[], object], events: int) -> Spent:
    """From a commit to the last stream that has it."""
    crowd.expect(events)
    start_s = time.monotonic()
    commit()
    return Spent(crowd.moment() - start_s, 0.0)


def _memory(kb: float, size: int) -> Figure:
    ratio = kb / STREAM_KB_MAX
    return Figure(
        benchmark="live",
        name=f"memory of an idle stream, of {size:,}",
        unit="kB",
        measured=kb,
        limit=STREAM_KB_MAX,
        limit_name="the aim",
        ratio=ratio,
        spread=(ratio, ratio),
        aim=1.0,
        is_ceiling=True,
    )


def _shop(number: int) -> dict[str, Any]:
    return {"field": "shop", "operator": "exact", "value": number}


def _all_and(number: int) -> dict[str, Any]:
    """An expression of its own that is true for all rows."""
    return {"field": "id", "operator": "gt", "value": -1 - number}


def _head(path: str, **headers: str) -> str:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{''.join(lines)}\r\n"


class Scene(ExitStack):
    """A hub, registered replicas with their streams, and one that pushes."""

    def __init__(self, folder: Path, name: str, database: str | None = None) -> None:
        """Over a new SQLite file, or the database of a URL that has the standard rows."""
        super().__init__()
        self.database = folder / f"hub-{name}.db"
        if database is None:
            standard.build(self.database, ROWS)
        self._hub = self.enter_context(HubProcess(database or self.database))
        self.url, self.token = self._hub.url, self._hub.token
        self._client = self.enter_context(
            httpx2.Client(
                base_url=self.url,
                trust_env=False,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=60,
            )
        )
        self._pusher = self.enter_context(
            Replica.clone(folder / f"pusher-{name}.db", self.url, token=self.token)
        )
        self._written = 0

    def crowd(self, wheres: list[dict[str, Any] | None]) -> Crowd:
        """A stream for each of these views of the table."""
        cursors: dict[bytes, str] = {}
        heads = []
        for where in wheres:
            asked = {} if where is None else {standard.TABLE: where}
            replica = self._post("register", {"protocol": 1, "name": "crowd"})["replica"]
            key = msgspec.json.encode(asked)
            if key not in cursors:
                cursors[key] = self._checkpoint(replica, asked)
            heads.append(
                _head(
                    f"/v1/live?protocol=1&replica={replica}&where={quote(key)}",
                    Authorization=f"Bearer {self.token}",
                    Last_Event_ID=cursors[key],
                )
            )
        crowd = self.enter_context(Crowd(self.url))
        crowd.open(heads)
        return crowd

    def commit(self, shop: int = 0) -> None:
        """A push of one row, which another replica has written."""
        self._written += 1
        with self._pusher.transaction() as db:
            db.execute(
                "UPDATE parcel SET quantity = quantity + 1, shop = ? WHERE id = ?",
                (shop, 1 + shop % ROWS),
            )
        self._pusher.push()

    def catch_up(self) -> None:
        """The one that pushes reads what there is, as a live one does all the time: what others
        did since a replica last read is looked at with every push."""
        self._pusher.pull()

    def make_round_trip(self) -> None:
        """The least that this server and this client do, on a connection that is open."""
        self._client.get("/livez").raise_for_status()

    def event_size(self) -> bytes:
        """An event of as many bytes as the page of one row has."""
        row = msgspec.json.encode(standard.row(1))
        return b"event: page\ndata: " + row + b"x" * 560 + b"\n\n"

    def resident_kb(self) -> float:
        """What the hub holds in memory; 0 where there is no /proc."""
        try:
            status = Path(f"/proc/{self._hub.pid}/status").read_text()
        except OSError:
            return 0.0
        found = _RESIDENT.search(status)
        return float(found[1]) if found else 0.0

    def _checkpoint(self, replica: str, where: dict[str, Any]) -> str:
        cursor: str | None = None
        while True:
            asked = {"protocol": 1, "replica": replica, "known": 0, "cursor": cursor}
            page = self._post("pull", {**asked, "where": where})
            cursor = page["cursor"]
            if page.get("checkpoint"):
                return str(cursor)

    def _post(self, operation: str, message: dict[str, Any]) -> dict[str, Any]:
        response = self._client.post(f"/v1/{operation}", json=message)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    __hash__ = object.__hash__
