"""The commands, joined into one application."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from reunite.cli import (
    adopt,
    backup,
    clone,
    conflicts,
    console,
    demo,
    doctor,
    erase,
    explain,
    export,
    history,
    log,
    login,
    migrate,
    parked,
    permission,
    preview,
    query,
    repair,
    restore,
    role,
    serve,
    status,
    sync,
    tenant,
    token,
    top,
    trim,
    undo,
    uninstall,
    user,
)
from reunite.cli.failures import ReuniteGroup
from reunite.cli.screen import say

app = typer.Typer(
    name="reunite",
    cls=ReuniteGroup,
    no_args_is_help=True,
    # Tracebacks of ours are bugs; a pretty one could print what a variable holds.
    pretty_exceptions_enable=False,
    help="Clone the tables of a database to any device, write there offline, and sync.",
    epilog="Exit codes: 0 done, 1 not done (stderr says why), 2 wrong usage, "
    "75 the hub cannot be reached (nothing is lost, try later).",
)


def _show_version(asked: bool) -> None:
    if asked:
        say(f"reunite {version('reunite')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


_AT_THE_HUB = "At the hub"
_ON_A_DEVICE = "On a device"
_ANYWHERE = "Anywhere"

app.command(rich_help_panel=_AT_THE_HUB)(serve.serve)
app.command(rich_help_panel=_ON_A_DEVICE)(clone.clone)
app.command(rich_help_panel=_ON_A_DEVICE)(sync.sync)
app.command(rich_help_panel=_ON_A_DEVICE)(login.login)
app.command(rich_help_panel=_ON_A_DEVICE)(status.status)
app.add_typer(conflicts.app, rich_help_panel=_ON_A_DEVICE)
app.add_typer(parked.app, rich_help_panel=_ON_A_DEVICE)
app.command(rich_help_panel=_AT_THE_HUB)(history.history)
app.command(rich_help_panel=_AT_THE_HUB)(log.log)
app.command(rich_help_panel=_AT_THE_HUB)(export.export)
app.command(rich_help_panel=_AT_THE_HUB)(undo.undo)
app.command(rich_help_panel=_AT_THE_HUB)(erase.erase)
app.command(rich_help_panel=_ON_A_DEVICE)(query.query)
app.command(rich_help_panel=_ON_A_DEVICE)(repair.repair)
app.command(rich_help_panel=_ANYWHERE)(doctor.doctor)
app.command(rich_help_panel=_AT_THE_HUB)(explain.explain)
app.command(rich_help_panel=_AT_THE_HUB)(preview.preview)
app.command(rich_help_panel=_AT_THE_HUB)(console.console)
app.command(rich_help_panel=_AT_THE_HUB)(top.top)
app.add_typer(token.app, rich_help_panel=_AT_THE_HUB)
app.add_typer(user.app, rich_help_panel=_AT_THE_HUB)
app.add_typer(tenant.app, rich_help_panel=_AT_THE_HUB)
app.add_typer(role.app, rich_help_panel=_AT_THE_HUB)
app.add_typer(permission.app, rich_help_panel=_AT_THE_HUB)
app.command(rich_help_panel=_AT_THE_HUB)(migrate.migrate)
app.add_typer(adopt.app, rich_help_panel=_ANYWHERE)
app.command(rich_help_panel=_AT_THE_HUB)(trim.trim)
app.command(rich_help_panel=_AT_THE_HUB)(backup.backup)
app.command(rich_help_panel=_AT_THE_HUB)(restore.restore)
app.command(rich_help_panel=_AT_THE_HUB)(uninstall.uninstall)
app.command(rich_help_panel=_ANYWHERE)(demo.demo)
