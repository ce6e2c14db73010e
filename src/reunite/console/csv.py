"""CSV for spreadsheets: RFC 4180, and nothing in it that a spreadsheet would calculate."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from reunite.engine.export import harmless


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A line with the names, and one for each row; what is no text, number or truth is JSON."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)

    def line(cells: Sequence[object]) -> str:
        writer.writerow(cells)
        found = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return found

    yield line(columns)
    for row in rows:
        yield line([_cell(value) for value in row])


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return value
        case str():
            return harmless(value)
        case _:
            return msgspec.json.encode(value).decode()
