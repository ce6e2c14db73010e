"""`reunite token`: who may come to a hub."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.screen import counted, emit, moment, note, say, show_table
from reunite.errors import CallerError

app = typer.Typer(
    name="token", no_args_is_help=True, help="Make, list and revoke the tokens of a hub."
)

# How much of a token's hash is shown; enough to tell tokens apart.
HASH_LENGTH = 12


@app.command()
def create(
    database: DatabaseArgument,
    principal: Annotated[str, typer.Option(help="Whose token it is; the log names them.")] = (
        "owner"
    ),
    label: Annotated[str, typer.Option(help="A name for the token, to revoke it by.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it. It is shown only now: the hub keeps its hash."""
    with open_hub(database) as hub:
        token = hub.create_token(principal, label=label)
    if as_json:
        emit({"token": token, "principal": principal, "label": label})
    else:
        say(token)
        note("It is shown only now: the hub keeps nothing but its hash.")


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the tokens, by the beginning of their hash. With --json, one object a line."""
    with open_hub(database) as hub:
        tokens = hub.tokens()
    if as_json:
        for token_hash, principal, label, created_ms in tokens:
            emit(
                {
                    "hash": token_hash,
                    "principal": principal,
                    "label": label,
                    "created_ms": created_ms,
                }
            )
    elif not tokens:
        say("There are no tokens: nobody can come to this hub.")
    else:
        show_table(
            ("hash", "principal", "label", "created"),
            [
                (token_hash[:HASH_LENGTH], principal, label, moment(created_ms))
                for token_hash, principal, label, created_ms in tokens
            ],
        )


@app.command()
def revoke(
    database: DatabaseArgument,
    label_or_hash: Annotated[
        str, typer.Argument(metavar="LABEL_OR_HASH", help="A label, or how a hash begins.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Revoke the tokens of this label, or whose hash begins so, at once."""
    if not label_or_hash:
        raise typer.BadParameter("Name a label, or how a hash begins.")
    with open_hub(database) as hub:
        count = hub.revoke_token(label_or_hash)
    if not count:
        raise CallerError(
            f"No token has the label {label_or_hash!r} or a hash that begins so: "
            f"`reunite token list {database}` shows them."
        )
    if as_json:
        emit({"revoked": count})
    else:
        say(f"Revoked {counted(count, 'token')}.")
