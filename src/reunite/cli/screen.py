"""What commands print: JSON for programs, prose and tables for people.

    stdout    with --json one object, or one a line; else what was asked for
    stderr    notes, errors and progress bars, always prose

Colours, boxes and bars appear only where the stream is a terminal. Elsewhere a table is aligned
plain text, whose lines are never cut. A long value is shortened in tables, and whole with --json.

The rule         values come from databases that strangers write to: control characters in them
                 are made visible and never reach the terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# What a table shows of one value, of a key, and of a sentence; a longer one ends with its size.
VALUE_LENGTH_MAX = 80
KEY_LENGTH_MAX = 200
SENTENCE_LENGTH_MAX = 400

# A column that would be narrower than this, and than its cells, cannot be read: a date has so many.
COLUMN_WIDTH_MIN = 10

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def out() -> Console:
    """Where results go."""
    return Console(highlight=False)


def err() -> Console:
    """Where notes go."""
    return Console(stderr=True, highlight=False)


def emit(value: Any) -> None:
    """Print a value as one line of JSON on stdout."""
    sys.stdout.write(_json(value) + "\n")
    sys.stdout.flush()


def _json(value: Any) -> str:
    """JSON as stdout can take it: letters that it cannot, and the bytes of a file's name that are
    no text, are escaped, as JSON has it."""
    try:
        text = msgspec.json.encode(value).decode()
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    return text


def say(text: str, *, style: str = "") -> None:
    """Print prose on stdout."""
    _print(out(), text, style)


def note(text: str, *, style: str = "") -> None:
    """Print prose on stderr."""
    _print(err(), text, style)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stdout. A cell is a value, shown as `readable` has it, or a `Text`, shown as
    it is. On a terminal too narrow for the columns, each row is a list of its cells."""
    cells = [
        [cell if isinstance(cell, Text) else Text(readable(cell)) for cell in row] for row in rows
    ]
    console = out()
    if console.is_terminal and not _has_room(console, columns, cells):
        for row in cells:
            table = Table(box=None, show_header=False, pad_edge=False)
            table.add_column(style="bold", no_wrap=True)
            table.add_column(overflow="fold")
            for column, cell in zip(columns, row, strict=True):
                table.add_row(visible(column), cell)
            console.print(table)
            console.print()
    elif console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in columns:
            table.add_column(visible(column), overflow="fold")
        for row in cells:
            table.add_row(*row)
        console.print(table)
    else:
        for line in _aligned([list(columns), *([cell.plain for cell in row] for row in cells)]):
            console.print(Text(line), soft_wrap=True)


def _has_room(console: Console, columns: Sequence[str], rows: list[list[Text]]) -> bool:
    """Whether every column gets what it needs, or as much as can be read in lines of it."""
    needed = sum(
        min(
            COLUMN_WIDTH_MIN,
            max(cell_len(name), *(cell_len(row[index].plain) for row in rows), 0),
        )
        for index, name in enumerate(columns)
    )
    return needed + 3 * (len(columns) - 1) <= console.width


def readable(value: Any, *, length_max: int = VALUE_LENGTH_MAX) -> str:
    """A value of a row as people read it: on one line, and shortened to at most so many letters.

    A shortened one ends with the size of the whole: `Once upon a time… (1.2 MB)`.
    """
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = visible(text[: length_max + 1])
    if len(shown) <= length_max:
        return shown
    whole = value if isinstance(value, bytes) else text.encode(errors="surrogatepass")
    end = f"… ({size(len(whole))})"
    return shown[: length_max - len(end)] + end


def key_cell(key: Sequence[Any]) -> Text:
    """A key as a cell of a table, long enough to be copied where one can be."""
    return Text(readable(list(key), length_max=KEY_LENGTH_MAX))


def visible(text: str) -> str:
    """The text with its control characters spelled out."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """`812 bytes`, `4.1 kB`, `2.0 GB`: units of a thousand."""
    if count < 1_000:
        return counted(count, "byte")
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1_000
        if value < 1_000 or unit == "TB":
            break
    return f"{value:,.1f} {unit}"


def moment(at_ms: int | None) -> str:
    """A time in UTC, to the second; "not yet" for what has no number yet."""
    if at_ms is None:
        return "not yet"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _print(console: Console, text: str, style: str) -> None:
    # A line of prose is wrapped by the terminal, so that it can be copied whole.
    lines = "\n".join(map(visible, text.split("\n")))
    console.print(Text(lines, style=style), soft_wrap=True)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(cell_len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
