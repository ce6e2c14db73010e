"""Flags and filters of roles become rules; templates are what the tables say."""

import pytest

from reunite.core.fields import row
from reunite.core.grants import FLAGS, GROUPS, TEMPLATES, Flags, granted
from reunite.core.rules import Rules

FULL = TEMPLATES["full_access"]
MINE, OPEN = row.owner == "ann", row.state == "open"


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("full_access", "push pull create update delete read"),
        ("read_write", "push pull create update read"),
        ("read_only", "pull read"),
        ("write_only", "push create update"),
        ("custom", ""),
    ],
)
def test_a_template_has_these_flags(name: str, flags: str) -> None:
    assert [flag for flag in FLAGS if getattr(TEMPLATES[name], flag)] == flags.split()


def test_the_groups_have_templates_that_there_are() -> None:
    assert len(GROUPS) == 7
    assert set(GROUPS.values()) <= set(TEMPLATES)


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_alone_gives_nothing(flag: str) -> None:
    assert granted([(Flags(**{flag: True}), ())]) == Rules()


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("push", {"insert", "update", "delete"}),
        ("pull", {"read"}),
        ("read", {"read"}),
        ("create", {"insert"}),
        ("update", {"update"}),
        ("delete", {"delete"}),
    ],
)
def test_each_flag_that_is_missing_takes_what_needs_it(missing: str, gone: set[str]) -> None:
    flags = Flags(**{flag: flag != missing for flag in FLAGS})
    rules = granted([(flags, ())])
    names = ("read", "insert", "update", "delete")
    assert {name for name in names if getattr(rules, name) is False} == gone


def test_all_filters_of_a_role_must_hold_and_any_role_suffices() -> None:
    assert granted([(FULL, (MINE, OPEN))]).read == (MINE & OPEN)
    assert granted([(FULL, (MINE,)), (TEMPLATES["read_only"], (OPEN,))]).read == (MINE | OPEN)
    assert granted([(FULL, (MINE,)), (TEMPLATES["read_only"], (OPEN,))]).delete == MINE
    assert granted([(FULL, (MINE,)), (FULL, ())]).read is True
    assert granted([]) == Rules()
