"""`reunite erase`: what is known of a row goes, for good."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, key_cell, moment, note, say, show_table
from reunite.cli.typed import key_of
from reunite.errors import CallerError


def erase(
    database: DatabaseArgument,
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="The table.")] = None,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="""The row's key, a JSON array: '["AA"]'."""),
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="USER", help="Who erases it, for the record.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Instead list what was erased, and when.")
    ] = False,
    scrub: Annotated[
        bool,
        typer.Option("--scrub", help="Instead write the database anew, without what was deleted."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a row, and erase all that the hub knows of it: history, log and answers to replicas.

    Replicas do the same with their next sync. That something was erased stays: key, time, who.
    Copies of the database, and what other programs keep, are not reached. With --list and --json,
    one object a line.
    """
    if listed + scrub + (table is not None and key is not None) != 1 or (table and not key):
        raise typer.BadParameter("Name a TABLE and a KEY, or give --list or --scrub.")
    if listed:
        _list(database, as_json=as_json)
    elif scrub:
        with open_hub(database) as hub:
            left = hub.scrub()
        if as_json:
            emit({"left": left})
        else:
            say(left or f"{shown(database)} holds only what is there.")
    else:
        assert table is not None, "checked above"
        assert key is not None, "checked above"
        _erase(database, table, key, actor=actor, yes=yes, as_json=as_json)


def _erase(
    database: str, table: str, key: str, *, actor: str | None, yes: bool, as_json: bool
) -> None:
    wanted = key_of(key)
    if not yes and not sys.stdin.isatty():
        raise CallerError("Nobody can be asked here: give --yes to erase without a question.")
    with open_hub(database) as hub:
        if not yes:
            entries = hub.history(table, wanted)
            note(
                f"The row {key} of {table} has {counted(len(entries), 'change')} in the log. It "
                "is deleted, here and on all replicas, and nobody can bring it back."
            )
            typer.confirm("Erase it?", abort=True, err=True)
        report = hub.erase(table, wanted, actor=actor)
    if as_json:
        erased = [{"table": each.table, "key": each.key} for each in report.erased]
        emit({**msgspec.structs.asdict(report), "erased": erased})
        return
    say(
        f"Erased: {counted(report.changes, 'change')} and {counted(report.outcomes, 'outcome')} "
        f"of {counted(len(report.erased), 'row')}."
    )
    if len(report.erased) > 1:
        show_table(("table", "key"), [(each.table, key_cell(each.key)) for each in report.erased])
    if report.left:
        note(report.left)


def _list(database: str, *, as_json: bool) -> None:
    with open_hub(database) as hub:
        erasures = hub.erasures()
    if as_json:
        for each in erasures:
            emit(
                {
                    "table": each.table,
                    "key": each.key,
                    "at_ms": each.at_ms,
                    "actor": each.principal,
                    "changes": each.changes,
                }
            )
    elif not erasures:
        say("Nothing was erased.")
    else:
        show_table(
            ("when", "who", "table", "key", "changes"),
            [
                (
                    moment(each.at_ms),
                    each.principal or "at the hub",
                    each.table,
                    key_cell(each.key),
                    f"{each.changes:,}",
                )
                for each in erasures
            ],
        )
