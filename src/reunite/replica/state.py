"""A replica's state: who it is, how far it has read, which numbers it has given.

Loaded and saved inside the caller's transaction; nothing is cached between transactions, because
another process may use the same file.
"""

from __future__ import annotations

import sqlite3

import msgspec

from reunite.core.schema import TableSchema
from reunite.protocol.register import KeyBlock


class State(msgspec.Struct, kw_only=True):
    """One value of everything; `save_state` writes what differs from what was loaded.

    `cursor` is where the next pull reads on (the end of the inbox), `checkpoint` the cursor of what
    is shown. `known_n` is the last number whose outcome is stored, `sent_n` the last one that was
    ever sent, `resend_n` the last one that must be sent before the next pull (after a new
    identity). `blocks` hold the next key to give and the last one, `granted` the whole blocks;
    `has_misplaced` says that an insert waits for a block to move into.
    """

    url: str = ""
    replica: str = ""
    epoch: str = ""
    tables: tuple[str, ...] | None = None
    schemas: tuple[TableSchema, ...] = ()
    is_ready: bool = False
    cursor: str | None = None
    checkpoint: str | None = None
    mark: int = 0
    next_n: int = 1
    known_n: int = 0
    sent_n: int = 0
    resend_n: int = 0
    stamp: str = ""
    blocks: tuple[KeyBlock, ...] = ()
    granted: tuple[KeyBlock, ...] = ()
    has_misplaced: bool = False
    synced_ms: int = 0
    last_error: str = ""


_FIELDS = {field.name: field.type for field in msgspec.structs.fields(State)}


def load_state(connection: sqlite3.Connection) -> State:
    """The state as the file has it."""
    values = {}
    for name, text in connection.execute("select name, value from reunite_state"):
        if name in _FIELDS:
            values[name] = msgspec.json.decode(text, type=_FIELDS[name])
    return State(**values)


def save_state(connection: sqlite3.Connection, state: State, *names: str) -> None:
    """Write these fields of the state."""
    connection.executemany(
        "insert into reunite_state (name, value) values (?, ?)"
        " on conflict (name) do update set value = excluded.value",
        [(name, msgspec.json.encode(getattr(state, name)).decode()) for name in names],
    )
