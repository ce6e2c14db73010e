"""`reunite status`: how a replica stands, in sentences."""

from __future__ import annotations

from reunite.cli.opening import open_replica
from reunite.cli.options import FileArgument, JsonOption
from reunite.cli.screen import emit, say, show_table


def status(file: FileArgument, as_json: JsonOption = False) -> None:
    """Say how a replica stands: what waits, what was rejected, when it was synced last."""
    with open_replica(file) as replica:
        status = replica.status()
    if as_json:
        emit(status)
        return
    say(f"{file} is a replica of {status.url or 'no hub yet'}.")
    for sentence in status.sentences:
        say(sentence)
    if status.tables:
        show_table(("table", "rows"), [(name, f"{n:,}") for name, n in status.tables.items()])
