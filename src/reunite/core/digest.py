"""Digests: short sums by which two sides find out where their rows differ.

    row text     JSON array of the row's canonical values, a json value as its canonical text
    row hash     BLAKE2b of that text, 16 bytes
    key hash     the same of the key's values alone
    sum          of row hashes modulo 2^128: the order of the rows is no matter
    range        the rows whose key's hash, in hexadecimal, begins with a prefix ("" for all)

What it is       pure functions for repair: compare sums, split the ranges that differ, go on.
What it is not   a protection against forgery: sums can be made to meet on purpose.
The rule         rows whose values are `same` have the same hash, on every side and in every
                 language. `conformance/digest/` is the definition.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

import msgspec

from reunite.core.key import Key
from reunite.core.schema import ColumnType, TableSchema
from reunite.core.stored import TAG
from reunite.core.values import Row, Value, canonical, number_text

_MODULUS = 2**128
_HEX = "0123456789abcdef"


class RangeSum(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a range has and the sum of their hashes, 32 hexadecimal digits."""

    prefix: str
    rows: int
    sum: str


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """The hashes of rows in their order, 16 bytes each, and how long the rows' texts are."""

    keys: list[bytes]
    rows: list[bytes]
    size: int


def digests_of(table: TableSchema, rows: Sequence[Row]) -> Digests:
    """The hashes of whole rows. A few microseconds a row."""
    texts = _texts([column.type for column in table.columns], rows)
    return Digests(
        keys=key_hashes(table, list(map(key_getter(table), rows))),
        rows=[_blake2b(text, digest_size=16).digest() for text in texts],
        size=sum(map(len, texts)),
    )


def key_hashes(table: TableSchema, keys: Sequence[Key]) -> list[bytes]:
    """The hashes of keys, 16 bytes each, in the same order."""
    texts = _texts([table.column[name].type for name in table.key], keys)
    return [_blake2b(text, digest_size=16).digest() for text in texts]


def key_getter(table: TableSchema) -> Callable[[Row], Key]:
    """What `table.key_of` does, for many rows."""
    places = table.key_positions
    if len(places) == 1:
        (place,) = places
        return lambda row: (row[place],)
    return itemgetter(*places)


class SumsByRange:
    """Adds rows up in the 16^digits ranges whose prefixes have so many digits; keeps no row."""

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self.rows = [0] * 16**digits
        self.sums = [0] * 16**digits

    def add(self, digests: Digests) -> None:
        """Count these rows."""
        rows, sums = self.rows, self.sums
        shift = 32 - 4 * self._digits
        from_bytes = int.from_bytes
        for key, row in zip(digests.keys, digests.rows, strict=True):
            place = from_bytes(key[:4], "big") >> shift
            rows[place] += 1
            sums[place] += from_bytes(row, "big")

    def ranges(self) -> list[RangeSum]:
        """The sums, in the order of their prefixes."""
        return [
            RangeSum(prefix=prefix, rows=rows, sum=f"{total % _MODULUS:032x}")
            for prefix, rows, total in zip(
                prefixes_of(self._digits), self.rows, self.sums, strict=True
            )
        ]


def prefixes_of(digits: int) -> list[str]:
    """All prefixes of so many digits, sorted; together they are everything."""
    return ["".join(letters) for letters in product(_HEX, repeat=digits)]


def differing_ranges(ours: Iterable[RangeSum], theirs: Iterable[RangeSum]) -> tuple[str, ...]:
    """The prefixes of the ranges that differ, sorted. One that a side left out has no rows."""
    ours_by_prefix = {range_sum.prefix: range_sum for range_sum in ours}
    theirs_by_prefix = {range_sum.prefix: range_sum for range_sum in theirs}
    return tuple(
        prefix
        for prefix in sorted(ours_by_prefix.keys() | theirs_by_prefix.keys())
        if ours_by_prefix.get(prefix, _empty(prefix))
        != theirs_by_prefix.get(prefix, _empty(prefix))
    )


def _empty(prefix: str) -> RangeSum:
    return RangeSum(prefix=prefix, rows=0, sum=f"{0:032x}")


# --- Texts and hashes -----------------------------------------------------------------------------

_encode = msgspec.json.Encoder().encode
_blake2b = hashlib.blake2b
_pack = struct.Struct(">d").pack


def _texts(types: Sequence[ColumnType], rows: Sequence[Row]) -> list[bytes]:
    if not rows:
        return []
    # Column by column: most hold nothing but what the encoder writes as the canonical text does.
    columns = [
        _ready(column_type, values)
        for column_type, values in zip(types, zip(*rows, strict=True), strict=True)
    ]
    return [_encode(row) for row in zip(*columns, strict=True)]


def _ready(column_type: ColumnType, values: Sequence[Value]) -> Sequence[Any]:
    """Values that the encoder writes as their canonical texts."""
    kinds = {*map(type, values), type(None)}
    if kinds == _PLAIN_KINDS.get(column_type) and not _may_be_tagged(column_type, values):
        return values
    if column_type is ColumnType.REAL and kinds == {float, type(None)}:
        return [value if value is None else _real(value) for value in values]  # type: ignore[arg-type]
    return [value if value is None else _writable(column_type, value) for value in values]


def _real(value: float) -> Any:
    return int(value) if value.is_integer() else msgspec.Raw(f"~{_pack(value).hex()}")


def _may_be_tagged(column_type: ColumnType, values: Sequence[Any]) -> bool:
    is_time = column_type in {ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME}
    return is_time and TAG in "".join(value for value in values if value is not None)


def _writable(column_type: ColumnType, value: Value) -> Any:
    plain = canonical(column_type, value)
    return msgspec.Raw(number_text(plain)) if isinstance(plain, float) else plain


# Types whose values of one Python type are their own representatives.
_PLAIN_KINDS = {
    column_type: {kind, type(None)}
    for kind, types in (
        (int, (ColumnType.INTEGER,)),
        (bool, (ColumnType.BOOLEAN,)),
        (str, (ColumnType.TEXT, ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME)),
    )
    for column_type in types
}
