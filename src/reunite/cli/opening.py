"""Opening what a command is about: a hub's database or a replica's file, never a new file.

The rule         no command but `serve` and `demo` puts triggers into a database, and no command
                 makes a file because of a typing mistake.
"""

from __future__ import annotations

import enum
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from reunite.errors import CallerError, NotAReplicaError
from reunite.hub import Hub
from reunite.replica import Replica
from reunite.stores.sql.database import connect_to_look
from reunite.stores.sql.store import is_postgresql, open_store

# `sqlite://x` as a path is `sqlite:/x`; one letter before the colon is a drive.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):(?:[/\\]|$)", re.IGNORECASE)

# After the user's name, up to the last @ since it may hold anything, or as a parameter.
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/@?]*:).*(?=@)|(?P<name>[?&]\w*password=)[^&]*")


class Kind(enum.StrEnum):
    """What a database is to reunite."""

    HUB = "hub"
    REPLICA = "replica"
    PLAIN = "plain"


def kind_of(database: str | Path) -> Kind:
    """What this file, or the database with this URL, is. Raises CallerError if there is none, or
    if it is no SQLite database."""
    if is_postgresql(database):
        with open_store(database) as store:
            return Kind.HUB if store.is_hub() else Kind.PLAIN
    path = Path(database)
    check_is_no_url(path)
    if not path.exists():
        raise CallerError(f"There is no file {path}: check the name.")
    if not path.is_file():
        raise CallerError(f"{path} is not a file: name an SQLite file.")
    with closing(connect_to_look(path)) as connection:
        try:
            names = {
                name
                for (name,) in connection.execute(
                    "select name from sqlite_schema where name like 'reunite\\_%' escape '\\'"
                )
            }
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorname != "SQLITE_NOTADB":
                raise
            raise CallerError(f"{path} is not an SQLite database: name another file.") from exc
    if "reunite_state" in names:
        return Kind.REPLICA
    return Kind.HUB if "reunite_commit" in names else Kind.PLAIN


def check_is_no_url(path: Path) -> None:
    """Raises CallerError for a URL where a file is to be named. What it is to be, is said without
    repeating it: it may hold a password."""
    match = _URL.match(str(path))
    if match is None or path.exists():
        return
    scheme = match[1].lower()
    if scheme in ("http", "https"):
        raise CallerError(
            "This is the URL of a hub: name the database or the replica itself, on the machine "
            "that has it."
        )
    if scheme.startswith("postgres"):
        raise CallerError(
            "That is a PostgreSQL database, which only a hub can have: name a replica's file, or "
            "for a copy a new one."
        )
    raise CallerError(
        "This is a URL: name an SQLite file by its path, or a PostgreSQL database as "
        "postgresql://user@host/name."
    )


def shown(database: str | Path) -> str:
    """A database as it was named, without the password of a URL."""
    if not is_postgresql(database):
        return str(database)
    return _PASSWORD.sub(lambda match: f"{match['user'] or match['name']}***", str(database))


@contextmanager
def open_hub(path: str | Path) -> Iterator[Hub]:
    """The hub of this database, with the tables that it tracks already."""
    kind = kind_of(path)
    if kind is Kind.REPLICA:
        raise CallerError(f"{path} is a replica: name the hub's database instead.")
    if kind is Kind.PLAIN:
        name = shown(path)
        raise CallerError(f"{name} is no hub's database yet: `reunite serve {name}` makes it one.")
    with Hub(path) as hub:
        hub.adopt()
        yield hub


def file_of(named: str, instead: str) -> Path:
    """The file that this names. Raises CallerError for the URL of a PostgreSQL database, which
    says what there is instead."""
    if is_postgresql(named):
        raise CallerError(
            f"This works on SQLite files, and that is a PostgreSQL database: {instead}"
        )
    return Path(named)


def check_is_replica(path: Path) -> None:
    """Raises CallerError if there is no such file, NotAReplicaError if it is something else."""
    if kind_of(path) is not Kind.REPLICA:
        raise NotAReplicaError(
            f"{path} is no replica: name another file, or make one with `reunite clone`."
        )


@contextmanager
def open_replica(
    path: Path, *, token: str | Callable[[], str] | None = None, url: str | None = None
) -> Iterator[Replica]:
    """The replica in this file; without `url`, of the hub that it was cloned from."""
    check_is_replica(path)
    with Replica(path, url=url, token=token) as replica:
        yield replica
