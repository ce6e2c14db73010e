"""`reunite restore`: a hub again from a backup, so that its replicas notice and lose nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.opening import Kind, check_is_no_url, file_of, kind_of
from reunite.cli.options import JsonOption, ReplaceOption
from reunite.cli.progress import page_bar
from reunite.cli.screen import emit, note, say
from reunite.errors import CallerError, ReuniteError
from reunite.stores.sql.backup import restore as restore_from


def restore(
    source: Annotated[
        str, typer.Argument(metavar="BACKUP", help="A copy that `reunite backup` made of a hub.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="DATABASE", help="The hub's database, an SQLite file.")
    ],
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a backup the hub's database, with a new epoch.

    Replicas notice at their next sync: they take its rows, and send what still waits in them.
    What had reached the hub after the backup was made is not in it.
    With --replace, a copy of the database that was there is kept beside it.
    """
    instead = (
        "restore a dump of it with `pg_restore`. In another database its log begins another epoch "
        "by itself."
    )
    backup, database = file_of(source, instead), file_of(target, instead)
    if kind_of(backup) is not Kind.HUB:
        raise CallerError(
            f"{backup} is no copy of a hub's database; the copy of a replica is used as it is, "
            "and takes a new identity when it syncs."
        )
    check_is_no_url(database)
    if _is_replica(database):
        raise CallerError(f"{database} is a replica: name the hub's database instead.")
    with page_bar(f"Restoring {database}") as on_pages:
        former = restore_from(backup, database, replace=replace, on_pages=on_pages)
    if as_json:
        emit({"restored": str(database), "former": None if former is None else str(former)})
        return
    say(f"{database} is as it was when {backup} was made, with a new epoch.")
    if former is not None:
        say(f"What it was until now is in {former}.")
    note("Tokens are those of the backup too: `reunite token list` shows which are valid now.")


def _is_replica(database: Path) -> bool:
    """Whether there is a replica of this name; what cannot be read is none."""
    try:
        return kind_of(database) is Kind.REPLICA
    except (ReuniteError, sqlite3.Error):
        return False
