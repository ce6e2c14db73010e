"""`reunite demo`, which is what `make run` starts: a sync on real data, told step by step.

The files stay in a folder, `./demo` unless told otherwise. Each run begins with fresh copies of the
same data, so that the story is the same; only the data as it was built is kept from run to run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.flights import build_flights
from reunite.cli.progress import progress_bars
from reunite.cli.screen import say
from reunite.cli.serve import numbering
from reunite.cli.story import Places, Story
from reunite.cli.tracking import track_file
from reunite.errors import CallerError
from reunite.hub import Hub
from reunite.interrupts import wait_for_interrupt
from reunite.replica import SyncProgress
from reunite.stores.sql.database import file_lock

FOLDER = Path("demo")
SMALL_ROWS_MAX = 2_000


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's files go.")] = FOLDER,
    port: Annotated[
        int, typer.Option(help="The hub's port; another one is taken if it is in use.")
    ] = 8000,
    small: Annotated[
        bool, typer.Option("--small", help=f"Take {SMALL_ROWS_MAX:,} rows of each table only.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End when the story is told.")] = False,
) -> None:
    """Tell the story of a sync on real data: two devices edit offline and reunite.

    The data are all flights that left New York City in 2013, 336,776 of them.
    The hub goes on running afterwards, for you to play with, until Ctrl-C.
    """
    tell(folder, port=port, small=small, once=once)


def tell(
    folder: Path, *, port: int = 8000, small: bool = False, once: bool = False, elsewhere: str = ""
) -> None:
    """Tell the story; `elsewhere` is a line for the end about what else there is to look at.

    Raises CallerError when the folder is none or busy, or the data is missing.
    """
    if folder.exists() and not folder.is_dir():
        raise CallerError(f"{folder} is not a folder: name another one with --folder.")
    folder.mkdir(parents=True, exist_ok=True)
    places = Places(
        hub=folder / "flights.db",
        laptop=folder / "laptop.db",
        tablet=folder / "tablet.db",
        command=_command(),
    )
    with _alone_in(folder):
        for path in (places.hub, places.laptop, places.tablet):
            _remove(path)
        shutil.copyfile(_built(folder, small=small), places.hub)
        with Hub(places.hub) as hub:
            tracked = track_file(hub, places.hub)
            with Story(hub, places, port=port) as story, numbering(hub):
                story.tell(tracked)
                if not once:
                    story.say_what_to_try(elsewhere)
                    with suppress(KeyboardInterrupt):
                        wait_for_interrupt()
    if not once:
        say(f"\nStopped. The files stay in {folder}; the next run begins anew.")


def _built(folder: Path, *, small: bool) -> Path:
    """The data as it was built, now or in an earlier run."""
    path = folder / ("original-small.db" if small else "original.db")
    if path.exists():
        return path
    with progress_bars(path.name) as on_progress:
        done: dict[str, int] = {}

        def on_rows(table: str, rows: int) -> None:
            done[table] = rows
            on_progress(SyncProgress(phase="build", rows=sum(done.values()), bytes=0))

        try:
            build_flights(path, rows_max=SMALL_ROWS_MAX if small else None, on_progress=on_rows)
        except FileNotFoundError as exc:
            raise CallerError(str(exc)) from exc
    return path


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep a second demo out of the folder while the block runs, or until the process dies."""
    busy = f"Another demo runs in {folder}: stop it, or name another folder with --folder."
    with file_lock(folder / "running.db", busy=CallerError(busy)):
        yield


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-sync", "-token"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _command() -> str:
    """How the reader calls this command in a terminal."""
    if shutil.which("reunite"):
        return "reunite"
    beside = Path(sys.executable).with_name("reunite")
    return os.path.relpath(beside if beside.exists() else sys.argv[0])
