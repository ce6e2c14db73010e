"""`reunite sync`: push, pull and merge one replica."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.choosing import TableOption, WhereOption, chosen
from reunite.cli.opening import check_is_replica, open_replica
from reunite.cli.options import FileArgument, JsonOption, TokenOption
from reunite.cli.progress import progress_bars
from reunite.cli.screen import counted, emit, say
from reunite.cli.token_file import remember_token, remembered_token
from reunite.cli.watching import watch
from reunite.replica import SyncReport


def sync(
    file: FileArgument,
    token: TokenOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what a sync would push and pull.")
    ] = False,
    table: TableOption = None,
    where: WhereOption = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="From now on all tables, with all of their rows.")
    ] = False,
    watching: Annotated[
        bool,
        typer.Option(
            "--watch", help="Stay live: changes arrive and are sent as they happen, until Ctrl-C."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send what was changed here, and fetch what was changed elsewhere.

    --table and --where replace the choice that was made at the clone: what is not among the chosen
    rows any more leaves the file, and only the difference travels.
    Without --token and REUNITE_TOKEN, the token that was remembered at the clone is used.
    If the hub cannot be reached, the exit code is 75; nothing is lost, and the next sync goes on.
    With --watch it is tried again until it can; with --json, each thing that happens is one line.
    """
    tables = chosen(table, where)
    is_chosen = tables is not None or everything
    if is_chosen and (dry_run or (tables is not None and everything)):
        raise typer.BadParameter("--table, --where go with neither --dry-run nor --everything.")
    if watching and dry_run:
        raise typer.BadParameter("--watch and --dry-run do not go together.")
    check_is_replica(file)  # before its token is missed
    with (
        open_replica(file, token=remembered_token(file, token)) as replica,
        progress_bars(file.name) as on_progress,
    ):
        if is_chosen:
            replica.set_tables(tables)
        if watching:
            remember_token(file, token)
            watch(replica, as_json=as_json)
            return
        report = replica.sync(dry_run=dry_run, on_progress=on_progress)
    remember_token(file, token)
    if as_json:
        emit(report)
        return
    for sentence in sentences(report, file, dry_run=dry_run):
        say(sentence)


def sentences(report: SyncReport, file: Path, *, dry_run: bool = False) -> list[str]:
    """What a sync did, for people."""
    changes, rows = counted(report.pushed, "change"), counted(report.pulled, "row")
    if dry_run:
        return [f"A sync of {file} would push {changes} and pull {rows}. Nothing was changed."]
    found = [f"{file}: pushed {changes}, pulled {rows}."]
    if report.conflicts:
        found.append(
            f"{counted(report.conflicts, 'conflict was', 'conflicts were')} found; "
            f"see `reunite conflicts {file}`."
        )
    if report.rejected:
        found.append(
            f"{counted(report.rejected, 'change was', 'changes were')} rejected, undone here and "
            f"parked; see `reunite parked {file}`."
        )
    if report.pending:
        found.append(
            f"{counted(report.pending, 'change waits', 'changes wait')} for the next sync."
        )
    return found
