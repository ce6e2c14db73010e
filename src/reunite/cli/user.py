"""`reunite user`: who may log in to a hub, and which roles they have where."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from reunite.cli.opening import open_hub, shown
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.password import typed_password
from reunite.cli.places import RoleOption, TenantOption, place, tell
from reunite.cli.screen import emit, moment, say, show_table
from reunite.cli.token import claims_of
from reunite.errors import CallerError

app = typer.Typer(name="user", no_args_is_help=True, help="Who may log in, with which roles.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
ClaimOption = Annotated[
    list[str] | None,
    typer.Option(
        "--claim",
        metavar="NAME=JSON",
        help="What rules call user.NAME: teams=[1,2]; may be given repeatedly.",
    ),
]


@app.command()
def create(
    database: DatabaseArgument,
    name: NameArgument,
    role: Annotated[str | None, typer.Option(help="A role to begin with.")] = None,
    tenant: TenantOption = "",
    claim: ClaimOption = None,
    password: Annotated[
        bool, typer.Option(help="Whether to ask for a password; without one, nobody logs in.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Add a user, or change the one of this name.

    The password is asked for, or is what REUNITE_PASSWORD or a line of stdin says.
    A user comes in as soon as it has a role somewhere.
    """
    given = typed_password(f"Password of {name}", is_new=True) if password else None
    with open_hub(database) as hub:
        hub.directory.add_user(name, password=given, claims=claims_of(claim) if claim else None)
        if role is not None:
            hub.directory.add_member(name, role, tenant=tenant)
    if as_json:
        emit({"user": name, "role": role, "tenant": tenant})
    else:
        say(f"{name} is a user{'' if role is None else f', {role} {place(tenant)}'}.")


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the users and their roles. With --json, one object a line."""
    with open_hub(database) as hub:
        users, members = hub.directory.users(), hub.directory.members()
    roles: dict[str, list[tuple[str, str]]] = {}
    for member in members:
        roles.setdefault(member.user_name, []).append((member.role, member.tenant))
    if as_json:
        for user in users:
            emit(
                {
                    "user": user.name,
                    "is_active": user.is_active,
                    "has_password": bool(user.password),
                    "claims": msgspec.json.decode(user.claims),
                    "roles": [
                        {"role": role, "tenant": tenant}
                        for role, tenant in roles.get(user.name, [])
                    ],
                    "created_ms": user.created_ms,
                }
            )
    elif not users:
        say("There are no users.")
    else:
        show_table(
            ("user", "active", "password", "roles", "created"),
            [
                (
                    user.name,
                    "yes" if user.is_active else "no",
                    "yes" if user.password else "no",
                    ", ".join(f"{role} {place(where)}" for role, where in roles.get(user.name, [])),
                    moment(user.created_ms),
                )
                for user in users
            ],
        )


@app.command()
def password(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Give a user another password; the log-ins of the former one end."""
    with open_hub(database) as hub:
        known = {user.name for user in hub.directory.users()}
        if name not in known:
            raise typer.BadParameter(f"There is no user {name!r}.")
        hub.directory.add_user(name, password=typed_password(f"Password of {name}", is_new=True))
    tell(as_json, f"{name} has another password.", user=name)


@app.command()
def join(
    database: DatabaseArgument,
    name: NameArgument,
    role: RoleOption,
    tenant: TenantOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give a user a role, in a tenant or outside of any."""
    with open_hub(database) as hub:
        hub.directory.add_member(name, role, tenant=tenant)
    tell(as_json, f"{name} is {role} {place(tenant)}.", user=name, role=role, tenant=tenant)


@app.command()
def leave(
    database: DatabaseArgument,
    name: NameArgument,
    role: Annotated[str | None, typer.Option(help="The role; all of them by default.")] = None,
    tenant: TenantOption = "",
    as_json: JsonOption = False,
) -> None:
    """Take a role from a user, or all of them; what they gave is gone at once."""
    with open_hub(database) as hub:
        count = hub.directory.remove_member(name, role=role, tenant=tenant)
    if not count:
        raise CallerError(
            f"{name} has {'no role' if role is None else f'not the role {role}'} {place(tenant)}: "
            f"`reunite user list {shown(database)}` shows who has which."
        )
    tell(
        as_json,
        f"{name} has {count} {'role' if count == 1 else 'roles'} less {place(tenant)}.",
        user=name,
        tenant=tenant,
        removed=count,
    )


@app.command()
def deactivate(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Keep a user out; its log-ins and streams end at once."""
    with open_hub(database) as hub:
        hub.directory.set_user_active(name, False)
    tell(as_json, f"{name} may not come any more.", user=name, is_active=False)


@app.command()
def activate(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Let a user come again."""
    with open_hub(database) as hub:
        hub.directory.set_user_active(name, True)
    tell(as_json, f"{name} may come.", user=name, is_active=True)


@app.command()
def remove(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Remove a user, its roles and its log-ins; rows and replicas stay."""
    with open_hub(database) as hub:
        hub.directory.remove_user(name)
    tell(as_json, f"{name} is no user any more.", user=name)
