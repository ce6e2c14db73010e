"""Adopting: a database that dbsync made becomes reunite's, with what it had not pushed.

    a node's file       credentials, the last version, unpushed inserts as pending changes; unpushed
                        updates and deletes are made again on the server's rows
    a server's          nodes with their secrets, and the version that numbers go on from

dbsync's tables are read and left as they are, or dropped when asked. What a server's log tells of
the past has no values, so nothing is made of it: nodes get all rows with their first pull.

The rule         one transaction for a node's file; adopting twice changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, MetaData, create_engine, insert, inspect, select, text

from reunite.core.key import key_text
from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.node_tables import NODE_TABLES
from reunite.dropin.dbsync.server import tables
from reunite.dropin.dbsync.server.offering import offer
from reunite.errors import CallerError
from reunite.hub import Hub
from reunite.replica.joining import join
from reunite.replica.remaking import defer
from reunite.stores.sql.database import translated

NODE = "node"
SERVER = "server"

# The tables that dbsync makes, children first.
SYNC_TABLES = ("sync_operations", "sync_versions", "sync_nodes", "sync_content_types")

_WORDS = {"i": "insert", "u": "update", "d": "delete"}


class Adoption(NamedTuple):
    """What was found and taken over."""

    side: str
    tables: tuple[str, ...]
    nodes: int
    unpushed: int
    version: int


def adopt(url: str, *, side: str | None = None, drop: bool = False) -> Adoption:
    """Take over a database that dbsync made.

    url     a path of an SQLite file, or a URL as SQLAlchemy has them
    side    "node" or "server"; None where the database says it by itself: only nodes have
            operations without a version, only servers several nodes
    drop    drop dbsync's tables when it is done

    Raises CallerError for a database that dbsync did not make, and for one that does not tell.
    """
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    try:
        if "://" not in url and not Path(url).exists():
            raise CallerError(f"There is no file {url}: check the name.")
        missing = set(SYNC_TABLES) - set(inspect(engine).get_table_names())
        if missing:
            raise CallerError(f"dbsync did not make this database: it has no {min(missing)}.")
        side = side or _side_of(engine)
        adopted = _adopt_node(engine) if side == NODE else _adopt_server(engine)
        if drop:
            with engine.begin() as db:
                for name in SYNC_TABLES:
                    db.execute(text(f"drop table {name}"))
        return adopted
    finally:
        engine.dispose()


def _side_of(engine: Engine) -> str:
    with engine.connect() as db:
        unpushed = "select count(*) from sync_operations where version_id is null"
        if db.scalar(text(unpushed)):
            return NODE
        if (db.scalar(text("select count(*) from sync_nodes")) or 0) > 1:
            return SERVER
    if engine.dialect.name != "sqlite":
        return SERVER
    raise CallerError("This may be a node's database or a server's: say which with --side.")


def _read(engine: Engine) -> tuple[dict[int, str], list[Any], int]:
    """The tracked tables that are there, by dbsync's numbers; the nodes; the last version."""
    there = set(inspect(engine).get_table_names())
    with engine.connect() as db:
        types = db.execute(text("select content_type_id, table_name from sync_content_types"))
        tracked = {number: name for number, name in types if name in there}
        metadata = MetaData()
        metadata.reflect(engine, only=["sync_nodes"])
        nodes = list(db.execute(select(metadata.tables["sync_nodes"])))
        version = db.scalar(text("select max(version_id) from sync_versions")) or 0
    return tracked, nodes, version


def _adopt_node(engine: Engine) -> Adoption:
    if engine.dialect.name != "sqlite":
        raise CallerError("A node is an SQLite file: adopt this database as a server's.")
    tracked, nodes, version = _read(engine)
    path = Path(str(engine.url.database))
    with translated(), closing(sqlite3.connect(path)) as db:
        is_there = "select 1 from sqlite_master where name = 'reunite_dbsync_node'"
        if db.execute(is_there).fetchone():
            return Adoption(NODE, tuple(sorted(tracked.values())), len(nodes), 0, version)
        unpushed = _unpushed(db, tracked)
    inserted: dict[str, set[tuple[int]]] = {}
    again = []
    for (table, row_id), command in unpushed.items():
        if command == "i":
            inserted.setdefault(table, set()).add((row_id,))
        else:
            again.append((table, key_text((row_id,)), _WORDS[command]))

    def note(connection: sqlite3.Connection) -> None:
        for statement in NODE_TABLES:
            connection.execute(statement)
        connection.executemany(
            "insert into reunite_dbsync_node values (?, ?, ?, ?, 0, ?, ?)",
            [
                (
                    node.node_id,
                    node.registered.isoformat(),
                    node.registry_user_id,
                    node.secret,
                    version,
                    version,
                )
                for node in nodes
            ],
        )
        defer(connection, again)

    join(path, tracked.values(), pending=inserted, then=note)
    names = tuple(sorted(tracked.values()))
    return Adoption(NODE, names, len(nodes), len(unpushed), version)


def _unpushed(db: sqlite3.Connection, tracked: Mapping[int, str]) -> dict[tuple[str, int], str]:
    """What a node's operations without a version come to, by table and key."""
    commands: dict[tuple[str, int], list[str]] = {}
    for number, row_id, command in db.execute(
        "select content_type_id, row_id, command from sync_operations "
        'where version_id is null order by "order"'
    ):
        if number in tracked:
            commands.setdefault((tracked[number], row_id), []).append(command)
    squashed = {place: core.squashed(found) for place, found in commands.items()}
    return {place: command for place, command in squashed.items() if command is not None}


def _adopt_server(engine: Engine) -> Adoption:
    tracked, nodes, version = _read(engine)
    metadata = MetaData()
    metadata.reflect(engine, only=list(tracked.values()))
    tables.metadata.create_all(engine)
    with Hub(engine) as hub:
        for name in sorted(tracked.values()):
            offer(hub, metadata.tables[name])
        head = hub.number().seq
    with engine.begin() as db:
        known = set(db.scalars(select(tables.nodes.c.node_id)))
        for node in nodes:
            if node.node_id not in known:
                db.execute(insert(tables.nodes).values(**node._mapping))
    if tables.read_state(engine, "version_offset") is None:
        tables.write_state(engine, "version_offset", str(max(0, version - head)))
    names = tuple(sorted(tracked.values()))
    return Adoption(SERVER, names, len(nodes), 0, version)
