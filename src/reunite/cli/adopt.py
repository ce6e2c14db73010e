"""`reunite adopt`: take over a database that another library kept in sync."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from reunite.cli.opening import shown
from reunite.cli.options import JsonOption
from reunite.cli.screen import counted, emit, say
from reunite.errors import CallerError

app = typer.Typer(
    name="adopt",
    no_args_is_help=True,
    help="Take over a database that another library kept in sync.",
)


class Side(StrEnum):
    """Which side of dbsync a database was."""

    NODE = "node"
    SERVER = "server"


@app.callback()
def _main() -> None:
    pass


@app.command()
def dbsync(
    database: Annotated[
        str,
        typer.Argument(
            metavar="DATABASE", help="A database that dbsync made: an SQLite file, or a URL."
        ),
    ],
    side: Annotated[
        Side | None,
        typer.Option("--side", help="What it was, where it does not say so by itself."),
    ] = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop dbsync's tables when it is done.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take over a node's or a server's database of dbsync, with what was not pushed.

    Rows stay as they are. Nodes go on with the credentials they have; adopt the server first.
    """
    try:
        from reunite.dropin.dbsync.adopting import adopt
    except ImportError as exc:
        raise CallerError("Install reunite[sqlalchemy] to adopt a database of dbsync.") from exc
    found = adopt(database, side=side, drop=drop)
    if as_json:
        emit({"adopted": shown(database), **found._asdict()})
        return
    say(
        f"{shown(database)} was a {found.side} of dbsync at version {found.version}: "
        f"{counted(len(found.tables), 'table')}, {counted(found.nodes, 'node')}"
        + (f", {counted(found.unpushed, 'unpushed change')}." if found.side == "node" else ".")
    )
