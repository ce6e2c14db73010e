"""A tracked table as statements: what the store says to the database about its rows.

What it is       SQL texts and value converters of one table, worked out once and kept; the part
                 that all dialects share. `dialects/` complete it.
What it is not   reflection or triggers; those are the dialect's.
The rule         a statement that every database understands is written here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import quoted
from reunite.stores.sql.where import Condition, condition_of

if TYPE_CHECKING:
    from reunite.stores.sql.dialect import Dialect


class TupleSource(msgspec.Struct, frozen=True, kw_only=True):
    """Tuples of values as something to select from.

    `sql` stands in FROM and is called `given`; `columns` are the expressions of its values.
    """

    sql: str
    columns: tuple[str, ...]
    parameters: tuple[Any, ...]


class Reader(Protocol):
    """Reads rows of some columns in wire form, of a table that is called t."""

    def read(self, session: Session, source: str, parameters: Sequence[Any]) -> list[Row]:
        """The rows of a FROM clause and what follows it."""
        ...


class TablePlan(ABC):
    """The statements of one table in one version of its schema."""

    dialect: Dialect
    comparing: Any  # a Comparing
    reader: Reader
    key_reader: Reader
    read_key: Callable[[str], Key]

    def __init__(self, schema: TableSchema, *, sql_name: str) -> None:
        self.schema = schema
        self.name = schema.name
        self.sql_name = sql_name
        self.others: Mapping[str, TablePlan] = {}  # all tables, to which expressions may lead
        self.keys_sql = ", ".join(f"t.{quoted(name)}" for name in schema.key)

    # --- Reading ----------------------------------------------------------------------------------

    def rows(self, session: Session, keys: Iterable[Key], *, locked: bool = False) -> list[Row]:
        """The rows of these keys that exist; locked in the order of the key if other writers
        could come between."""
        found: list[Row] = []
        end = self.locking if locked else ""
        for source in self.key_sources(list(dict.fromkeys(keys))):
            found += self.reader.read(
                session,
                f"{source.sql} {self.dialect.joined} {self.sql_name} AS t "
                f"ON {self.key_equals(source.columns)} {end}",
                source.parameters,
            )
        return found

    def scan(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Row]:
        """Rows in order of the key, of those that an expression means."""
        return self._in_order(session, self.reader, self._condition(where), after, limit)

    def scan_keys(
        self, session: Session, *, after: Key | None, limit: int, where: Expression | None = None
    ) -> list[Key]:
        """Keys in order, of the rows that an expression means."""
        return self._in_order(session, self.key_reader, self._condition(where), after, limit)

    def find(
        self,
        session: Session,
        where: dict[str, Any],
        *,
        after: Key | None,
        limit: int,
        only: Expression | None = None,
    ) -> list[Row]:
        """Rows in order of the key whose columns equal `where`, of those that `only` means."""
        equal = [self.equals(name, value) for name, value in where.items()]
        if only is not None:
            equal.append(self._condition(only))
        condition = Condition(
            " AND ".join(part.sql for part in equal),
            tuple(value for part in equal for value in part.parameters),
        )
        return self._in_order(session, self.reader, condition, after, limit)

    def pointing(
        self,
        session: Session,
        columns: Sequence[str],
        keys: Collection[Key],
        *,
        after: Key | None,
        limit: int,
    ) -> list[Row]:
        """Rows in order of the key that hold one of these keys in these columns."""
        found: list[Row] = []
        for source in self.value_sources(columns, list(keys)):
            points = " AND ".join(
                f"t.{quoted(name)} = {given}"
                for name, given in zip(columns, source.columns, strict=True)
            )
            conditions, parameters = self._beyond(after)
            where = " AND ".join([f"({points})", *conditions])
            found += self.reader.read(
                session,
                f"{source.sql} {self.dialect.joined} {self.sql_name} AS t ON {where}"
                f" ORDER BY {self.keys_sql} LIMIT ?",
                (*source.parameters, *parameters, limit),
            )
        return found

    def _beyond(self, after: Key | None) -> tuple[list[str], list[Any]]:
        """The conditions that a row has a key, and one after this one, with their parameters."""
        conditions = [self.named] if self.named else []
        if after is None:
            return conditions, []
        marks = ", ".join("?" * len(after))
        return [*conditions, f"({self.keys_sql}) > ({marks})"], [*self.stored_key(after)]

    def _condition(self, where: Expression | None) -> Condition:
        if where is None:
            return Condition("")
        return condition_of(where, self.schema, self.comparing, self.others)

    def _in_order(
        self,
        session: Session,
        reader: Reader,
        condition: Condition,
        after: Key | None,
        limit: int,
    ) -> list[Row]:
        return reader.read(session, *self._source(condition, after, limit))

    def source_in_order(
        self, *, after: Key | None, limit: int, where: Expression | None
    ) -> tuple[str, tuple[Any, ...]]:
        """What stands behind FROM, and its parameters, for what `scan` reads."""
        return self._source(self._condition(where), after, limit)

    def _source(
        self, condition: Condition, after: Key | None, limit: int
    ) -> tuple[str, tuple[Any, ...]]:
        conditions, beyond = self._beyond(after)
        conditions = [*([condition.sql] if condition.sql else []), *conditions]
        where_sql = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return (
            f"{self.sql_name} AS t {where_sql} ORDER BY {self.keys_sql} LIMIT ?",
            (*condition.parameters, *beyond, limit),
        )

    def defaults(self, session: Session) -> Row:
        """What each column gets where nothing is said."""
        values = ", ".join(
            f"{self.default_sql(name)} AS {quoted(name)}" for name in self.schema.column_names
        )
        return self.reader.read(session, f"(SELECT {values}) AS t", ())[0]

    def count(
        self, session: Session, where: Expression | None = None, *, limit: int | None = None
    ) -> int:
        """How many rows there are, or how many an expression means; at most `limit`."""
        condition = self._condition(where)
        where_sql = " AND ".join(sql for sql in (self.named, condition.sql) if sql)
        where_sql = f"WHERE {where_sql}" if where_sql else ""
        text = f"SELECT count(*) FROM {self.sql_name} AS t {where_sql}"
        if limit is not None:
            text = (
                f"SELECT count(*) FROM (SELECT 1 FROM {self.sql_name} AS t {where_sql} "
                f"LIMIT {limit:d}) AS found"
            )
        return int(session.execute(text, condition.parameters)[0][0])

    def widest_gap(self, session: Session) -> tuple[int, int] | None:
        """First and last of the most keys in a row that neither the table nor a block holds."""
        name, top = quoted(self.schema.key[0]), self.schema.generated_key_max
        found = session.execute(
            f"""
            WITH taken (first, last) AS (
                SELECT {name}, {name} FROM {self.sql_name} WHERE {name} BETWEEN 1 AND {top}
                UNION ALL SELECT first, last FROM reunite_block WHERE table_name = ?
                UNION ALL SELECT {top + 1}, {top + 1}
            ), gap (first, last) AS (
                SELECT 1 + coalesce(max(last) OVER (
                    ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), 0), first - 1 FROM taken
            )
            SELECT first, last FROM gap WHERE first <= last ORDER BY last - first DESC LIMIT 1
            """,
            (self.name,),
        )
        return (int(found[0][0]), int(found[0][1])) if found else None

    def key_equals(self, expressions: Sequence[str]) -> str:
        """The condition that t has this key."""
        return " AND ".join(
            f"t.{quoted(name)} = {expression}"
            for name, expression in zip(self.schema.key, expressions, strict=True)
        )

    named = ""  # the condition that t has a key, where NULL may stand in one
    locking = ""  # what locks the rows of a SELECT, in order of the key

    # --- What a dialect completes -----------------------------------------------------------------

    @abstractmethod
    def default_sql(self, name: str) -> str:
        """A column's default as an expression that is of the column's type."""

    @abstractmethod
    def key_sources(self, keys: Sequence[Key]) -> Iterator[TupleSource]:
        """Keys as something to select from."""

    @abstractmethod
    def value_sources(self, columns: Sequence[str], tuples: Sequence[Key]) -> Iterator[TupleSource]:
        """Values of these columns as something to select from: one source at most."""

    @abstractmethod
    def stored_key(self, key: Key) -> Sequence[Any]:
        """A key as the database is given it."""

    @abstractmethod
    def equals(self, name: str, value: Value) -> Condition:
        """The condition that a column of t has this value; None means NULL."""

    @abstractmethod
    def read_image(self, values: Sequence[Any]) -> Row:
        """A row of this version from the image in `LogWords.entry`."""

    @abstractmethod
    def image_of(self, columns: Sequence[str]) -> tuple[str, Callable[[Sequence[Any]], Row]]:
        """What to select from change c, and what reads it: these columns of the row before."""

    @abstractmethod
    def log_keys(self, session: Session, keys: Iterable[Key]) -> list[str]:
        """Keys as the triggers write them."""

    @abstractmethod
    def lease(self, session: Session, *, above: int, size: int) -> int:
        """The first of `size` generated keys, above `above` and every key that is or that the
        database has given, those beyond `generated_key_max` left out. Where there is no room for
        so many, nothing is reserved."""

    @abstractmethod
    def insert(self, session: Session, rows: Sequence[Row], *, is_plain: bool = False) -> int:
        """Insert whole rows, in their order; how many the database wrote. `is_plain` says that no
        value of them is tagged."""

    @abstractmethod
    def update(
        self, session: Session, columns: tuple[str, ...], values: Sequence[Row], keys: Sequence[Key]
    ) -> int:
        """Set these columns in the rows of these keys; how many the database wrote."""

    @abstractmethod
    def set_stored(
        self, session: Session, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """The same with values as they are stored; each of `rows` ends with a stored key."""

    @abstractmethod
    def temporary(self, name: str, token: str, count: int) -> Any:
        """A stored value that no row has in this column, for a moment; another one for each
        count. `token` is random, 16 hexadecimal digits."""

    @abstractmethod
    def delete(self, session: Session, keys: Sequence[Key]) -> int:
        """Delete the rows of these keys; how many the database deleted."""

    @abstractmethod
    def touch(self, session: Session, keys: Sequence[Key]) -> None:
        """Log the rows of these keys as they are, as the triggers would."""
