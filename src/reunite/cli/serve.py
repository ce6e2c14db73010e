"""`reunite serve`: a hub over a database, for as long as the command runs.

With --workers the hub of this process numbers and trims, and those of the workers answer.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from reunite.cli.console import console_link
from reunite.cli.logs import LogForm, start_log
from reunite.cli.options import TOKEN_VARIABLE, DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, note, say
from reunite.cli.tracking import Tracked, hub_over
from reunite.cli.typed import duration_s
from reunite.errors import CallerError, NotAuthenticatedError, StorageUnavailableError
from reunite.hub import Hub

logger = logging.getLogger("reunite.hub")

# How long what another program commits may wait for its number.
NUMBER_EVERY_S = 1.0

SERVE_LABEL = "serve"

# The largest number that TCP has for a port.
PORT_MAX = 65_535

# `reunite.server.workers.WORKERS_MAX`, which is only there with the extra.
WORKERS_MAX = 64


def serve(
    database: DatabaseArgument,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for other machines as well.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            help="The port; 0 takes any free one.",
            envvar="REUNITE_PORT",
            min=0,
            max=PORT_MAX,
        ),
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar=TOKEN_VARIABLE,
            show_envvar=True,
            help="Accept this token, of 16 characters or more, instead of making a new one.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Trim the log by itself, as `reunite trim --older-than` does: 30d, 12h or 2w.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(help="How many processes answer.", min=1, max=WORKERS_MAX),
    ] = 1,
    metrics: Annotated[
        bool,
        typer.Option("--metrics", help="Answer GET metrics for Prometheus, to whoever asks."),
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Another limit of this server, such as principal_rate_max=1000 where many devices "
            "share a token; may be given repeatedly.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE.COLUMN",
            help="A column that looks like a secret (a password, a key) and is to sync all the "
            "same; may be given repeatedly.",
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy in front, or a network of them, whose X-Forwarded-For is believed; "
            "nobody's is else. May be given repeatedly.",
        ),
    ] = None,
    log: Annotated[
        LogForm | None,
        typer.Option(help="Write a line for each request to stderr: who, what, and how it ended."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a database to replicas until Ctrl-C.

    Tracks every table that has a primary key, and says which it leaves out and why. Columns that
    look like secrets stay here, unless --include names them.
    Prints the URL and a token; tokens of earlier starts stay valid.
    The console is at /console: the link that is printed opens it once, within ten minutes.
    With --workers, that many processes share the port; one that dies is replaced.
    With --metrics, requests, refusals and times are counted; with --log, they are written down.
    Neither tells values of rows or tokens.
    With --json, one line {"url", "token", "console"} is printed when the hub listens.
    """
    from reunite import server
    from reunite.console import console_routes

    if metrics and workers > 1:
        raise CallerError(
            "Each worker counts for itself, and a scrape would meet any of them: serve one worker "
            "a port, or take --metrics away."
        )
    limits = limits_of(limit or ())
    if log is not None:
        start_log(log)
    kept = None if keep is None else timedelta(seconds=duration_s(keep))
    hub, tracked = hub_over(database, keep=kept, include=included(include or ()))
    with hub:
        chosen = accepted_token(hub, token) if token else None

        def announce(url: str) -> None:
            # Not earlier: a start that finds its port in use leaves no token behind.
            token = chosen or hub.create_token(label=SERVE_LABEL)
            _announce(url, token, console_link(hub, url), as_json=as_json)

        describe(tracked)
        describe_rules(hub, tracked)
        if not _is_loopback(host):
            note("Tokens and rows travel as they are: put a proxy with TLS in front of this hub.")
        with numbering(hub):
            if workers == 1:
                server.serve(
                    hub,
                    host,
                    port,
                    on_listening=announce,
                    metrics=metrics,
                    routes=console_routes,
                    proxies=proxy or (),
                    **limits,
                )
            else:
                server.serve_in_workers(
                    partial(hub_of_worker, database, log),
                    host,
                    port,
                    workers=workers,
                    on_listening=announce,
                    on_lost=note,
                    routes=console_routes,
                    proxies=proxy or (),
                    **limits,
                )
    note("Stopped.")


def included(names: Sequence[str]) -> dict[str, list[str]]:
    """The columns by table that options like `account.api_key` name."""
    found: dict[str, list[str]] = {}
    for name in names:
        table, _, column = name.rpartition(".")
        if not table or not column:
            raise typer.BadParameter(f"{name!r} is not of the form TABLE.COLUMN.")
        found.setdefault(table, []).append(column)
    return found


def limits_of(texts: Sequence[str]) -> dict[str, int]:
    """The limits that options like `principal_rate_max=1000` spell."""
    from reunite.server.limits import ServerLimits

    known = ServerLimits.__struct_fields__
    found: dict[str, int] = {}
    for text in texts:
        name, _, number = text.lower().partition("=")
        if name not in known:
            raise typer.BadParameter(f"There is no limit {name!r}: there are {', '.join(known)}.")
        if not (number.isascii() and number.isdecimal() and int(number)):
            raise typer.BadParameter(f"{text!r} is not of the form NAME=NUMBER, of 1 or more.")
        found[name] = int(number)
    return found


@contextmanager
def hub_of_worker(database: str, log: LogForm | None = None) -> Iterator[Hub]:
    """The hub of a worker: its tables are tracked already, and it leaves trimming to another."""
    if log is not None:
        start_log(log)
    with Hub(database) as hub:
        hub.adopt()
        hub.track_newcomers()
        yield hub


def _announce(url: str, token: str, console: str, *, as_json: bool) -> None:
    if as_json:
        emit({"url": url, "token": token, "console": console})
        return
    say(f"The hub listens at {url}")
    say(f"Token: {token}")
    say(f"On a device: reunite clone {url} FILE --token {token}")
    say(f"Console, within ten minutes: {console}")
    say("Ctrl-C stops it; replicas go on working and sync later.")


def describe(tracked: Tracked) -> None:
    """Say which tables a hub tracks, and which it leaves out and why."""
    note(f"Tracking {counted(len(tracked.tables), 'table')}: {', '.join(tracked.tables)}.")
    for reason in tracked.left_out.values():
        note(f"Left out: {reason}")
    for sentence in tracked.without_key:
        note(f"Left out, in {sentence}")
    if tracked.withheld:
        note(
            f"Not tracked, since they look like secrets: {', '.join(tracked.withheld)}. "
            f"--include {tracked.withheld[0]} syncs one."
        )


def describe_rules(hub: Hub, tracked: Tracked) -> None:
    """Say whether there are rules, and which tables are closed for having none."""
    rules = hub.rules()
    if not rules and hub.directory.is_closed():
        tables = sorted({one.table_name for one in hub.directory.permissions()})
        note(
            "Stored permissions say who may do what; `reunite permission list` shows them. "
            f"Tables with some: {', '.join(tables) or 'none, so that all are closed'}."
        )
        return
    if not rules:
        note("There are no rules: whoever has a token may read and write all of it.")
        return
    note(
        "Rules say who may read and write which rows. A token made here is for owner, who has no "
        "roles and no claims; `reunite token create --role … --claim …` makes others."
    )
    closed = [table for table in tracked.tables if table not in rules]
    if closed:
        note(f"Closed, since other tables have rules and these have none: {', '.join(closed)}.")


def accepted_token(hub: Hub, chosen: str) -> str:
    """The chosen token, which the hub accepts from now on."""
    with suppress(NotAuthenticatedError):
        hub.authenticate(chosen)
        return chosen
    return hub.create_token(label=SERVE_LABEL, token=chosen)


@contextmanager
def numbering(hub: Hub) -> Iterator[None]:
    """Number what other programs write, soon after they commit, and trim what is due, while the
    block runs."""
    is_over = threading.Event()

    def number() -> None:
        told = ""
        while not is_over.wait(NUMBER_EVERY_S):
            try:
                hub.number()
                hub.keep_up()
            except StorageUnavailableError:
                pass  # a database that is locked for the moment is numbered a second later
            except Exception as exc:
                if repr(exc) != told:
                    told = repr(exc)
                    logger.warning("numbering and trimming fail, and are tried again: %s", exc)

    thread = threading.Thread(target=number, name="reunite-numbering")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
