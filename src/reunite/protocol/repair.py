"""Repair: where a replica's table and the hub's differ, and what the hub has there.

A request asks one of four things of one table:

    sums   how many rows the ranges of key hashes have, and the sums of their rows' hashes
    list   the keys of the rows in some ranges, each with its row's hash
    rows   the rows of some keys, or that there are none
    all    the rows of the table, for when most of them differ

The hub keeps nothing between requests, and each answer may be of another moment: what it says of a
row goes into the inbox like a page, and the pull from the unchanged cursor brings every row that
was touched meanwhile.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from reunite.protocol.pull import TablePage


class Ask(enum.StrEnum):
    """What a request is about."""

    SUMS = "sums"
    LIST = "list"
    ROWS = "rows"
    ALL = "all"


class RepairRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`cursor`, `tables` and `where` as in a pull. `after` is the `next` of the answer before.

    `digits` are those of the ranges' prefixes, for `sums`; `prefixes` name ranges, for `list`;
    `keys` are for `rows`.
    """

    protocol: int
    replica: str
    cursor: str
    table: str
    ask: Ask
    tables: tuple[str, ...] | None = None
    where: dict[str, Any] = {}
    after: tuple[Any, ...] | None = None
    digits: int = 0
    prefixes: tuple[str, ...] = ()
    keys: list[tuple[Any, ...]] = []


class RepairAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer; `next` says that there is more to ask for, with it as `after`.

    `cursor` is where the log stood; the next request and the next pull carry it. `is_stale`: the
    request's cursor is not one of this log and view any more; nothing was read, a pull will tell.
    `rows` and `sums` (16 hexadecimal digits, the last ones) are of the ranges in the order of
    their prefixes and count only what this answer has read: those of all answers are added.
    `keys` and `hashes` (the first 16 digits) are for `list`. `page` is for `rows`, where it is
    about the first `taken` keys, and for `all`.
    """

    cursor: str
    stamp: str
    is_stale: bool = False
    rows: list[int] = []
    sums: list[str] = []
    keys: list[tuple[Any, ...]] = []
    hashes: list[str] = []
    page: TablePage | None = None
    taken: int = 0
    next: tuple[Any, ...] | None = None
