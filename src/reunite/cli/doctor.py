"""`reunite doctor`: whether a hub's database or a replica's file is as reunite needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.checks import Finding, checks_of
from reunite.cli.failures import EXIT_FAILED
from reunite.cli.options import JsonOption
from reunite.cli.screen import counted, emit, say

_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "")}


def doctor(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A hub's database or a replica's file.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Examine a hub's database or a replica's file; exit code 1 if something is wrong.

    ✓ is as it should be, ✗ is wrong and says what to do, · is good to know.
    Nothing is changed in the file.
    """
    kind, findings = checks_of(file)
    wrong = [finding for finding in findings if finding.is_well is False]
    if as_json:
        emit({"file": str(file), "kind": kind, "is_well": not wrong, "findings": findings})
    else:
        show(findings)
        if wrong:
            say(f"{counted(len(wrong), 'thing is', 'things are')} wrong with {file}.")
        else:
            say(f"{file} is well.")
    if wrong:
        raise typer.Exit(EXIT_FAILED)


def show(findings: list[Finding]) -> None:
    """Print findings, each a line."""
    for finding in findings:
        mark, style = _MARKS[finding.is_well]
        say(f"{mark} {finding.sentence}", style=style)
