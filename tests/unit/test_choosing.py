"""Conditions that people type become expressions, and nothing else."""

from __future__ import annotations

import pytest
import typer

from reunite.cli.choosing import chosen, expression_of
from reunite.core.expression import Expression
from reunite.core.fields import row


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("store == 7", row.store == 7),
        ("row.store != 'a b'", row.store != "a b"),
        ('row["a name"] >= -1.5', row["a name"] >= -1.5),
        ("a < 1 and b <= 2 and c > 3", (row.a < 1) & (row.b <= 2) & (row.c > 3)),
        ("a in [1, 2] or not (b is None)", row.a.is_in([1, 2]) | ~row.b.is_null()),
        ("a is not None", ~row.a.is_null()),
        (
            'name.startswith("A") or not name.contains(".")',
            row.name.startswith("A") | ~row.name.contains("."),
        ),
        ('row["a name"].iexact("x")', row["a name"].iexact("x")),
        ("paid == True", row.paid == True),  # noqa: E712
    ],
)
def test_a_condition_is_the_expression_it_looks_like(typed: str, meant: Expression) -> None:
    assert expression_of(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "", "store", "store = 7", "7 == store", "1 < store < 5", "store == other", "store == None",
        "store in 7", "store == len('x')", "__import__('os').system('true') == 1",
        "a.b == 1", "a.contains(1)", "a.contains('x', 'y')",
        "a.upper('x')", "a.b.contains('x')", "contains('x')",
        "a is 1", "not " * 50 + "a == 1", "a == 1 if b else 2", "a == [1]", "(" * 500,
    ],
)  # fmt: skip
def test_anything_else_is_a_usage_error(typed: str) -> None:
    with pytest.raises(typer.BadParameter):
        expression_of(typed)


def test_a_single_equals_sign_gets_a_hint() -> None:
    with pytest.raises(typer.BadParameter, match="Write =="):
        expression_of("store = 7")


@pytest.mark.parametrize(
    "right", ["other", "row.other", "len('x')", "[1, other]", "{[]: 1}", "1/2"]
)
def test_a_right_side_that_is_no_value_is_named(right: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no value: on the right") as caught:
        expression_of(f"store == {right}")
    assert "object at" not in str(caught.value)


@pytest.mark.parametrize("right", ["1e999", "-1e999", "[1, 1e999]"])
def test_an_infinite_number_is_no_value_to_compare_with(right: str) -> None:
    sign = "in" if right.startswith("[") else "<"
    with pytest.raises(typer.BadParameter, match="name a finite number"):
        expression_of(f"store {sign} {right}")


def test_tables_and_conditions_go_together() -> None:
    assert chosen(None, None) is None
    assert chosen(["a"], None) == ("a",)
    for tables, names in ((None, {"*", "sale"}), (["sale", "a"], {"sale", "a"})):
        asked = chosen(tables, ["sale: store == 7"])
        assert isinstance(asked, dict)
        assert set(asked) == names
        assert asked["sale"] == (row.store == 7)


@pytest.mark.parametrize(
    ("tables", "wheres"),
    [
        (None, ["store == 7"]),
        (None, [": store == 7"]),
        (["product"], ["sale: store == 7"]),
        (None, ["sale: a == 1", "sale: b == 2"]),
    ],
)
def test_conditions_without_their_table_are_usage_errors(
    tables: list[str] | None, wheres: list[str]
) -> None:
    with pytest.raises(typer.BadParameter):
        chosen(tables, wheres)
