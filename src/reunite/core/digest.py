"""Digests: short sums by which two sides find out where their rows differ.

    row text     JSON array of the row's canonical values, a json value as its canonical text
    row hash     BLAKE2b of that text, 16 bytes
    sum          of row hashes modulo 2^128: the order of the rows is no matter
    range        the rows whose key's hash, in hexadecimal, begins with a prefix ("" for all)

What it is       pure functions for repair: compare sums, split the ranges that differ, go on.
What it is not   a protection against forgery: sums can be made to meet on purpose.
The rule         rows whose values are `same` have the same hash, on every side and in every
                 language. `conformance/digest/` is the definition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from reunite.core.schema import TableSchema
from reunite.core.values import Row, canonical_text

_MODULUS = 2**128


class RowDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The hashes of a row's key and of the whole row, each 32 hexadecimal digits."""

    key_hash: str
    row_hash: str


class RangeSum(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a range has and the sum of their hashes, 32 hexadecimal digits."""

    prefix: str
    rows: int
    sum: str


def row_digests(table: TableSchema, rows: Sequence[Row]) -> list[RowDigest]:
    """The digests of whole rows, in the same order."""
    texts = [
        [canonical_text(column.type, value) for value in values]
        for column, values in zip(table.columns, zip(*rows, strict=True), strict=bool(rows))
    ]
    keys = [texts[position] for position in table.key_positions] if rows else []
    return [
        RowDigest(key_hash=_hash(key), row_hash=_hash(row))
        for key, row in zip(zip(*keys, strict=True), zip(*texts, strict=True), strict=True)
    ]


def range_sums(digests: Iterable[RowDigest], prefixes: Sequence[str]) -> list[RangeSum]:
    """The sums of these ranges, in their order. No range may lie inside another."""
    counts = dict.fromkeys(prefixes, 0)
    sums = dict.fromkeys(prefixes, 0)
    lengths = sorted({len(prefix) for prefix in prefixes})
    for digest in digests:
        for length in lengths:
            prefix = digest.key_hash[:length]
            if prefix in counts:
                counts[prefix] += 1
                sums[prefix] += int(digest.row_hash, 16)
                break
    return [
        RangeSum(prefix=prefix, rows=counts[prefix], sum=f"{sums[prefix] % _MODULUS:032x}")
        for prefix in prefixes
    ]


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


def split_range(prefix: str) -> tuple[str, ...]:
    """The sixteen ranges that together are this one."""
    return tuple(prefix + digit for digit in "0123456789abcdef")


def _empty(prefix: str) -> RangeSum:
    return RangeSum(prefix=prefix, rows=0, sum=f"{0:032x}")


def _hash(texts: Sequence[str]) -> str:
    return hashlib.blake2b(f"[{','.join(texts)}]".encode(), digest_size=16).hexdigest()
