"""The history as text for other programs: CSV, or one JSON object a line (NDJSON).

What it is       the columns and the form of values; where the text goes is the caller's matter.
The rule         no cell of CSV begins as a formula does: rows and keys stand in it as JSON, and a
                 name that would (`=1+1`) has an apostrophe before it. NDJSON has it as it is.

    id, commit, at, actor, replica, table, key, old_key, change, old, new, erased
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from reunite.engine.history import HistoryEntry
from reunite.errors import BadRequestError

COLUMNS = (
    "id",
    "commit",
    "at",
    "actor",
    "replica",
    "table",
    "key",
    "old_key",
    "change",
    "old",
    "new",
    "erased",
)

FORMATS = ("csv", "ndjson")

# What spreadsheets take for the beginning of a formula.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")

_encode = msgspec.json.Encoder().encode


def exported(entries: Iterable[HistoryEntry], form: str) -> Iterator[str]:
    """The entries as lines of text, each with its end; for CSV a first one with the columns.

    Raises BadRequestError for another form than "csv" and "ndjson".
    """
    if form not in FORMATS:
        raise BadRequestError(f"{form!r} is no form of export: csv or ndjson.", path="format")
    return _csv(entries) if form == "csv" else _ndjson(entries)


def _ndjson(entries: Iterable[HistoryEntry]) -> Iterator[str]:
    for entry in entries:
        yield _encode(dict(zip(COLUMNS, cells(entry), strict=True))).decode() + "\n"


def _csv(entries: Iterable[HistoryEntry]) -> Iterator[str]:
    line = _Line()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    yield line.text
    for entry in entries:
        writer.writerow([_csv_cell(value) for value in cells(entry)])
        yield line.text


class _Line:
    """What a CSV writer wrote last."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def harmless(text: str) -> str:
    """A text as a cell that no spreadsheet calculates."""
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    is_plain = value is None or type(value) is int
    return value if is_plain else _encode(value).decode()


def cells(entry: HistoryEntry) -> tuple[Any, ...]:
    """A change, in the order of `COLUMNS`."""
    return (
        entry.id,
        entry.seq,
        None if entry.at_ms is None else _moment(entry.at_ms),
        entry.principal,
        entry.replica,
        entry.table,
        list(entry.key),
        None if entry.old_key is None else list(entry.old_key),
        entry.op.name.lower(),
        entry.old,
        entry.row,
        entry.is_erased,
    )


def _moment(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
