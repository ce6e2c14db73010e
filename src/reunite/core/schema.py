"""Table schemas: what a row of a table looks like, wherever it lives.

What it is       frozen values that hub, wire and replica share; sent as they are by `schema`.
What it is not   DDL, or anything that one database alone knows.
The rule         a row is a tuple of values in the order of `TableSchema.columns`.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from reunite.core.key import Key
    from reunite.core.values import Row


_encode = msgspec.json.Encoder().encode


class ColumnType(enum.StrEnum):
    """What a column's values mean; `core/values.py` says how each travels."""

    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    UUID = "uuid"
    JSON = "json"
    ANY = "any"


class Affinity(enum.StrEnum):
    """What SQLite makes of values that come into a column (its manual, "Datatypes", section 3)."""

    INTEGER = "integer"
    REAL = "real"
    NUMERIC = "numeric"
    TEXT = "text"
    BLOB = "blob"  # nothing: every value stays as it came


class ColumnMerge(enum.StrEnum):
    """The policies of design section 10; `CUSTOM` is a function that only the hub knows."""

    LAST_WRITER = "last_writer"
    HUB_WINS = "hub_wins"
    REPLICA_WINS = "replica_wins"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    COUNTER = "counter"
    UNION = "union"
    ASK = "ask"
    CUSTOM = "custom"


AFFINITY_BY_TYPE: Mapping[ColumnType, Affinity] = MappingProxyType(
    {
        ColumnType.INTEGER: Affinity.INTEGER,
        ColumnType.REAL: Affinity.REAL,
        ColumnType.TEXT: Affinity.TEXT,
        ColumnType.BLOB: Affinity.BLOB,
        ColumnType.BOOLEAN: Affinity.NUMERIC,
        ColumnType.DECIMAL: Affinity.TEXT,
        ColumnType.DATE: Affinity.NUMERIC,
        ColumnType.TIME: Affinity.NUMERIC,
        ColumnType.DATETIME: Affinity.NUMERIC,
        ColumnType.UUID: Affinity.TEXT,
        ColumnType.JSON: Affinity.NUMERIC,
        ColumnType.ANY: Affinity.BLOB,
    }
)

_NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.REAL, ColumnType.DECIMAL})
_ORDERED = frozenset(ColumnType) - {ColumnType.JSON, ColumnType.BLOB}

# What a policy can merge; one that is not named here merges every type.
TYPES_BY_MERGE: Mapping[ColumnMerge, frozenset[ColumnType]] = MappingProxyType(
    {
        ColumnMerge.COUNTER: _NUMBERS,
        ColumnMerge.UNION: frozenset({ColumnType.JSON}),
        ColumnMerge.MAXIMUM: _ORDERED,
        ColumnMerge.MINIMUM: _ORDERED,
    }
)


# Defaults that mean the same in every SQLite file: numbers, texts, NULL, and the clock's.
_CLOCK = re.compile(r"\s*current_(?:timestamp|date|time)\s*", re.IGNORECASE)
_PLAIN_DEFAULT = re.compile(
    r"\s*(?:[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?|'(?:[^']|'')*'|null|true|false"
    r"|current_(?:timestamp|date|time))\s*",
    re.IGNORECASE,
)


class RowMerge(enum.StrEnum):
    """Who wins when one side deleted a row that the other changed or pointed to."""

    DELETE_WINS = "delete_wins"
    UPDATE_WINS = "update_wins"


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stored column. Computed columns are not part of a schema.

    `affinity` is there where the hub's database makes something else of values than is usual for
    the type (AFFINITY_BY_TYPE): an SQLite replica's column then does the same.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    default: str | None = None  # the SQL text of the default, as declared
    merge: ColumnMerge = ColumnMerge.LAST_WRITER
    affinity: Affinity | None = None

    @property
    def has_plain_default(self) -> bool:
        """Whether its default, if it has one, means the same in every SQLite file: a number, a
        text, NULL, or the clock's."""
        return self.default is None or bool(_PLAIN_DEFAULT.fullmatch(self.default))

    @property
    def has_clock_default(self) -> bool:
        """Whether its default is the time at which a row is made."""
        return self.default is not None and bool(_CLOCK.fullmatch(self.default))

    @property
    def effective_affinity(self) -> Affinity:
        """The one that the column has, or its type's."""
        return self.affinity or AFFINITY_BY_TYPE[self.type]


class ForeignKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`columns` of this table name the `parent_columns` of a row in `parent`."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str = "no action"
    on_update: str = "no action"


class Unique(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """No two rows may share the values of `columns`; `collations` are SQLite's, one a column."""

    columns: tuple[str, ...]
    collations: tuple[str, ...] = ()
    name: str = ""


class TableSchema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """One tracked table. `version` counts its shapes; it rises when columns change. `generation`
    is another text after each time in which something may have escaped capture."""

    name: str
    version: int = 1
    generation: str = ""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    generated_key: bool = False  # the database makes it: an integer primary key
    key_bits: int = 64  # of a signed integer: how large a generated key may be
    foreign_keys: tuple[ForeignKey, ...] = ()
    uniques: tuple[Unique, ...] = ()
    rows: RowMerge = RowMerge.DELETE_WINS

    @property
    def generated_key_max(self) -> int:
        """The largest key that reunite gives a row: one that its column and JSON can hold."""
        return min(1 << (self.key_bits - 1), 1 << 53) - 1

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def position(self) -> dict[str, int]:
        """Where each column stands in a row."""
        return {name: index for index, name in enumerate(self.column_names)}

    @cached_property
    def column(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def shape(self) -> tuple[object, ...]:
        """How rows are written and what must be declared for them: all but `version`,
        `generation`, policies and unique constraints. Another shape is another version."""
        columns = [(c.name, c.type, c.nullable, c.default) for c in self.columns]
        return self.name, self.key, self.generated_key, tuple(columns), self.foreign_keys

    @cached_property
    def digest(self) -> bytes:
        """A sum of all that the schema says but `generation`, which is about rows."""
        text = _encode(msgspec.structs.replace(self, generation=""))
        return hashlib.blake2b(text, digest_size=16).digest()

    @cached_property
    def key_positions(self) -> tuple[int, ...]:
        return tuple(self.position[name] for name in self.key)

    def key_of(self, row: Row) -> Key:
        """The key of a whole row."""
        return tuple(row[index] for index in self.key_positions)


def projected(rows: Sequence[Row], schema: TableSchema, shown: TableSchema) -> Sequence[Row]:
    """Rows of a schema in the columns of another one, which has no others."""
    if shown.column_names == schema.column_names:
        return rows
    places = [schema.position[name] for name in shown.column_names]
    return [tuple([row[place] for place in places]) for row in rows]


def revision_of(schemas: Iterable[TableSchema]) -> str:
    """A sum of schemas, as 16 hexadecimal digits: it differs when anything but a generation does.
    Their order is no matter."""
    digests = sorted(schema.digest for schema in schemas)
    return hashlib.blake2b(b"".join(digests), digest_size=8).hexdigest()
