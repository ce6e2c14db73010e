"""`reunite clone`: a new replica of a hub, in an SQLite file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from reunite.cli.choosing import TableOption, WhereOption, chosen
from reunite.cli.opening import Kind, kind_of
from reunite.cli.options import TOKEN_VARIABLE, FileArgument, JsonOption, TokenOption, UrlArgument
from reunite.cli.password import typed_password
from reunite.cli.progress import Stopwatch, progress_bars
from reunite.cli.screen import emit, say
from reunite.cli.token_file import (
    forget_token,
    remember_token,
    remembered_token,
    token_text,
)
from reunite.errors import CallerError, NotAuthenticatedError
from reunite.replica import Replica
from reunite.replica.login import Login, log_in


def clone(
    url: UrlArgument,
    file: FileArgument,
    token: TokenOption = None,
    table: TableOption = None,
    where: WhereOption = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="Log in with a password instead of giving a token."
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The tenant to come to, for members of several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a local copy of a hub's tables, with an outbox of its own.

    With --where, a table has only the rows that a condition means; rows come and go as they change.
    A clone that broke off goes on where it was when the command is given again.
    The token is remembered in FILE-token, which only you may read, unless it comes from
    REUNITE_TOKEN. With --user, the password is asked for, or is what REUNITE_PASSWORD or a line of
    stdin says; what refreshes that log-in is remembered there.
    """
    if not url:
        raise typer.BadParameter("Give the hub's URL, as `reunite serve` prints it.")
    tables = chosen(table, where)
    was_there = file.exists()
    if was_there:
        _refuse_what_is_ready(file)
    former = token_text(file)
    known_token: str | Login
    if user is not None:
        if token and token != os.environ.get(TOKEN_VARIABLE):
            raise typer.BadParameter("--user and --token do not go together.")
        token = None
        password = typed_password(f"Password of {user}")
        known_token = log_in(file, url, user, password, tenant=tenant)
    else:
        known_token = remembered_token(file, token)
    # Before the first row: a clone that is killed goes on without being told the token again.
    if file.parent.is_dir():
        remember_token(file, token)
    watch = Stopwatch()
    try:
        with (
            progress_bars(file.name) as on_progress,
            Replica.clone(
                file, url, token=known_token, tables=tables, on_progress=on_progress
            ) as replica,
        ):
            status = replica.status()
    except NotAuthenticatedError:
        forget_token(file, former)
        raise
    finally:
        if not _is_registered(file):
            forget_token(file, former)
            if not was_there:
                _remove(file)
    rows = sum(status.tables.values())
    if as_json:
        emit({"file": str(file), "url": status.url, "rows": rows, "tables": status.tables})
    else:
        say(f"Cloned {watch.rate(rows)} into {file}.")


def _refuse_what_is_ready(file: Path) -> None:
    if kind_of(file) is not Kind.REPLICA:
        return
    with Replica(file) as replica:
        status = replica.status()
    if status.is_ready:
        raise CallerError(
            f"{file} is a replica of {status.url} already: run `reunite sync {file}`, or clone "
            "into another file."
        )


def _is_registered(file: Path) -> bool:
    """Whether the hub knows this file, so that cloning again goes on with it."""
    if not file.exists() or kind_of(file) is not Kind.REPLICA:
        return False
    with Replica(file) as replica:
        return bool(replica.status().replica)


def _remove(file: Path) -> None:
    """Take away a new file that never became a replica."""
    for ending in ("", "-wal", "-shm", "-sync"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
