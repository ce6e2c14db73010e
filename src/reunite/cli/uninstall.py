"""`reunite uninstall`: leave a database as it was."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, note, say
from reunite.errors import CallerError
from reunite.stores.sql.database import connect_to_look
from reunite.stores.sql.store import is_postgresql

# How the file kept its journal before it was a hub's.
_FORMER_MODE = "SELECT value FROM reunite_meta WHERE name = 'former'"


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
        has_file = not is_postgresql(database)
        former = _setting(database, _FORMER_MODE) if has_file else None
        hub.uninstall()
    if as_json:
        emit({"uninstalled": shown(database)})
    elif has_file and former not in (None, _setting(database, "PRAGMA journal_mode")):
        say(
            f"{shown(database)} is without reunite. It is still in WAL mode, since another program "
            f"has it open: when that has ended, `sqlite3 {shown(database)} "
            f'"pragma journal_mode = {former}"` makes it as it was.'
        )
    else:
        say(f"{shown(database)} is as it was before reunite came.")


def _setting(database: str | Path, question: str) -> str:
    """What an SQLite file answers to a question for one value."""
    with closing(connect_to_look(database)) as connection:
        return str(connection.execute(question).fetchone()[0])
