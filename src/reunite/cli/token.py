"""`reunite token`: who may come to a hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.places import tell
from reunite.cli.screen import counted, emit, moment, note, say, show_table
from reunite.core.principal import Principal
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
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT_OR_NUMBER",
            help="The tenant it belongs to, user.tenant in rules: north, 7 or '\"7\"'.",
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="A role, one of user.roles in rules; may be given repeatedly."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=JSON",
            help="What rules call user.NAME: teams=[1,2] or is_new=true; may be given repeatedly.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it. It is shown only now: the hub keeps its hash."""
    who = Principal(
        user=principal,
        tenant=None if tenant is None else _value(tenant),
        roles=tuple(role or ()),
        claims=claims_of(claim or ()),
    )
    with open_hub(database) as hub:
        token = hub.create_token(who, label=label)
    if as_json:
        emit({"token": token, **principal_fields(who), "label": label})
    else:
        say(token)
        note("It is shown only now: the hub keeps nothing but its hash.")


def claims_of(texts: Sequence[str]) -> dict[str, Any]:
    """The claims that options like `teams=[1,2]` spell; what is no JSON is a text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{text!r} is not of the form NAME=JSON, such as teams=[1,2].")
        if name in found:
            raise typer.BadParameter(f"There are two values for {name!r}: write a list.")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    """JSON, or a text as it is where that cannot have been meant as JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        if text.startswith(("[", "{", '"')):
            raise typer.BadParameter(f"{text!r} is no JSON: {exc}") from exc
        return text


def principal_fields(principal: Principal) -> dict[str, Any]:
    """A principal as fields of a JSON line."""
    return {
        "principal": principal.user,
        "tenant": principal.tenant,
        "roles": list(principal.roles),
        "claims": dict(principal.claims),
    }


def described(principal: Principal) -> str:
    """What a principal has beside its name, for people."""
    parts = [f"tenant {principal.tenant}"] if principal.tenant is not None else []
    parts += [f"role {role}" for role in principal.roles]
    parts += [f"{name}={_json(value)}" for name, value in sorted(principal.claims.items())]
    return ", ".join(parts)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the log-ins and the tokens, by the beginning of their id or hash. With --json, one
    object a line."""
    with open_hub(database) as hub:
        tokens, log_ins = hub.tokens(), hub.log_ins()
    if as_json:
        for one in log_ins:
            emit(
                {
                    "log_in": one.id,
                    "user": one.user_name,
                    "tenant": one.tenant,
                    "device": one.device,
                    "created_ms": one.created_ms,
                    "used_ms": one.used_ms,
                    "expires_ms": one.expires_ms,
                }
            )
        for token_hash, principal, label, created_ms in tokens:
            emit(
                {
                    "hash": token_hash,
                    **principal_fields(principal),
                    "label": label,
                    "created_ms": created_ms,
                }
            )
        return
    if not tokens and not log_ins:
        say("There are no tokens and no log-ins: nobody can come to this hub.")
    if log_ins:
        show_table(
            ("log-in", "user", "tenant", "device", "last came", "expires"),
            [
                (
                    one.id[:HASH_LENGTH],
                    one.user_name,
                    one.tenant,
                    one.device,
                    moment(one.used_ms),
                    moment(one.expires_ms),
                )
                for one in log_ins
            ],
        )
    if tokens:
        show_table(
            ("hash", "principal", "has", "label", "created"),
            [
                (
                    token_hash[:HASH_LENGTH],
                    principal.user,
                    described(principal),
                    label,
                    moment(created_ms),
                )
                for token_hash, principal, label, created_ms in tokens
            ],
        )


@app.command()
def revoke(
    database: DatabaseArgument,
    label_or_hash: Annotated[
        str | None,
        typer.Argument(
            metavar="[LABEL_OR_HASH]", help="A label, or how a hash or a log-in's id begins."
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(help="All of this user's.")] = None,
    device: Annotated[
        str | None, typer.Option(help="All of this device's: the name of its file, or a label.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="All of this tenant's members'.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke tokens and end log-ins at once, live streams too.

    With several of --user, --device and --tenant, those of which all is true.
    """
    is_general = user is not None or device is not None or tenant is not None
    if bool(label_or_hash) is is_general:
        raise typer.BadParameter(
            "Name a label, or how a hash or an id begins; or --user, --device or --tenant."
        )
    with open_hub(database) as hub:
        if label_or_hash:
            count = hub.revoke_token(label_or_hash)
        else:
            count = hub.revoke(user=user, device=device, tenant=tenant)
    if not count:
        what = f"has the label {label_or_hash!r} or a hash that begins so"
        raise CallerError(
            f"No token {what if label_or_hash else 'and no log-in is such a one'}: "
            f"`reunite token list {shown(database)}` shows them."
        )
    if as_json:
        emit({"revoked": count})
    else:
        say(f"Revoked {counted(count, 'token')}.")


@app.command("rotate-keys")
def rotate_keys(
    database: DatabaseArgument,
    algorithm: Annotated[str, typer.Option(help="EdDSA or HS256.")] = "EdDSA",
    suddenly: Annotated[
        bool,
        typer.Option(
            "--suddenly", help="Tokens of the former key are good no more: others know it."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign the tokens of log-ins with a new key. Devices stay logged in."""
    with open_hub(database) as hub:
        name = hub.rotate_keys(algorithm, is_sudden=suddenly)  # type: ignore[arg-type]
    tell(
        as_json,
        f"Tokens are signed with the key {name}, {algorithm}.",
        key=name,
        algorithm=algorithm,
    )
