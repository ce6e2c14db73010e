"""`reunite parked`: changes that the hub rejected, and what to do with them."""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, Any

import typer
from rich.text import Text

from reunite.cli.default_command import DefaultCommandGroup
from reunite.cli.opening import open_replica
from reunite.cli.options import FileArgument, JsonOption
from reunite.cli.schemas import schema_of
from reunite.cli.screen import (
    SENTENCE_LENGTH_MAX,
    counted,
    emit,
    key_cell,
    moment,
    readable,
    say,
    show_table,
)
from reunite.cli.typed import assignments
from reunite.core.change import Op
from reunite.errors import BadRequestError
from reunite.replica import ParkedChange, Replica

app = typer.Typer(
    name="parked",
    cls=DefaultCommandGroup,
    no_args_is_help=True,
    help="Show changes that the hub rejected, or do something about one. "
    "`parked FILE` is `parked list FILE`.",
)

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The parked change's id.")]


@app.command("list")
def show(file: FileArgument, as_json: JsonOption = False) -> None:
    """List the changes that the hub rejected, with its reasons.

    They are undone in the replica. With --json, one object a line.
    """
    with open_replica(file) as replica:
        found = replica.parked()
    if as_json:
        for change in found:
            emit(change)
    elif not found:
        say("Nothing is parked.")
    else:
        show_table(COLUMNS, [cells(change) for change in found])
        say(f"To go on: reunite parked retry|edit|discard {file} ID")


@app.command()
def retry(file: FileArgument, parked_id: IdArgument, as_json: JsonOption = False) -> None:
    """Make a parked change again; the next sync pushes it."""
    with open_replica(file) as replica:
        replica.retry(parked_id)
    _done(parked_id, "retried", "It is made again. The next sync sends it.", as_json)


@app.command()
def edit(
    file: FileArgument,
    parked_id: IdArgument,
    columns: Annotated[
        list[str],
        typer.Argument(
            metavar="COLUMN=VALUE...", help="New values; column:=JSON for NULL and the like."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a parked change again with other values; the next sync pushes it."""
    with open_replica(file) as replica:
        values = _edited(replica, parked_id, columns)
        replica.retry(parked_id, values)
    _done(parked_id, "edited", "It is made again as edited. The next sync sends it.", as_json)


@app.command()
def discard(file: FileArgument, parked_id: IdArgument, as_json: JsonOption = False) -> None:
    """Give a parked change up."""
    with open_replica(file) as replica:
        replica.discard(parked_id)
    _done(parked_id, "discarded", "It is discarded.", as_json)


COLUMNS = ("id", "when", "table", "key", "change", "wanted", "code", "reason")


def cells(change: ParkedChange) -> tuple[Any, ...]:
    """A parked change as a row of a table; the columns are `COLUMNS`."""
    return (
        change.id,
        moment(change.at_ms),
        change.table,
        key_cell(change.key),
        change.op.name.lower(),
        Text(_wanted(change)),
        change.code,
        Text(readable(change.reason, length_max=SENTENCE_LENGTH_MAX)),
    )


def _wanted(change: ParkedChange) -> str:
    """The values that were wanted, as far as there is room for them."""
    parts = [
        f"{readable(name)}={readable(value)}"
        for name, value in change.set.items()
        if value is not None or change.op is not Op.INSERT
    ]
    lengths = accumulate(len(part) for part in parts)
    shown = [p for p, so_far in zip(parts, lengths, strict=True) if so_far <= SENTENCE_LENGTH_MAX]
    rest = len(parts) - len(shown)
    if rest:
        shown.append(f"… and {counted(rest, 'other column')}")
    return ", ".join(shown)


def _edited(replica: Replica, parked_id: int, columns: list[str]) -> dict[str, Any]:
    for change in replica.parked():
        if change.id == parked_id:
            return assignments(columns, schema_of(replica, change.table))
    raise BadRequestError(f"There is no parked change {parked_id}: `reunite parked` lists them.")


def _done(parked_id: int, done: str, sentence: str, as_json: bool) -> None:
    if as_json:
        emit({"id": parked_id, "done": done})
    else:
        say(sentence)
