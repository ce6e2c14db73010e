"""`reunite console`: a link that opens a hub's console."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import emit, note, say
from reunite.hub import Hub


def console(
    database: DatabaseArgument,
    url: Annotated[
        str,
        typer.Option(help="The hub's URL, as the browser reaches it: what `/console` follows."),
    ] = "http://127.0.0.1:8000",
    user: Annotated[
        str, typer.Option(help="In whose name it is used; the audit trail names them.")
    ] = "owner",
    as_json: JsonOption = False,
) -> None:
    """Print a link to the console of a hub that is being served.

    Whoever opens it within ten minutes may see and change everything; it opens once.
    Users of the hub with the role console:read or console:write need no link.
    """
    with open_hub(database) as hub:
        link = console_link(hub, url, user)
    if as_json:
        emit({"console": link})
    else:
        say(link)
        note("It opens once, within ten minutes.")


def console_link(hub: Hub, url: str, user: str = "owner") -> str:
    """A link with a new code, behind the sign that browsers send to nobody."""
    from reunite.console import one_time_code

    return f"{url.rstrip('/')}/console/#code={one_time_code(hub, user)}"
