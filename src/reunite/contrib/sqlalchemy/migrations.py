"""Alembic: reunite's own tables left alone, and its triggers out of the way and back again.

context.configure(…, include_name=include_name)      autogenerate does not see `reunite_*`
with migrating(engine): context.run_migrations()     capture off, and on again whatever happens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from reunite.engine.ports import HasUrl, TableMigration
from reunite.errors import CallerError
from reunite.hub import Hub

OWN_PREFIX = "reunite_"


def include_name(
    name: str | None, type_: str, parent_names: Mapping[str, str | None] | None = None
) -> bool:
    """Whether autogenerate is to look at this: at everything but what is reunite's own, its tables
    and the indexes that it makes on a replica's. The hook `include_name` of Alembic."""
    return not (name or "").startswith(OWN_PREFIX)


@contextmanager
def migrating(engine: HasUrl) -> Iterator[Sequence[TableMigration]]:
    """Run migrations in the block with capture out of their way, as `Hub.migrating` does.

    Open the connection that migrates inside the block. What became of each table is in the list
    when the block has ended. Of a database that is no hub's yet, or is not there, the list stays
    empty and nothing else happens, so an `env.py` may call it everywhere. Raises
    StorageUnavailableError if somebody is migrating already.
    """
    try:
        hub = Hub(engine)
    except CallerError:
        yield ()
        return
    with hub:
        try:
            hub.adopt()
        except CallerError:
            yield ()
            return
        with hub.migrating() as tables:
            yield tables
