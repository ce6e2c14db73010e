"""Column rules: checked, kept as text, and the schemas that are left (I6)."""

from __future__ import annotations

from itertools import combinations

import pytest

from reunite import BadRequestError, row, user
from reunite.core.columns import (
    Column,
    columns_json,
    columns_of_json,
    is_about_user,
    is_narrowed,
    narrowed_schemas,
)
from reunite.core.principal import Principal
from reunite.core.rules import Access, Rules, check_rules, parse_rules, rules_text
from reunite.core.schema import Column as SchemaColumn
from reunite.core.schema import ColumnType, ForeignKey, TableSchema, Unique, projected

PARENT = TableSchema(
    name="parent",
    columns=tuple(SchemaColumn(name=name, type=ColumnType.TEXT) for name in ("id", "code")),
    key=("id",),
    uniques=(Unique(columns=("code",)),),
)
CHILD = TableSchema(
    name="child",
    columns=tuple(
        SchemaColumn(name=name, type=ColumnType.TEXT) for name in ("id", "p", "code", "a", "b")
    ),
    key=("id",),
    foreign_keys=(
        ForeignKey(columns=("p",), parent="parent", parent_columns=("id",)),
        ForeignKey(columns=("code",), parent="parent", parent_columns=("code",)),
    ),
    uniques=(Unique(columns=("a", "b")),),
)
SCHEMAS = {"parent": PARENT, "child": CHILD}


def test_what_is_left_has_no_constraint_that_needs_more() -> None:
    found = narrowed_schemas(SCHEMAS, {"child": {"a"}, "parent": {"code"}})
    child, parent = found["child"], found["parent"]
    assert child.column_names == ("id", "p", "code", "b")
    assert [key.columns for key in child.foreign_keys] == [("p",)]
    assert (child.uniques, parent.uniques) == ((), ())
    assert is_narrowed(child)
    assert not is_narrowed(CHILD)
    assert projected([tuple("12345")], CHILD, child) == [tuple("1235")]


def test_every_choice_of_columns_has_a_version_of_its_own() -> None:
    """One that JSON can carry, and another one after a migration."""
    names = ("p", "code", "a", "b")
    versions = set()
    for version in (1, 2):
        schema = TableSchema(**{**_fields(CHILD), "version": version})
        for count in range(len(names) + 1):
            for hidden in combinations(names, count):
                found = narrowed_schemas({**SCHEMAS, "child": schema}, {"child": hidden})
                versions.add(found["child"].version)
    assert len(versions) == 2 * 2 ** len(names)
    assert max(versions) < 2**53


def _fields(schema: TableSchema) -> dict[str, object]:
    return {name: getattr(schema, name) for name in schema.__struct_fields__}


def test_a_table_whose_parent_lost_a_column_is_another_one_too() -> None:
    found = narrowed_schemas(SCHEMAS, {"parent": {"code"}})
    assert is_narrowed(found["child"])
    assert found["child"].column_names == CHILD.column_names


def test_rules_about_nothing_leave_schemas_alone() -> None:
    access = Access({"child": Rules(columns={"a": Column()})}, SCHEMAS, Principal(user="ann"))
    assert access.shown() is SCHEMAS


def test_column_rules_are_kept_as_text() -> None:
    columns = {"a": Column(read=user.role == "hr", write=False), "b": Column(write=row.b == "x")}
    rules = check_rules(Rules(read=True, columns=columns), CHILD, SCHEMAS)
    assert parse_rules(rules_text({"child": rules})) == {"child": rules}
    assert columns_of_json(columns_json(rules.columns), path="columns") == rules.columns


@pytest.mark.parametrize("value", [3, {"a": True}, {"a": {"update": True}}])
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(BadRequestError):
        columns_of_json(value, path="columns")


def test_what_asks_the_row_is_told_from_what_does_not() -> None:
    assert is_about_user(~(user.role == "hr") | user.roles.contains("boss") & (user.level == 3))
    assert not is_about_user((user.role == "hr") | (row.a == user.id))


def test_who_has_nothing_under_the_name_may_not_read_either_way() -> None:
    """Neither what is asked nor its opposite can be decided."""
    for rule in (user.role == "hr", ~(user.role == "hr")):
        access = Access(
            {"child": Rules(columns={"a": Column(read=rule)})}, SCHEMAS, Principal(user="ann")
        )
        assert access.of("child").hidden == {"a"}
