"""`reunite permission`: what roles may do with tables, of which rows; and all of it as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.places import TenantOption, place, tell
from reunite.cli.screen import emit, note, say, show_table
from reunite.core.grants import FLAGS, Flags
from reunite.errors import CallerError

app = typer.Typer(
    name="permission", no_args_is_help=True, help="What roles may do with tables, and which rows."
)

RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help="The role.")]
TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="A tracked table.")]
DocumentArgument = Annotated[
    Path, typer.Argument(metavar="DOCUMENT", help="A JSON file; - is stdin or stdout.")
]


@app.command("set")
def set_(
    database: DatabaseArgument,
    role: RoleArgument,
    table: TableArgument,
    tenant: TenantOption = "",
    template: Annotated[
        str | None,
        typer.Option(
            help="full_access, read_write, read_only, write_only or custom; the role's own by "
            "default."
        ),
    ] = None,
    may: Annotated[
        str | None,
        typer.Option(metavar="FLAGS", help="Instead: some of push,pull,create,update,delete,read."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a role may do with a table, instead of what was said before.

    The first permission for a table closes it to everybody who has none.
    """
    if may is not None and template is not None:
        raise typer.BadParameter("--template and --may do not go together.")
    given: str | Flags | None = template
    if may is not None:
        names = [name.strip() for name in may.split(",") if name.strip()]
        if unknown := set(names) - set(FLAGS):
            raise typer.BadParameter(f"There is no {min(unknown)!r}: there are {', '.join(FLAGS)}.")
        given = Flags(**dict.fromkeys(names, True))
    with open_hub(database) as hub:
        flags = hub.directory.permit(role, table, given, tenant=tenant)
    tell(
        as_json,
        f"{role} {place(tenant)} may {_named(flags)} {table}.",
        role=role,
        table=table,
        tenant=tenant,
        may=flags,
    )


@app.command()
def unset(
    database: DatabaseArgument,
    role: RoleArgument,
    table: TableArgument,
    tenant: TenantOption = "",
    as_json: JsonOption = False,
) -> None:
    """Take a role's permission for a table away, with its filters."""
    with open_hub(database) as hub:
        count = hub.directory.forbid(role, table, tenant=tenant)
    if not count:
        raise CallerError(f"{role} has no permission for {table} {place(tenant)}.")
    tell(
        as_json,
        f"{role} {place(tenant)} has no permission for {table} any more.",
        role=role,
        table=table,
        tenant=tenant,
    )


@app.command("open")
def open_(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """Be a hub without permissions again, after the last one was taken away.

    Until then it stays closed. Where no table has rules, whoever has a token may do everything
    afterwards.
    """
    with open_hub(database) as hub:
        hub.directory.open_up()
    tell(as_json, "Stored permissions close no table any more.", is_closed=False)


@app.command("list")
def show(database: DatabaseArgument, as_json: JsonOption = False) -> None:
    """List permissions and their filters. With --json, one object a line."""
    with open_hub(database) as hub:
        document, is_closed = hub.directory.export(), hub.directory.is_closed()
    filters: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in document["filters"]:
        filters.setdefault((one["tenant"], one["role"], one["table"]), []).append(one)
    permissions = document["permissions"]
    if as_json:
        for one in permissions:
            found = filters.get((one["tenant"], one["role"], one["table"]), [])
            emit({**one, "filters": found})
    elif not permissions and is_closed:
        say("There are no permissions any more: all tables are closed, until permission open.")
    elif not permissions:
        say("There are no permissions: the rules of code alone decide.")
    else:
        show_table(
            ("tenant", "role", "table", "may", "filters"),
            [
                (
                    one["tenant"],
                    one["role"],
                    one["table"],
                    ", ".join(one["may"]) or "nothing",
                    ", ".join(
                        found["name"] + ("" if found["is_active"] else " (off)")
                        for found in filters.get((one["tenant"], one["role"], one["table"]), [])
                    ),
                )
                for one in permissions
            ],
        )


@app.command("filter")
def filter_(
    database: DatabaseArgument,
    role: RoleArgument,
    table: TableArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the filter.")],
    condition: Annotated[
        str | None,
        typer.Argument(
            metavar="CONDITION",
            help="""Which rows: '{"field":"owner","operator":"exact","value":"$user.id"}'.""",
        ),
    ] = None,
    tenant: TenantOption = "",
    off: Annotated[bool, typer.Option("--off", help="Keep it, and do not ask it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the filter away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which rows a role's permission for a table is about; of several, all must hold."""
    if (condition is None) is not remove:
        raise typer.BadParameter("Give a condition, or --remove.")
    with open_hub(database) as hub:
        if condition is None:
            if not hub.directory.remove_filter(role, table, name, tenant=tenant):
                raise CallerError(f"{role} has no filter {name} for {table} {place(tenant)}.")
            tell(
                as_json,
                f"The filter {name} is gone.",
                role=role,
                table=table,
                tenant=tenant,
                filter=name,
            )
            return
        try:
            value = msgspec.json.decode(condition)
        except msgspec.DecodeError as exc:
            raise typer.BadParameter(f"The condition is no JSON: {exc}") from exc
        hub.directory.add_filter(role, table, name, value, tenant=tenant, is_active=not off)
    tell(
        as_json,
        f"{role} {place(tenant)} has the filter {name} for {table}{' (off)' if off else ''}.",
        role=role,
        table=table,
        tenant=tenant,
        filter=name,
    )


@app.command()
def export(
    database: DatabaseArgument,
    document: DocumentArgument = Path("-"),
    as_json: JsonOption = False,
) -> None:
    """Write tenants, roles, users, memberships, permissions and filters as JSON, without passwords
    and log-ins.

    With --json and no file, all of it is on one line.
    """
    with open_hub(database) as hub:
        found = hub.directory.export()
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    if str(document) != "-":
        document.write_text(text, encoding="utf-8")
        tell(as_json, f"Wrote {document}.", document=str(document))
    elif as_json:
        emit(found)
    else:
        sys.stdout.write(text)


@app.command()
def validate(
    database: DatabaseArgument, document: DocumentArgument, as_json: JsonOption = False
) -> None:
    """Say what keeps a document from being imported, and where. Nothing is changed.

    With --json, one object a line. The exit code is 1 if there is a problem.
    """
    value = _read(document)
    with open_hub(database) as hub:
        problems = hub.directory.validate(value)
    for problem in problems:
        if as_json:
            emit(problem)
        else:
            say(f"{problem.path}: {problem.text}")
    if problems:
        raise typer.Exit(1)
    note(f"{document} can be imported.")


@app.command("import")
def import_(
    database: DatabaseArgument, document: DocumentArgument, as_json: JsonOption = False
) -> None:
    """Make tenants, roles, memberships, permissions and filters what a document says.

    Users that it names are added or changed, and keep their passwords; others lose their roles.
    """
    value = _read(document)
    with open_hub(database) as hub:
        hub.directory.import_document(value)
    tell(as_json, f"{document} is imported.", document=str(document))


def _read(document: Path) -> Any:
    try:
        text = sys.stdin.read() if str(document) == "-" else document.read_text(encoding="utf-8")
        return msgspec.json.decode(text)
    except OSError as exc:
        raise CallerError(f"{document} cannot be read: {exc.strerror or exc}.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CallerError(f"{document} is no JSON: {exc}.") from exc


def _named(flags: Flags) -> str:
    return ", ".join(name for name in FLAGS if getattr(flags, name)) or "do nothing with"
