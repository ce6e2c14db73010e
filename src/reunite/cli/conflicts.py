"""`reunite conflicts`: where this replica's changes met others, and what was decided."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from reunite.cli.default_command import DefaultCommandGroup
from reunite.cli.opening import open_replica
from reunite.cli.options import FileArgument, JsonOption
from reunite.cli.schemas import schema_of
from reunite.cli.screen import emit, key_cell, readable, say, show_table
from reunite.cli.typed import check, value_of
from reunite.errors import BadRequestError
from reunite.replica import ConflictRecord

app = typer.Typer(
    name="conflicts",
    cls=DefaultCommandGroup,
    no_args_is_help=True,
    help="Show conflicts of a replica, or decide one. `conflicts FILE` is `conflicts list FILE`.",
)


@app.command("list")
def show(
    file: FileArgument,
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that wait for a decision.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the conflicts of this replica's changes, with the values that lost.

    With --json, one object a line.
    """
    with open_replica(file) as replica:
        found = replica.conflicts(open_only=open_only)
    if as_json:
        for conflict in found:
            emit(conflict)
    elif not found:
        say("There are no conflicts.")
    else:
        show_table(COLUMNS, [cells(conflict) for conflict in found])
        if any(conflict.is_open for conflict in found):
            say(f"To decide one: reunite conflicts decide {file} ID VALUE")


@app.command()
def decide(
    file: FileArgument,
    conflict_id: Annotated[int, typer.Argument(metavar="ID", help="The conflict's id.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="The value that the column gets; -- before a minus."),
    ] = None,
    null: Annotated[bool, typer.Option("--null", help="Decide for NULL instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Settle a conflict with a value. It is an ordinary change, which the next sync pushes."""
    if (value is None) != null:
        raise typer.BadParameter("Give either a VALUE or --null.")
    with open_replica(file) as replica:
        conflict = _found(replica.conflicts(), conflict_id)
        schema = schema_of(replica, conflict.table)
        if conflict.column is None:
            raise BadRequestError(
                f"Conflict {conflict_id} is about a whole row: change the row itself."
            )
        column = schema.column[conflict.column]
        decided: Any = None if value is None else value_of(value, column)
        check(column, decided)
        replica.decide(conflict_id, decided)
    if as_json:
        emit({"id": conflict_id, "decided": decided})
    else:
        say(f"Conflict {conflict_id} is decided. The next sync sends it to the hub.")


COLUMNS = ("id", "table", "key", "column", "before", "hub had", "here", "kept", "policy", "state")


def cells(conflict: ConflictRecord) -> tuple[Any, ...]:
    """A conflict as a row of a table; the columns are `COLUMNS`. On terminals what lost is red."""
    if conflict.is_open:
        state = "open"
    else:
        state = "decided" if conflict.is_decided else "settled"
    return (
        conflict.id,
        conflict.table,
        key_cell(conflict.key),
        conflict.column or "(the row)",
        conflict.base,
        _judged(conflict.hub, conflict),
        _judged(conflict.replica, conflict),
        conflict.result,
        conflict.policy,
        state,
    )


def _judged(value: Any, conflict: ConflictRecord) -> Text:
    has_lost = not conflict.is_open and value != conflict.result
    return Text(readable(value), style="red" if has_lost else "green")


def _found(conflicts: list[ConflictRecord], conflict_id: int) -> ConflictRecord:
    for conflict in conflicts:
        if conflict.id == conflict_id:
            return conflict
    raise BadRequestError(f"There is no conflict {conflict_id}: `reunite conflicts` lists them.")
