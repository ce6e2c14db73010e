"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TOKEN_VARIABLE = "REUNITE_TOKEN"

DatabaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATABASE", help="The hub's database: an SQLite file or a postgresql:// URL."
    ),
]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The replica, an SQLite file made by `clone`.")
]
UrlArgument = Annotated[
    str, typer.Argument(metavar="URL", help="The hub's URL, as `reunite serve` prints it.")
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Write over a file that is there already.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, and prose on stderr.")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar=TOKEN_VARIABLE,
        show_envvar=True,
        help="The token that lets you in.",
    ),
]
