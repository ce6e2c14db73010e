"""`reunite uninstall`: leave a database as it was."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, note, say
from reunite.errors import CallerError


def uninstall(
    database: DatabaseArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take triggers, log and tokens out of a hub's database; its rows stay as they are.

    The history is gone then, and replicas cannot sync with this database any more.
    """
    if as_json and not yes and not sys.stdin.isatty():
        raise CallerError("Nobody can be asked here: give --yes to uninstall without a question.")
    with open_hub(database) as hub:
        status = hub.status()
        note(
            f"{shown(database)} has {counted(status.changes, 'change')} in its log and "
            f"{counted(len(status.replicas), 'replica')}. The log goes; replicas can never sync "
            "with it again."
        )
        if not yes:
            typer.confirm("Uninstall?", abort=True, err=True)
        hub.uninstall()
    if as_json:
        emit({"uninstalled": shown(database)})
    else:
        say(f"{shown(database)} is as it was before reunite came.")
