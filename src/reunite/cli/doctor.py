"""`reunite doctor`: whether a hub's database or a replica's file is as reunite needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.checks import Finding, checks_of
from reunite.cli.comparing import comparison
from reunite.cli.failures import EXIT_FAILED
from reunite.cli.mending import mend
from reunite.cli.opening import Kind, shown
from reunite.cli.options import JsonOption, TokenOption
from reunite.cli.screen import counted, emit, say
from reunite.stores.sql.store import is_postgresql

_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "")}


def doctor(
    database: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A hub's database, a file or a postgresql:// URL, or a replica's file.",
        ),
    ],
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended, then examine again.")
    ] = False,
    hub: Annotated[
        str | None,
        typer.Option("--hub", metavar="URL", help="Compare a replica with the hub at this URL."),
    ] = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Examine a hub's database or a replica's file; exit code 1 if something is wrong.

    ✓ is as it should be, ✗ is wrong and says what to do, · is good to know.
    A replica's rows are compared with the hub's, if it can be reached; both read them once.
    Nothing is changed in the file without --fix, and nothing pending is lost with it.
    """
    file = database if is_postgresql(database) else Path(database)
    kind, findings = _examine(file, hub, token)
    fixed: list[str] = []
    if fix and any(finding.is_well is False for finding in findings):
        before = [finding.sentence for finding in findings if finding.is_well is False]
        mend(kind, file, url=hub, token=token)
        kind, findings = _examine(file, hub, token)
        still = {finding.sentence for finding in findings if finding.is_well is False}
        fixed = [sentence for sentence in before if sentence not in still]
    wrong = [finding for finding in findings if finding.is_well is False]
    if as_json:
        emit(
            {
                "file": shown(file),
                "kind": kind,
                "is_well": not wrong,
                "findings": findings,
                "fixed": fixed,
            }
        )
    else:
        show(findings)
        for sentence in fixed:
            say(f"Mended: {sentence}")
        if wrong:
            say(f"{counted(len(wrong), 'thing is', 'things are')} wrong with {shown(file)}.")
        else:
            say(f"{shown(file)} is well.")
    if wrong:
        raise typer.Exit(EXIT_FAILED)


def show(findings: list[Finding]) -> None:
    """Print findings, each a line."""
    for finding in findings:
        mark, style = _MARKS[finding.is_well]
        say(f"{mark} {finding.sentence}", style=style)


def _examine(file: Path | str, url: str | None, token: str | None) -> tuple[Kind, list[Finding]]:
    if isinstance(file, str):
        # psycopg is an extra.
        from reunite.cli.checks_postgresql import checks_of_postgresql

        return Kind.HUB, checks_of_postgresql(file)
    kind, findings = checks_of(file)
    if kind is Kind.REPLICA and all(finding.is_well is not False for finding in findings[:3]):
        findings = [*findings, *comparison(file, url=url, token=token)]
    return kind, findings
