"""What `history`, `log` and `export` are asked for: who, from where, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from reunite.cli.typed import duration_s
from reunite.hub import Hub

TableOption = Annotated[
    str | None, typer.Option("--table", metavar="TABLE", help="Changes of this table alone.")
]
ActorOption = Annotated[
    str | None,
    typer.Option("--actor", metavar="USER", help="What this user did, on a replica or at the hub."),
]
ReplicaOption = Annotated[
    str | None,
    typer.Option("--replica", metavar="REPLICA", help="What came from it: its id or its name."),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help="From then on: 2026-05-01, 2026-05-01T12:00, or 3d ago."
    ),
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")]


def filters(
    hub: Hub, *, actor: str | None, replica: str | None, since: str | None, until: str | None
) -> dict[str, Any]:
    """The filters of the hub's methods, as they were typed."""
    return {
        "actor": actor,
        "replica": None if replica is None else _replica_id(hub, replica),
        "since": None if since is None else moment_of(since),
        "until": None if until is None else moment_of(until),
    }


def replica_names(hub: Hub) -> dict[str, str]:
    """What each replica calls itself, by id."""
    return {record.id: record.name for record in hub.status().replicas}


def _replica_id(hub: Hub, text: str) -> str:
    names = replica_names(hub)
    found = [id_ for id_, name in names.items() if text in (id_, name)]
    if len(found) != 1:
        said = "several replicas call themselves so: name its id" if found else "no such replica"
        raise typer.BadParameter(f"{text!r}: {said}. `reunite log --stats` lists them.")
    return found[0]


def moment_of(text: str) -> datetime:
    """A moment that a person typed, in UTC where it says no zone; or a duration before now."""
    words = text.strip().removesuffix("ago").strip()
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        pass
    else:
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return datetime.now(UTC) - timedelta(seconds=duration_s(words))
    except (typer.BadParameter, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-05-01, 2026-05-01T12:00 (UTC), or 3d for three days "
            "ago."
        ) from None
