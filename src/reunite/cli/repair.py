"""`reunite repair`: compare a replica's rows with the hub's, and fetch those that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.opening import check_is_replica, open_replica
from reunite.cli.options import FileArgument, JsonOption, TokenOption
from reunite.cli.progress import progress_bars
from reunite.cli.screen import counted, emit, say
from reunite.cli.token_file import remember_token, remembered_token
from reunite.replica import RepairReport, TableRepair


def repair(
    file: FileArgument,
    token: TokenOption = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="TABLE", help="Only this table; may be given again."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a replica's rows with the hub's, and fetch those that differ.

    For a replica that looks wrong: `sync` fetches what changed at the hub, this also what changed
    here behind reunite's back. What waits to be pushed stays, and is pushed by the next sync.
    Both sides read their tables once; what travels follows the differences.
    """
    check_is_replica(file)  # before its token is missed
    with (
        open_replica(file, token=remembered_token(file, token)) as replica,
        progress_bars(file.name) as on_progress,
    ):
        report = replica.repair(table or None, on_progress=on_progress)
    remember_token(file, token)
    if as_json:
        emit(report)
        return
    for sentence in sentences(report, file):
        say(sentence)


def sentences(report: RepairReport, file: Path) -> list[str]:
    """What a repair did, for people."""
    if report.is_stale:
        return [f"{file} was too far behind to be compared: every row was fetched anew."]
    compared = counted(sum(table.rows for table in report.tables), "row")
    tables = counted(len(report.tables), "table")
    if not report.found:
        return [f"{file}: {compared} of {tables} are as the hub has them."]
    return [
        f"{file}: compared {compared} of {tables}.",
        *(f"{sentence} Healed." for sentence in differences(report.tables)),
    ]


def differences(tables: list[TableRepair]) -> list[str]:
    """What is not as the hub has it, a sentence a table."""
    found = []
    for table in tables:
        parts = [
            f"{counted(count, *words)}"
            for count, words in (
                (table.differing, ("row has other values", "rows have other values")),
                (table.missing, ("row is missing", "rows are missing")),
                (table.extra, ("row is not the hub's", "rows are not the hub's")),
            )
            if count
        ]
        if parts:
            found.append(f"{table.table}: {', '.join(parts)}.")
    return found
