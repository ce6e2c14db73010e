"""The backend of the demos: a hub over one SQLite file, and the pages that talk to it.

    /              the pages, in `pages/`
    /sync          the hub: what the pages' replicas push to and pull from
    /sync/console  the console, for whoever runs the hub
    /token?name=   who asks is who they say; a real backend asks for a password first

There is no route for data: pages write their own replicas, and what the backend has to say about
it stands in hooks and jobs.
"""

from __future__ import annotations

import datetime
import itertools
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from data import build
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reunite import Hub, Veto
from reunite.cli.console import console_link

HERE = Path(__file__).parent
UPLOT = HERE.parents[1] / "js/node_modules/uplot/dist"

SAMPLE_EVERY_S, SAMPLES_KEPT = 1.0, 300
NEWS_EVERY_S, NEWS_KEPT = 6.0, 30
LOG_KEPT = datetime.timedelta(hours=1)


@contextmanager
def demos(folder: Path) -> Iterator[Starlette]:
    """The application of all demos over a fresh database in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "web.db"
    for ending in ("", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    news = itertools.cycle(build(file))
    with Hub(file, keep=LOG_KEPT) as hub:
        hub.track("airline")
        hub.track("flight")
        hub.track("task", merge={"note": "ask"})  # of two notes, people choose
        for table in ("message", "notification", "sample", "product", "cart", "purchase"):
            hub.track(table)
        add_hooks(hub)
        add_jobs(hub, file, news)
        hub.start_jobs()
        app = application(hub)
        app.state.console = lambda url: console_link(hub, f"{url}/sync")
        yield app


def add_hooks(hub: Hub) -> None:
    @hub.on_insert("purchase")
    def take_from_stock(change, db) -> None:
        """Runs inside the push's transaction: all of it happens, or nothing."""
        for item in change.row["items"]:
            wanted = (item["quantity"], item["product_id"])
            found = db.execute("select name, stock from product where id = ?", wanted[1:])
            ((name, stock),) = found.fetchall()
            if stock < item["quantity"]:
                left = "none is left" if stock == 0 else f"only {stock} left"
                raise Veto(f"{name}: {left}, somebody was quicker.")
            db.execute("update product set stock = stock - ? where id = ?", wanted)
        db.execute("update purchase set status = 'Confirmed' where id = ?", change.key)


def add_jobs(hub: Hub, file: Path, news: Iterator[str]) -> None:
    measure = Measure()

    @hub.every(seconds=SAMPLE_EVERY_S)
    def sample_machine() -> None:
        at = time.time_ns() // 1_000_000
        write(file, "insert or replace into sample values (?, ?, ?, ?)", (at, *measure()))
        last = "select at from sample order by at desc limit 1 offset ?"
        write(file, f"delete from sample where at <= ({last})", (SAMPLES_KEPT,))
        hub.number()

    @hub.every(seconds=NEWS_EVERY_S)
    def tell_news() -> None:
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write(file, "insert into notification (body, at) values (?, ?)", (next(news), at))
        last = "select id from notification order by id desc limit 1 offset ?"
        write(file, f"delete from notification where id <= ({last})", (NEWS_KEPT,))
        hub.number()


def write(file: Path, statement: str, values: tuple[object, ...]) -> None:
    """What the backend writes, it writes as it likes: the hub's triggers see it."""
    with closing(sqlite3.connect(file, timeout=30)) as db, db:
        db.execute(statement, values)


class Measure:
    """How busy this machine is: processors and memory in percent, and the load."""

    def __init__(self) -> None:
        self._busy, self._all = self._times()

    def __call__(self) -> tuple[float | None, float | None, float]:
        busy, total = self._times()
        passed = total - self._all
        cpu = round(100 * (busy - self._busy) / passed, 1) if passed > 0 else None
        self._busy, self._all = busy, total
        return cpu, self._memory(), round(os.getloadavg()[0], 2)

    @staticmethod
    def _times() -> tuple[int, int]:
        try:
            first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        except OSError:  # not on Linux: the load is all that there is
            return 0, 0
        times = [int(word) for word in first.split()[1:9]]
        return sum(times) - times[3] - times[4], sum(times)

    @staticmethod
    def _memory() -> float | None:
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return round(100 * (1 - kilobytes["MemAvailable"] / kilobytes["MemTotal"]), 1)


def application(hub: Hub) -> Starlette:
    def answer_token(request: Request) -> Response:
        name = request.query_params.get("name", "")
        if not (name.isalpha() and len(name) < 20):
            return JSONResponse({"detail": "A name has letters only."}, status_code=400)
        return JSONResponse({"token": hub.create_token(name, label="demo")})

    routes = [
        Mount("/sync", hub.asgi(console=True)),
        Route("/token", answer_token, methods=["POST"]),
        Mount("/", StaticFiles(directory=HERE / "pages", html=True)),
    ]
    if UPLOT.is_dir():
        routes.insert(0, Mount("/uplot", StaticFiles(directory=UPLOT)))
    return Starlette(routes=routes)
