"""Packs (`protocol/pack.py`) as SQLite makes and reads them: rows pass from database to database
inside SQLite, without becoming objects of Python.

The rule         values are copied as they are stored. A replica's column makes of them what the
                 hub's does (its affinity), so they arrive as the wire's forms would have, or more
                 exactly. Text that is no UTF-8 has no place in a pack: the page goes as JSON.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.schema import ColumnType
from reunite.errors import BadRequestError
from reunite.protocol.pack import table_name, table_sql
from reunite.protocol.pull import TablePage
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialects.sqlite_plan import RowReader
from reunite.stores.sql.ports import Session, UnreadableTextError
from reunite.stores.sql.quoting import quoted

# What a connection calls the pack's database while it has one.
PACK = "reunite_pack"

_TEXTS = frozenset(
    {
        ColumnType.TEXT, ColumnType.UUID, ColumnType.JSON,
        ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME,
    }
)  # fmt: skip
_UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def can_pack() -> bool:
    """Whether this Python's SQLite gives and takes whole databases."""
    return hasattr(sqlite3.Connection, "serialize")


def begin_pack(session: Session, catalogue: Catalogue) -> SqlitePack | None:
    """An empty pack, if the transaction may make one."""
    is_utf8 = can_pack() and str(session.execute("PRAGMA encoding")[0][0]) == "UTF-8"
    return SqlitePack(session, catalogue) if is_utf8 and session.attach(PACK) else None


class SqlitePack:
    """See `engine.ports.Pack`. Of one transaction, which ends with the pack's database."""

    def __init__(self, session: Session, catalogue: Catalogue) -> None:
        self._session = session
        self._catalogue = catalogue
        self._types: dict[str, tuple[ColumnType, ...]] = {}  # by table of the pack
        self._page_bytes = int(session.execute(f"PRAGMA {PACK}.page_size")[0][0])

    @property
    def size_bytes(self) -> int:
        return int(self._session.execute(f"PRAGMA {PACK}.page_count")[0][0]) * self._page_bytes

    def add(
        self,
        name: str,
        table: str,
        columns: Sequence[str],
        *,
        after: Key | None,
        limit: int,
        where: Expression | None,
    ) -> tuple[int, Key | None]:
        plan = self._catalogue.plan(table)
        target = f"{PACK}.{name}"
        if name not in self._types:
            # With the database's name for this connection, which SQLite does not keep.
            self._session.execute(table_sql(target, len(columns)))
            self._types[name] = tuple(plan.schema.column[column].type for column in columns)
        source, parameters = plan.source_in_order(after=after, limit=limit, where=where)
        selected = ", ".join(f"t.{quoted(column)}" for column in columns)
        added = self._session.execute_counted(
            f"INSERT INTO {target} SELECT {selected} FROM {source}", parameters
        )
        if not added:
            return 0, after
        key_columns = tuple(
            msgspec.structs.replace(plan.schema.column[column], name=f"c{columns.index(column)}")
            for column in plan.schema.key
        )
        reader = RowReader(msgspec.structs.replace(plan.schema, columns=key_columns))
        (key,) = reader.read(self._session, f"{target} AS t ORDER BY t._rowid_ DESC LIMIT 1", ())
        return added, key

    def read(self) -> bytes | None:
        if not self._types:
            return b""
        if not all(self._has_texts(name) for name in self._types):
            return None
        image: bytes = self._session.handle.serialize(name=PACK)
        return image

    def _has_texts(self, name: str) -> bool:
        """Whether all texts of the pack's table are texts. Columns of texts are looked at
        together, in a third of the time that it takes by value; those of numbers only if a value
        is neither a number nor NULL."""
        types = self._types[name]
        columns = [f"c{i}" for i in range(len(types))]
        of_text = [
            c for c, column_type in zip(columns, types, strict=True) if column_type in _TEXTS
        ]
        others = [column for column in columns if column not in of_text]
        is_odd = " OR ".join(f"{column} >= ''" for column in others) or "0"
        table = f"{PACK}.{name}"
        ((has_odd,),) = self._session.execute(
            f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {is_odd})"
        )
        if not has_odd and self._reads(table, of_text):
            return True
        # A blob that stands among texts may have misled it.
        return self._reads(table, [f"CASE typeof({c}) WHEN 'text' THEN {c} END" for c in columns])

    def _reads(self, table: str, expressions: Sequence[str]) -> bool:
        """Whether these values, put together, are text. The comma between two of them keeps the
        halves of a character apart."""
        together = ", ".join(f"group_concat({expression})" for expression in expressions)
        try:
            self._session.execute(f"SELECT {together or 1} FROM {table}")
        except UnreadableTextError:
            return False
        return True


@contextmanager
def unpacking(connection: sqlite3.Connection, pack: bytes) -> Iterator[None]:
    """Have the pack's database at hand; not inside a transaction. Nothing if there is no pack.

    Raises BadRequestError if the pack is damaged, also when that shows while it is read.
    """
    if not pack:
        yield
        return
    connection.execute(f"ATTACH ':memory:' AS {PACK}")
    try:
        connection.deserialize(pack, name=PACK)
        # What a stranger made may look like a database and be none.
        connection.execute("PRAGMA cell_size_check = ON")
        yield
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _UNREADABLE:
            raise BadRequestError("The hub's pack of rows is damaged.") from exc
        raise
    finally:
        connection.execute(f"DETACH {PACK}")


def check_pack(connection: sqlite3.Connection, parts: Sequence[TablePage]) -> None:
    """Raise BadRequestError unless the pack at hand has just the tables that these parts name."""
    wanted = [
        (table_name(place), table_sql(table_name(place), len(part.columns)))
        for place, part in enumerate(parts)
    ]
    found = connection.execute(f"SELECT name, sql FROM {PACK}.sqlite_schema").fetchall()
    if sorted(found) != sorted(wanted) or [part.packed for part in parts] != [n for n, _ in wanted]:
        raise BadRequestError("The hub's pack of rows is not what its page says.")


def unpack_sql(table: str, columns: Sequence[str], part: TablePage) -> str:
    """The statement that puts the packed rows of a part into a replica's table with these columns;
    one that the part does not have stays empty."""
    places = {name: f"c{i}" for i, name in enumerate(part.columns)}
    names = ", ".join(map(quoted, columns))
    values = ", ".join(places.get(name, "NULL") for name in columns)
    return (
        f"INSERT OR REPLACE INTO {quoted(table)} ({names}) "
        f"SELECT {values} FROM {PACK}.{part.packed}"
    )
