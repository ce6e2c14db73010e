"""Comparing a replica's rows with the hub's, for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reunite.cli.checks import Finding, told, well, wrong
from reunite.cli.progress import progress_bars
from reunite.cli.repair import differences
from reunite.cli.screen import counted
from reunite.cli.token_file import remembered_token
from reunite.errors import (
    HubUnreachableError,
    NotAuthenticatedError,
    ReplicaBusyError,
    ReuniteError,
)
from reunite.replica import Replica


def comparison(file: Path, *, url: str | None, token: str | None) -> Iterator[Finding]:
    """Whether the rows are the hub's, as far as it can be asked. Nothing is changed."""
    try:
        given = remembered_token(file, token)
    except NotAuthenticatedError:
        yield told("Its rows were not compared with the hub's: that needs a token.")
        return
    try:
        with (
            Replica(file, url=url, token=given) as replica,
            progress_bars(file.name) as on_progress,
        ):
            report = replica.compare(on_progress=on_progress)
    except (HubUnreachableError, ReplicaBusyError) as error:
        yield told(f"Its rows were not compared with the hub's. {error.message}")
        return
    except ReuniteError as error:
        yield wrong(f"Its rows could not be compared with the hub's. {error.message}")
        return
    if report.is_stale:
        yield told("The hub's log does not reach back to it: `reunite sync` fetches all rows anew.")
        return
    for sentence in differences(report.tables):
        yield wrong(f"Not as the hub has it: {sentence} `reunite repair {file}` fetches the rows.")
    if not report.found:
        rows = counted(sum(table.rows for table in report.tables), "row")
        yield well(f"All it has of the hub, {rows}, is as the hub has it.")
