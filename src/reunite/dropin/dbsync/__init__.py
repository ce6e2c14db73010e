"""dbsync's calls over reunite, made correct: `from reunite.dropin import dbsync`.

    dbsync.set_engine(engine)           the engine of the default client or server
    dbsync.create_all()                 from here on, writes are logged
    from reunite.dropin.dbsync import client, server

A process may have several: `dbsync.Replica(engine)` is a client of its own.
"""

from __future__ import annotations

from typing import Any

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.core import (
    Base,
    create_all,
    drop_all,
    generate_content_types,
    get_engine,
    is_synched,
    save_extensions,
    set_engine,
    set_listening_mutex,
    set_log_target,
)

__version__ = "0.7.0"
__version_info__ = (0, 7, 0)


def __getattr__(name: str) -> Any:
    # Importing the client is what makes a process a client.
    if name == "Replica":
        from reunite.dropin.dbsync.client.node import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Base",
    "Replica",
    "core",
    "create_all",
    "drop_all",
    "generate_content_types",
    "get_engine",
    "is_synched",
    "save_extensions",
    "set_engine",
    "set_listening_mutex",
    "set_log_target",
]
