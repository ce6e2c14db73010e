"""`reunite export`: the hub's history as a file for other programs."""

from __future__ import annotations

import enum
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from reunite.cli.filters import (
    ActorOption,
    ReplicaOption,
    SinceOption,
    TableOption,
    UntilOption,
    filters,
)
from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption, ReplaceOption
from reunite.cli.screen import counted, emit, note
from reunite.cli.typed import key_of
from reunite.errors import CallerError


@contextmanager
def _opened(file: Path | None, *, replace: bool) -> Iterator[TextIO]:
    """The file, or stdout, for lines of UTF-8. If the block raises, what was there is as before."""
    if file is None:
        # Whatever the terminal's encoding is: a program reads this.
        lines = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        try:
            yield lines
            lines.flush()
        finally:
            lines.detach()
        return
    # What is replaced stays until all of the new is there; a device or a pipe is written to.
    is_replaced = replace and file.is_file()
    is_new = not file.exists()
    file = file.resolve() if is_replaced else file
    target = file.with_name(f"{file.name}.part") if is_replaced else file
    try:
        opened = target.open("w" if replace else "x", encoding="utf-8", newline="")
    except FileExistsError:
        raise CallerError(f"{file} is there already: --replace writes over it.") from None
    try:
        with opened:
            if is_replaced:
                shutil.copymode(file, target)
            yield opened
        if is_replaced:
            target.replace(file)
    except BaseException:
        if is_new or is_replaced:
            target.unlink()
        raise


class Form(enum.StrEnum):
    """What the lines are."""

    NDJSON = "ndjson"
    CSV = "csv"


def export(
    database: DatabaseArgument,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where it goes; without, to stdout."),
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="ndjson, or csv as for a FILE whose name ends so."),
    ] = None,
    table: TableOption = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="""Of one row of --table: its key, such as '["AA"]'."""),
    ] = None,
    actor: ActorOption = None,
    replica: ReplicaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the history to a file: every change with who, when, and the row before and after.

    The lines are JSON objects, or with --format csv those of a table whose rows, keys and values
    before and after are JSON. With --json, stdout says how many changes went to FILE.
    """
    if key is not None and table is None:
        raise typer.BadParameter("A key is one of a table: give --table, too.")
    if as_json and file is None:
        raise typer.BadParameter("--json is about a FILE: without one, stdout has the history.")
    is_csv = file is not None and file.suffix.lower() == ".csv"
    form = form or (Form.CSV if is_csv else Form.NDJSON)
    wanted = None if key is None else key_of(key)
    with open_hub(database) as hub:
        asked = filters(hub, actor=actor, replica=replica, since=since, until=until)
        with _opened(file, replace=replace) as lines:
            count = hub.export(lines, form.value, table=table, key=wanted, **asked)
    if file is None:
        return
    if as_json:
        emit({"changes": count, "file": str(file)})
    else:
        note(f"{counted(count, 'change')} written to {file}.")
