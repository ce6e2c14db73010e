"""`reunite top`: the console's overview in the terminal, again and again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, moment, out, readable, visible

if TYPE_CHECKING:
    from reunite.console.overview import Overview

_MEGABYTE = 1_000_000


def top(
    database: DatabaseArgument,
    every: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.2, max=3_600)
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how a hub stands, again and again until Ctrl-C.

    Replicas that are behind, what was refused, conflicts, and the newest pushes and pulls.
    Rates and the sync log are there if the hub is served with its console, as `reunite serve` does.
    Where stdout is no terminal, it looks once. With --json, one object is printed for each look.
    """
    console = out()
    looks_once = once or not (console.is_terminal or as_json)
    with open_hub(database) as hub, _until_ended() as ended:

        def look() -> Overview:
            return overview_of(hub)

        if as_json:
            emit(look())
            while not looks_once and not ended.wait(every):
                emit(look())
            return
        if looks_once:
            console.print(screen_of(look()))
            return
        with Live(screen_of(look()), console=console, screen=True, auto_refresh=False) as live:
            while not ended.wait(every):
                live.update(screen_of(look()), refresh=True)


def overview_of(hub: Any) -> Overview:
    """What the console's overview shows."""
    from reunite.console.operations import Desk, Nothing
    from reunite.console.overview import overview
    from reunite.console.visitors import READ, Visitor

    visitor = Visitor(user="owner", can=(READ,), via="file")
    return overview(Desk(hub, visitor, if_match=None, base=""), Nothing())


def screen_of(found: Overview) -> RenderableType:
    """The overview as a terminal shows it."""
    hub, replicas = found.hub, found.replicas
    size = "" if hub.database_bytes is None else f" of {hub.database_bytes / _MEGABYTE:,.1f} MB"
    head = Text.assemble(
        ("reunite ", "bold"),
        f"{hub.version}   {hub.database}{size}   commit {hub.seq:,}   {moment(found.at_ms)}",
    )
    figures = Table.grid(padding=(0, 3))
    figures.add_row(
        _figure("replicas", replicas.total),
        _figure("current", replicas.current, "green"),
        _figure("behind", replicas.behind, "yellow" if replicas.behind else ""),
        _figure("silent", replicas.silent, "yellow" if replicas.silent else ""),
        _figure("outdated", replicas.outdated, "red" if replicas.outdated else ""),
    )
    rates = found.rates
    figures.add_row(
        _figure("pushes", rates.pushes),
        _figure("pulls", rates.pulls),
        _figure("changes", rates.changes),
        _figure("rows", rates.rows),
        _figure("errors", rates.errors, "red" if rates.errors else ""),
    )
    figures.add_row(
        _figure("conflicts open", found.conflicts.open, "yellow" if found.conflicts.open else ""),
        _figure("refused", found.parked.open, "yellow" if found.parked.open else ""),
        _figure("tables", found.tables.tracked),
    )
    minutes = counted(rates.window_s // 60, "minute")
    parts: list[RenderableType] = [
        head,
        figures,
        Text(f"pushes to errors: within {minutes}", style="dim"),
    ]
    parts += [Text(f"! {visible(one.text)}", style="yellow") for one in found.warnings]
    if replicas.furthest_behind:
        parts.append(
            _table(
                ("behind", "replica", "principal", "seen"),
                [
                    (f"{one.behind:,}", one.name or one.id, one.principal, moment(one.seen_ms))
                    for one in replicas.furthest_behind
                ],
            )
        )
    if found.sync:
        parts.append(
            _table(
                ("at", "what", "who", "replica", "changes", "rows", "ms", "came to"),
                [
                    (
                        moment(one.at_ms),
                        one.operation,
                        one.principal,
                        one.replica_name or "",
                        f"{one.changes:,}",
                        f"{one.rows:,}",
                        f"{one.ms:,.1f}",
                        one.code or one.status,
                    )
                    for one in found.sync
                ],
            )
        )
    return Group(*parts)


def _figure(name: str, value: int, style: str = "") -> Text:
    return Text.assemble((f"{value:,}", f"bold {style}".strip()), f" {name}")


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(readable(cell)) for cell in row))
    return table


@contextmanager
def _until_ended() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()

    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    former = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
