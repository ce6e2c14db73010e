"""`reunite trim`: let old parts of a hub's log go."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, say
from reunite.cli.typed import duration_s


def trim(
    database: DatabaseArgument,
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="Such as 30d, 12h or 2w."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Remove the log older than an age that every replica seen since then has read.

    History goes with it. A replica that comes back later gets a snapshot and keeps its outbox.
    """
    seconds = duration_s(older_than)
    with open_hub(database) as hub:
        removed = hub.trim(older_than_s=seconds)
    if as_json:
        emit({"removed": removed})
    else:
        say(f"Removed {counted(removed, 'change')} from the log.")
