"""Groups: transactions of the application, told apart in the outbox.

    first = begin(connection)     the write lock is held; nothing is written yet
    …                             the triggers fill the outbox
    end(connection, first, now)   all since then is one group, in the same transaction

What it is       marks on any connection to the replica's file: that of `Replica.transaction`, and
                 those of an ORM that `reunite.contrib.sqlalchemy` binds.
The rule         a mark is written by the transaction that it is about, so both commit or neither.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.errors import BadRequestError
from reunite.replica.keys import KeyBlocks
from reunite.replica.state import Connection, State, load_state, save_changes
from reunite.stores.sql.quoting import quoted


def begin(connection: Connection) -> int:
    """Where the outbox stands, for `end`."""
    found = connection.execute(
        "select seq from sqlite_sequence where name = 'reunite_change'"
    ).fetchone()
    return int(found[0]) if found else 0


def end(connection: Connection, first: int, now_ms: Callable[[], int]) -> bool:
    """Mark what was written since `begin`; whether there is something."""
    last = begin(connection)
    if last <= first:
        return False
    connection.execute(
        "insert into reunite_group (first_id, last_id, at_ms) values (?, ?, ?)",
        (first + 1, last, now_ms()),
    )
    return True


def draw_keys(connection: Connection, table: str, count: int) -> list[int]:
    """Generated keys of the replica's block, in the connection's transaction: so many, or fewer
    where the block is used up; none for a table whose keys are not generated."""
    state = load_state(connection)
    if not any(each.name == table and each.generated_key for each in state.schemas):
        return []
    before = msgspec.structs.replace(state)
    keys: list[int] = []
    while len(keys) < count and (key := take_key(connection, state, table)) is not None:
        keys.append(key)
    save_changes(connection, before, state)
    return keys


def take_key(connection: Connection, state: State, table: str) -> int | None:
    """The same, of a state that the caller loads and saves."""
    schema = next((each for each in state.schemas if each.name == table), None)
    if schema is None or not schema.generated_key:
        raise BadRequestError(f"The keys of {table!r} are not generated.")
    blocks = KeyBlocks(state.blocks)
    while (key := blocks.take_last(table)) is not None:
        if not _exists(connection, schema, (key,)):
            break
    state.blocks = blocks.value()
    if key is not None:
        state.reserved = (*state.reserved, (table, key))
    return key


def _exists(connection: Connection, schema: TableSchema, key: Key) -> bool:
    where = " and ".join(f"{quoted(name)} = ?" for name in schema.key)
    found = connection.execute(f"select 1 from {quoted(schema.name)} where {where}", key)
    return found.fetchone() is not None
