"""What the command shows of values and prose: on one line, short, and nothing that steers."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reunite.cli.screen import VALUE_LENGTH_MAX, key_cell, readable, say, show_table

LONG = "Once upon a time. " * 60_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        ("", ""),
        ("short", "short"),
        ("two\nlines\x1b[2J", r"two\nlines\x1b[2J"),
        (True, "true"),
        (4.5, "4.5"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("x" * VALUE_LENGTH_MAX, "x" * VALUE_LENGTH_MAX),
    ],
)
def test_a_value_that_has_room_is_shown_whole(value: Any, shown: str) -> None:
    assert readable(value) == shown


@pytest.mark.parametrize(
    ("value", "begins", "ends"),
    [
        (LONG, "Once upon a time. Once", "… (1.1 MB)"),
        ("ü" * 81, "üüü", "… (162 bytes)"),
        ("\ud800" * 200, "\ud800", "… (600 bytes)"),
        (b"\0" * 3_000, '"AAAA', "… (3.0 kB)"),
        ({"text": LONG}, '{"text":"Once', "… (1.1 MB)"),
        ("\n" * 79, r"\n\n", "… (79 bytes)"),
    ],
)
def test_a_longer_one_is_shortened_and_says_its_size(value: Any, begins: str, ends: str) -> None:
    shown = readable(value)
    assert shown.startswith(begins)
    assert shown.endswith(ends)
    assert len(shown) == VALUE_LENGTH_MAX


@given(st.text() | st.text(min_size=70, max_size=90))
def test_what_was_made_readable_stays_as_it_is(text: str) -> None:
    shown = readable(text)
    assert len(shown) <= VALUE_LENGTH_MAX
    assert readable(shown) == shown


def test_a_key_of_several_uuids_can_be_copied() -> None:
    key = ["0190163d-86c0-7000-8c0e-1f2a3b4c5d6e"] * 4
    assert key_cell(key).plain == readable(key, length_max=1_000)


def test_columns_stand_below_each_other_in_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("name", "n"), [("東京", 1), ("Ulm", 2), (LONG, 3)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("東京" + " " * (VALUE_LENGTH_MAX - 4) + "  1")
    assert lines[2].startswith("Ulm" + " " * (VALUE_LENGTH_MAX - 3) + "  2")


@pytest.mark.parametrize(("width", "is_table"), [(40, False), (60, True)])
def test_a_terminal_too_narrow_for_a_table_gets_lists(
    width: int, is_table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("reunite.cli.screen.out", lambda: screen)
    columns = ("id", "when", "table", "key", "reason")
    row = (1, "2026-01-02 03:04:05Z", "product", ["a"], "There is no room for this sentence.")
    show_table(columns, [row, row])
    lines = [line.rstrip() for line in screen.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    if is_table:
        assert lines[0].split() == list(columns)
    else:
        assert lines[:4] == [
            "id      1",
            "when    2026-01-02 03:04:05Z",
            "table   product",
            'key     ["a"]',
        ]
        assert lines.count("id      1") == 2


def test_an_empty_table_has_its_head_on_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=20, color_system=None)
    monkeypatch.setattr("reunite.cli.screen.out", lambda: screen)
    show_table(("one", "two"), [])
    assert screen.file.getvalue().split()[:2] == ["one", "two"]


def test_prose_keeps_its_lines_and_loses_what_steers(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\x1b[2J\ntwo\r")
    assert capsys.readouterr().out == "one\\x1b[2J\ntwo\\r\n"
