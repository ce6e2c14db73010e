"""The server's own tables beside the hub's: who the nodes are, and a few notes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)

from reunite.dropin.dbsync.server.own_rows import own_rows_table

metadata = MetaData()

# `last_push` is the node's last one, by which it is known when it comes again.
nodes = Table(
    "reunite_dbsync_node",
    metadata,
    Column("node_id", Integer, primary_key=True),
    Column("registered", DateTime, nullable=False),
    Column("registry_user_id", Integer),
    Column("secret", String(128), nullable=False),
    Column("counter", BigInteger, nullable=False, default=0),
    Column("last_push", String(100)),
    Column("last_version", BigInteger),
)

notes = Table(
    "reunite_dbsync_state",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)

own = own_rows_table(metadata)


def read_state(engine: Engine, name: str) -> str | None:
    """A note; None if it was never written."""
    with engine.connect() as db:
        return db.execute(select(notes.c.value).where(notes.c.name == name)).scalar()


def write_state(engine: Engine, name: str, value: str) -> None:
    """Keep a note."""
    with engine.begin() as db:
        db.execute(delete(notes).where(notes.c.name == name))
        db.execute(insert(notes).values(name=name, value=value))
