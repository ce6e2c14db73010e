"""Values on a replica, in the form in which the hub's database gives them back.

    the hub is SQLite       as SQLAlchemy writes them into SQLite: nothing to do
    the hub is PostgreSQL   datetime   2026-11-21T10:30:00.000000Z, with a zone
                                       2026-11-21T10:30:00, without; fractions where there are some
                            uuid       with dashes               numeric   text, "2.80"
                            arrays     JSON

A replica keeps a row as the hub has it. A session that wrote `2026-11-21 10:30:00.000000` beside
it would find its own rows by that value and others' not, until the hub has seen them.

What it is not   a translation of all that PostgreSQL has: its intervals, ranges and composite types
                 are texts on a replica.
The rule         a value that is written, sent and read again is the same value and the same text.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sqlalchemy import types
from sqlalchemy.dialects import sqlite

from reunite.core.schema import ColumnType, TableSchema
from reunite.stores.sql.quoting import quoted

# Where the two forms of a time of day and date differ.
_SEPARATOR_PLACE = 10

Process = Callable[[Any], Any] | None


class ExactNumeric(types.Numeric[Any]):
    """Decimals as texts, of as many digits as the column has."""

    def bind_processor(self, dialect: Any) -> Process:
        return _bound(lambda value: _decimal_text(value, self.scale))

    def result_processor(self, dialect: Any, coltype: object) -> Process:
        return _bound((lambda value: Decimal(str(value))) if self.asdecimal else float)


class IsoDateTime(sqlite.DATETIME):
    """Moments in UTC if the column has a zone, else what a clock on a wall shows."""

    def bind_processor(self, dialect: Any) -> Process:
        return _bound(_moment_text if self.timezone else _wall_text)

    def result_processor(self, dialect: Any, coltype: object) -> Process:
        return _bound(_moment if self.timezone else _wall)


class IsoTime(sqlite.TIME):
    """Times of day without a fraction of zeros."""

    def bind_processor(self, dialect: Any) -> Process:
        return _bound(lambda value: _without_zeros(value.isoformat()))

    def result_processor(self, dialect: Any, coltype: object) -> Process:
        return _bound(time.fromisoformat)


class DashedUuid(types.Uuid[Any]):
    """UUIDs with dashes."""

    def bind_processor(self, dialect: Any) -> Process:
        return _bound(lambda value: str(uuid.UUID(str(value))))

    def result_processor(self, dialect: Any, coltype: object) -> Process:
        return _bound(uuid.UUID if self.as_uuid else str)


class JsonArray(types.ARRAY[Any]):
    """Arrays as JSON."""

    def bind_processor(self, dialect: Any) -> Process:
        return _bound(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def result_processor(self, dialect: Any, coltype: object) -> Process:
        return _bound(json.loads)


POSTGRESQL_FORMS: Mapping[type[types.TypeEngine[Any]], type[types.TypeEngine[Any]]] = (
    MappingProxyType(
        {
            types.Numeric: ExactNumeric,
            types.DateTime: IsoDateTime,
            types.TIMESTAMP: IsoDateTime,
            types.Time: IsoTime,
            types.Uuid: DashedUuid,
            types.ARRAY: JsonArray,
        }
    )
)


def has_postgresql_forms(connection: sqlite3.Connection, schemas: Iterable[TableSchema]) -> bool:
    """Whether the hub of a replica keeps its values in PostgreSQL: SQLite has no exact decimals, so
    a column of them says so, else the rows that are there. False if nothing does."""
    found = False
    for schema in schemas:
        for column in schema.columns:
            if column.type is ColumnType.DECIMAL:
                return column.affinity is None
            if column.type is ColumnType.DATETIME and not found:
                name = quoted(column.name)
                row = connection.execute(
                    f"select {name} from {quoted(schema.name)} where {name} is not null limit 1"
                ).fetchone()
                found = row is not None and str(row[0])[_SEPARATOR_PLACE:][:1] == "T"
            found = found or column.type is ColumnType.UUID
    return found


def _bound(convert: Callable[[Any], Any]) -> Process:
    return lambda value: None if value is None else convert(value)


def _decimal_text(value: Any, scale: int | None) -> str:
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    exponent = number.as_tuple().exponent
    if scale is not None and isinstance(exponent, int) and -exponent < scale:
        return format(number, f".{scale}f")
    return format(number, "f")


def _moment_text(value: datetime) -> str:
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _wall_text(value: datetime) -> str:
    return _without_zeros(value.replace(tzinfo=None).isoformat())


def _without_zeros(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _wall(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)
