"""SQLAlchemy on both sides: the hub's models, and sessions on a replica's file.

    hub.track(Model)                   in the core: capture is in the database, whoever writes
    acting_as(hub, session, "ann")     what a session writes was done by ann
    migrating(engine), include_name    for Alembic's env.py

    replica.track(Model)               whether a replica has what a model maps
    replica_engine(replica)            an engine on its file; a commit is one group
    replica_async_engine(replica)      the same for asyncio
    create_all(engine, metadata)       what a replica lacks of a model: tables of its own, indexes

The rule         a session on a replica writes what the hub's database would have given back:
                 `types.py` knows in which form.
"""

from reunite.contrib.sqlalchemy.engines import create_all, replica_async_engine, replica_engine
from reunite.contrib.sqlalchemy.migrations import include_name, migrating
from reunite.contrib.sqlalchemy.writing import acting_as

__all__ = [
    "acting_as",
    "create_all",
    "include_name",
    "migrating",
    "replica_async_engine",
    "replica_engine",
]
