"""`reunite backup`: a copy of a hub's database or of a replica, while others use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.opening import Kind, check_is_no_url, file_of, kind_of
from reunite.cli.options import JsonOption, ReplaceOption
from reunite.cli.progress import page_bar
from reunite.cli.screen import emit, say, size
from reunite.errors import CallerError
from reunite.stores.sql.backup import backup as make_backup


def backup(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A hub's database, or a replica.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The copy, a new file.")],
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy a database as it is at this moment, while others read and write it.

    The copy is one file, checked, and has its name only when it is whole.
    `reunite restore` makes a hub of it again; the copy of a replica is used as it is.
    """
    file = file_of(source, "make a copy of it with `pg_dump`, which has reunite's tables as well.")
    check_is_no_url(target)
    if kind_of(file) is Kind.PLAIN:
        raise CallerError(f"{file} is neither a hub's database nor a replica: name one of those.")
    with page_bar(f"Copying {file}") as on_pages:
        count = make_backup(file, target, replace=replace, on_pages=on_pages)
    if as_json:
        emit({"backup": str(target), "bytes": count})
    else:
        say(f"Copied {file} to {target}: {size(count)}.")
