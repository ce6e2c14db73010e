"""Text that is no text: SQLite keeps whatever bytes a program calls a text, JSON and Python do not.

Nobody could read such a value as text, so it is taken for the blob that it is, in the outbox and
in the table: then it travels like any other value that does not fit its column, and the hub's
judgement of it comes back. Left as it was, no change behind it could be read either.

The rule         in the caller's transaction, with our triggers suspended, before anything is
                 numbered; nothing but values that cannot be read is changed.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reunite.core.schema import TableSchema
from reunite.replica.pending import Schemas
from reunite.replica.users_triggers import rest, wake
from reunite.stores.sql.dialects.sqlite_log import key_image
from reunite.stores.sql.quoting import quoted

# How triggers write a blob in a column that is meant for other values.
_BLOB_TAG = "reunite:blob"

_FRESH = "from reunite_change where n is null and id between ? and ?"
_TEXTS = f"select key, old_key, old, row {_FRESH}"
# The key of an insert is in its row.
_ROWS = f"select row {_FRESH}"
_RAW = f"select id, table_name, key, old_key, old, row {_FRESH}"
_ALL = (0, 2**63 - 1)
_SAVE = "update reunite_change set key = ?, old_key = ?, old = ?, row = ? where id = ?"


def make_readable(
    connection: sqlite3.Connection,
    schemas: Schemas,
    *,
    ids: tuple[int, int] = _ALL,
    has_inserts_only: bool = False,
) -> None:
    """Turn texts that are no UTF-8, in what was captured since last time, into blobs. One pass over
    that if there are none; `ids` are the first and the last entry to look at."""
    try:
        deque(connection.execute(_ROWS if has_inserts_only else _TEXTS, ids), maxlen=0)
    except sqlite3.OperationalError as exc:
        if not str(exc).startswith("Could not decode"):
            raise
    else:
        return
    resting = rest(connection, schemas)
    with _bytes_for_text(connection):
        raws = connection.execute(_RAW, ids)
        found = [(*row[:2], row[2:]) for row in raws if not all(map(_is_text, row[2:]))]
        for change_id, table, texts in found:
            schema = schemas.get(table.decode())
            if schema is not None:
                for key in filter(None, texts[:2]):
                    _convert_row(connection, schema, key)
            connection.execute(_SAVE, (*map(_readable, texts), change_id))
    wake(connection, resting)


def _convert_row(connection: sqlite3.Connection, schema: TableSchema, key: bytes) -> None:
    """Make blobs of what is no text in the row of this key, as the log spells it."""
    table, names = quoted(schema.name), [quoted(name) for name in schema.column_names]
    place = f"where {key_image(schema, 't')} = cast(? as text)"
    kinds = ", ".join(f"typeof({name}), {name}" for name in names)
    for row in connection.execute(f"select {kinds} from {table} as t {place}", (key,)).fetchall():
        found = [
            name
            for name, kind, value in zip(names, row[::2], row[1::2], strict=True)
            if kind == b"text" and not _is_text(value)
        ]
        if found:
            sets = ", ".join(f"{name} = cast({name} as blob)" for name in found)
            connection.execute(f"update {table} as t set {sets} {place}", (key,))


def _readable(text: bytes | None) -> str | None:
    if text is None or _is_text(text):
        return None if text is None else text.decode()
    # A byte that is no text becomes a lone surrogate, and from that the byte again.
    values = json.loads(text.decode(errors="surrogateescape"))
    return json.dumps(_tagged(values), ensure_ascii=False, separators=(",", ":"))


def _tagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        # Inside JSON there are no blobs.
        return {
            _bytes(name).decode(errors="replace"): _tagged(item) for name, item in value.items()
        }
    if isinstance(value, str):
        return value if _is_text(_bytes(value)) else {_BLOB_TAG: _bytes(value).hex().upper()}
    return value


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _is_text(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


@contextmanager
def _bytes_for_text(connection: sqlite3.Connection) -> Iterator[None]:
    connection.text_factory = bytes
    try:
        yield
    finally:
        connection.text_factory = str
