"""A replica's state: who it is, how far it has read, which numbers it has given.

Loaded and saved inside the caller's transaction; nothing is cached between transactions, because
another process may use the same file.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import msgspec

from reunite.core.schema import TableSchema
from reunite.errors import NotAReplicaError
from reunite.protocol.push import Former
from reunite.protocol.register import KeyBlock


class Connection(Protocol):
    """As much of `sqlite3.Connection` as the state needs: other drivers' have it too."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Run a statement."""
        ...

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        """Run a statement once for each of the parameters."""
        ...


class State(msgspec.Struct, kw_only=True):
    """One value of everything; `save_changes` writes what differs from what was loaded.

    `whose` tells the user that the file was last synced as from others, if the hub said so;
    `cursor` is where the next pull reads on (the end of the inbox), `checkpoint` the cursor of what
    is shown, `repaired` that of the last repair's answer in the inbox. `known_n` is the last number
    whose outcome is stored, `known_id` the id of that change until a checkpoint includes it,
    `covered_n` the last one that the shown checkpoint includes, `sent_n`
    the last one that was ever sent, `resend_n` the last one that must be sent before the next pull
    (after a new identity). `blocks` hold the next key to give and the last one, `granted` the whole
    blocks, `reserved` keys that were asked for and no insert has used yet; `stamp` is the last one
    issued, `heard_stamp` the last that the hub's clock gave;
    `where` has the expressions of the tables of which only some rows are wanted, in JSON form;
    `next_schemas` are those of what gathers in the inbox, where they are others; `revision` and
    `next_revision` are what pages call the two; `generations` say up to which gap in the hub's log
    of each table the rows that are shown are healed, `next_generations` those that gather;
    `must_scrub` says that something was erased which the file's free pages may still hold;
    `has_misplaced` says that inserts may lie outside the blocks, `missing_keys` how many more keys
    are needed to move them; `has_traces` that the file's log may hold rows that were taken away.
    """

    url: str = ""
    replica: str = ""
    whose: str = ""
    epoch: str = ""
    formers: tuple[Former, ...] = ()
    tables: tuple[str, ...] | None = None
    where: dict[str, Any] = {}
    schemas: tuple[TableSchema, ...] = ()
    revision: str = ""
    next_schemas: tuple[TableSchema, ...] | None = None
    next_revision: str = ""
    generations: dict[str, str] = {}
    next_generations: dict[str, str] = {}
    is_ready: bool = False
    cursor: str | None = None
    checkpoint: str | None = None
    repaired: str | None = None
    mark: int = 0
    next_n: int = 1
    known_n: int = 0
    known_id: str = ""
    covered_n: int = 0
    sent_n: int = 0
    resend_n: int = 0
    stamp: str = ""
    heard_stamp: str = ""
    blocks: tuple[KeyBlock, ...] = ()
    granted: tuple[KeyBlock, ...] = ()
    reserved: tuple[tuple[str, int], ...] = ()
    must_scrub: bool = False
    has_misplaced: bool = False
    has_traces: bool = False
    missing_keys: tuple[tuple[str, int], ...] = ()
    synced_ms: int = 0
    last_error: str = ""


_FIELDS = {field.name: field.type for field in msgspec.structs.fields(State)}


# Where they cannot be read, the next pull begins at nothing and brings what they said.
_PULLED_AGAIN = frozenset({"cursor", "checkpoint", "revision", "next_schemas", "next_revision"})


def load_state(connection: Connection) -> State:
    """The state as the file has it. Raises NotAReplicaError for one that cannot be read and that
    no pull would bring again."""
    values = {}
    for name, text in connection.execute("select name, value from reunite_state"):
        if name not in _FIELDS:
            continue
        try:
            values[name] = _decoded(name, text)
        except (msgspec.MsgspecError, TypeError, UnicodeError) as exc:
            if name not in _PULLED_AGAIN:
                raise NotAReplicaError(
                    f"The replica's file is damaged: its {name!r} cannot be read. Restore the file "
                    "from a backup, or clone into a new one."
                ) from exc
    return State(**values)


@lru_cache(maxsize=200)
def _decoded(name: str, text: str) -> Any:
    """A field's value; nobody changes one, so equal texts may share one."""
    return msgspec.json.decode(text, type=_FIELDS[name])


def save_changes(connection: Connection, before: State, after: State) -> None:
    """Write the fields that differ."""
    connection.executemany(
        "insert into reunite_state (name, value) values (?, ?)"
        " on conflict (name) do update set value = excluded.value",
        [
            (name, msgspec.json.encode(getattr(after, name)).decode())
            for name in _FIELDS
            if getattr(after, name) != getattr(before, name)
        ],
    )


def void_inbox(connection: Connection, state: State) -> None:
    """Forget what was gathered: the next pull begins at the checkpoint that is shown."""
    dropped = connection.execute("delete from reunite_inbox").rowcount
    state.has_traces |= dropped > 0
    state.cursor, state.repaired = state.checkpoint, None
    state.next_schemas, state.next_revision = None, ""
    state.next_generations = {}
