"""`reunite tenant`: the sealed compartments of a hub."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.places import tell
from reunite.cli.screen import emit, moment, say, show_table
from reunite.cli.token import claims_of

app = typer.Typer(
    name="tenant", no_args_is_help=True, help="The sealed compartments of a hub's data."
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")]


@app.command()
def create(
    database: DatabaseArgument,
    name: NameArgument,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT_OR_NUMBER",
            help="What its rows have in the tenant's column, the name by default: north or 7.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a tenant, or change the one of this name."""
    own = None if value is None else claims_of([f"value={value}"])["value"]
    with open_hub(database) as hub:
        hub.directory.add_tenant(name, value=own, title=title)
    tell(as_json, f"{name} is a tenant.", tenant=name)


@app.command()
def seal(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A tracked table.")],
    column: Annotated[
        str,
        typer.Argument(
            metavar="COLUMN",
            help="The column that says whose a row is; project.organization goes by a foreign key.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Seal a table's rows by tenant: everybody sees and writes those of their own alone."""
    with open_hub(database) as hub:
        hub.track(table, tenant=column)
    tell(as_json, f"The rows of {table} are sealed by {column}.", table=table, column=column)


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List the tenants. With --json, one object a line."""
    with open_hub(database) as hub:
        tenants = hub.directory.tenants()
    if as_json:
        for tenant in tenants:
            emit(
                {
                    "tenant": tenant.name,
                    "value": msgspec.json.decode(tenant.value),
                    "title": tenant.title,
                    "is_active": tenant.is_active,
                    "created_ms": tenant.created_ms,
                }
            )
    elif not tenants:
        say("There are no tenants.")
    else:
        show_table(
            ("tenant", "value", "title", "active", "created"),
            [
                (
                    one.name,
                    one.value,
                    one.title,
                    "yes" if one.is_active else "no",
                    moment(one.created_ms),
                )
                for one in tenants
            ],
        )


@app.command()
def deactivate(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Keep the members of a tenant out; their log-ins there and streams end at once."""
    with open_hub(database) as hub:
        hub.directory.set_tenant_active(name, False)
    tell(as_json, f"Nobody comes to {name} any more.", tenant=name, is_active=False)


@app.command()
def activate(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Let the members of a tenant come again."""
    with open_hub(database) as hub:
        hub.directory.set_tenant_active(name, True)
    tell(as_json, f"The members of {name} may come.", tenant=name, is_active=True)


@app.command()
def remove(database: DatabaseArgument, name: NameArgument, as_json: JsonOption = False) -> None:
    """Remove a tenant with its memberships, permissions and filters; its rows stay."""
    with open_hub(database) as hub:
        hub.directory.remove_tenant(name)
    tell(as_json, f"{name} is no tenant any more.", tenant=name)
