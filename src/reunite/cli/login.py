"""`reunite login`: log a replica in again, with a name and a password."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import check_is_replica
from reunite.cli.options import FileArgument, JsonOption
from reunite.cli.password import typed_password
from reunite.cli.places import tell
from reunite.replica import Replica


def login(
    file: FileArgument,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Who logs in.")],
    tenant: Annotated[
        str | None, typer.Option(help="The tenant to come to, for members of several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Log in to the hub that a replica was cloned from, after a log-in ended.

    The password is asked for, or is what REUNITE_PASSWORD or a line of stdin says.
    What refreshes the log-in is kept in FILE-token, which only you may read.
    """
    check_is_replica(file)
    with Replica(file) as replica:
        replica.log_in(user, typed_password(f"Password of {user}"), tenant=tenant)
    tell(as_json, f"{user} is logged in.", user=user, file=str(file))
