"""Many images of an outbox, read at once, are the rows that each of them is read as alone."""

from __future__ import annotations

import sqlite3

import pytest

from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.stores.sql.dialects.sqlite_log import image, log_to_wire, logs_to_wire

SCHEMA = TableSchema(
    name="t",
    version=1,
    key=("id",),
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="size", type=ColumnType.REAL),
        Column(name="is_new", type=ColumnType.BOOLEAN),
        Column(name="title", type=ColumnType.TEXT),
        Column(name="day", type=ColumnType.DATE),
    ),
)
PLAIN = (1, 2.5, 1, "a title", "2024-02-29")
ODD = [
    (2**53, 0.1, 0, "", None),
    ("five", None, None, None, None),
    (2.0, 1, 2, 5, 5),
    (b"\x01", "text", "yes", 2**60, 1.0),
    (3, float("inf"), 1.5, "reunite:text:x", b"\x02"),
    (4, 1e300, b"", "{", "reunite:"),
    (5, 2**60, -1, 'a "quoted" \\ text\n', "[]"),
    (True, -0.0, 0.0, "é\u2028😀", "2024"),
]


@pytest.mark.parametrize("odd", [PLAIN, *ODD])
def test_images_read_together_are_those_read_one_by_one(odd: tuple[object, ...]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (id, size, is_new, title, day)")
    connection.executemany("insert into t values (?, ?, ?, ?, ?)", [PLAIN, odd, PLAIN])
    texts = [text for (text,) in connection.execute(f"select {image(SCHEMA, 't')} from t")]
    connection.close()

    together = logs_to_wire(SCHEMA)(texts)

    assert repr(together) == repr([log_to_wire(SCHEMA)(text) for text in texts])
