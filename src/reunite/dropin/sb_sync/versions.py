"""Versions of rows: a number that is another one when anything that may be read is.

What it is       53 bits of a hash of the row, so that JSON of every kind can hold it.
What it is not   a counter: a row that is as it was has the version that it had.
"""

from __future__ import annotations

import hashlib

import msgspec

from reunite.core.schema import TableSchema, projected
from reunite.core.values import Row

_encode = msgspec.json.Encoder(order="sorted").encode


def version_of(shown: TableSchema, schema: TableSchema, row: Row) -> int:
    """The version of a row of `schema` for somebody who knows the columns of `shown`."""
    (known,) = projected([row], schema, shown)
    digest = hashlib.blake2b(_encode(known), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 11
