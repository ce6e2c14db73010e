"""`reunite role`: what permissions are given to."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.places import tell
from reunite.cli.screen import emit, moment, say, show_table

app = typer.Typer(name="role", no_args_is_help=True, help="What permissions are given to.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The role.")]


@app.command()
def create(
    database: DatabaseArgument,
    name: NameArgument,
    template: Annotated[
        str,
        typer.Option(
            help="What its permissions begin with: full_access, read_write, read_only, write_only "
            "or custom."
        ),
    ] = "custom",
    as_json: JsonOption = False,
) -> None:
    """Add a role, or give it another template."""
    with open_hub(database) as hub:
        hub.directory.add_role(name, template=template)
    tell(as_json, f"{name} is a role, {template}.", role=name, template=template)


@app.command()
def groups(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """Add the seven roles that most teams have, where they are missing: Administrators, Managers,
    Users, Sales, Support, Analysts and Read Only."""
    with open_hub(database) as hub:
        names = hub.directory.add_groups()
    tell(as_json, f"The roles {', '.join(names)} are there.", roles=list(names))


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the roles. With --json, one object a line."""
    with open_hub(database) as hub:
        roles = hub.directory.roles()
    if as_json:
        for role in roles:
            emit({"role": role.name, "template": role.template, "created_ms": role.created_ms})
    elif not roles:
        say("There are no roles.")
    else:
        show_table(
            ("role", "template", "created"),
            [(role.name, role.template, moment(role.created_ms)) for role in roles],
        )


@app.command()
def remove(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Remove a role with its memberships, permissions and filters."""
    with open_hub(database) as hub:
        hub.directory.remove_role(name)
    tell(as_json, f"{name} is no role any more.", role=name)
