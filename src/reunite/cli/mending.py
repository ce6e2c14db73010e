"""Mending what `doctor` found, as far as that can be done without losing anything.

    hub        triggers are made anew, and replicas read the tables again that were without;
               so they do where rows are not what the log says
    replica    triggers are made anew, capture goes on, rows that differ are fetched, the token's
               file becomes its owner's alone

The rule         what cannot be mended stays a finding; its sentence says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from reunite.cli.content import odd_tables
from reunite.cli.opening import Kind, open_hub, open_replica
from reunite.cli.token_file import protect_token, remembered_token
from reunite.errors import HubUnreachableError, NotAReplicaError, NotAuthenticatedError


def mend(kind: Kind, file: Path | str, *, url: str | None, token: str | None) -> None:
    """Mend this file. Raises ReuniteError where it is beyond that."""
    if isinstance(file, str):
        _mend_hub(file, _odd_on_postgresql(file))
    elif kind is Kind.HUB:
        _mend_hub(file, odd_tables(file))
    else:
        _mend_replica(file, url=url, token=token)


def _odd_on_postgresql(url: str) -> list[str]:
    # psycopg is an extra.
    from reunite.cli import content_postgresql
    from reunite.stores.sql.postgresql import PostgresDatabase

    with closing(PostgresDatabase(url)) as database:
        return content_postgresql.odd_tables(database)


def _mend_hub(file: Path | str, odd: Iterable[str]) -> None:
    with open_hub(file) as hub:  # which makes the triggers of tables that changed
        for table in odd:
            hub.resend(table)
        hub.number()


def _mend_replica(file: Path, *, url: str | None, token: str | None) -> None:
    protect_token(file)
    given = None
    with suppress(NotAuthenticatedError):
        given = remembered_token(file, token)
    with open_replica(file, token=given, url=url) as replica:
        try:
            replica.renew_capture()
        except NotAReplicaError:  # the first clone has not finished
            return
        if given is not None:
            with suppress(HubUnreachableError):
                replica.repair()
