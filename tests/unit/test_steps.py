"""Steps: how a field names a row of another table, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.core.asked import fields_of, fits, reached_tables
from reunite.core.expression import (
    And,
    Expression,
    Operator,
    Term,
    Via,
    check_expression,
    from_json,
    to_json,
)
from reunite.core.fields import row
from reunite.core.matching import judge_of, row_judge
from reunite.core.principal import Principal
from reunite.core.rules import NEVER, Rules, bind_rules, check_rules
from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema
from reunite.errors import BadRequestError


def table(
    name: str, columns: str, *pointers: tuple[str, str], key: tuple[str, ...] = ("id",)
) -> TableSchema:
    """Columns as "name:type"; pointers as columns (with + between) and parent."""
    return TableSchema(
        name=name,
        columns=tuple(
            Column(name=column, type=ColumnType(kind or "text"))
            for column, _, kind in (part.partition(":") for part in columns.split())
        ),
        key=key,
        foreign_keys=tuple(
            ForeignKey(
                columns=tuple(of.split("+")),
                parent=parent.partition(".")[0],
                parent_columns=tuple((parent.partition(".")[2] or "id").split("+")),
            )
            for of, parent in pointers
        ),
    )


SCHEMAS = {
    schema.name: schema
    for schema in (
        table("project", "id:integer team code client", ("client", "client")),
        table("client", "id name up:integer", ("up", "project")),
        table("cell", "x:integer y kind", key=("x", "y")),
        table(
            "task",
            "id project_id:integer other_id:integer a b:integer odd place.team blob:blob code at",
            ("project_id", "project"),
            ("other_id", "project"),
            ("b+a", "cell.x+y"),
            ("odd", "project"),
            ("code", "project.code"),
            ("at", "nowhere"),
        ),
    )
}
TASK = SCHEMAS["task"]


def resolved(expression: Expression, schema: TableSchema = TASK) -> Expression:
    return check_expression(expression, schema, path="x", schemas=SCHEMAS, resolves=True)


@pytest.mark.parametrize(
    ("expression", "columns", "parent"),
    [
        (row.project.team == "red", ("project_id",), "project"),
        (row.project_id.team == "red", ("project_id",), "project"),
        (row.other.team == "red", ("other_id",), "project"),
        (row.cell.kind == "red", ("b", "a"), "cell"),
        (row["cell.kind"] == "red", ("b", "a"), "cell"),
        (row["cell"]["kind"] == "red", ("b", "a"), "cell"),
    ],
)
def test_a_step_is_named_by_its_column_or_its_table(
    expression: Expression, columns: tuple[str, ...], parent: str
) -> None:
    found = resolved(expression)
    assert isinstance(found, Via)
    assert (found.columns, found.parent) == (columns, parent)
    assert fields_of(found) == tuple(sorted(columns))


def test_a_column_with_a_dot_in_its_name_is_itself() -> None:
    assert resolved(row["place.team"] == "x") == Term("place.team", Operator.EXACT, "x")


def test_a_range_and_further_steps_are_about_the_row_at_the_end() -> None:
    found = resolved(row.project.client.name.between("a", "b"))
    assert isinstance(found, And)
    assert [str(part) for part in found.parts] == [
        str(
            Via(
                ("project_id",),
                "project",
                Via(("client",), "client", Term("name", operator, value)),
            )
        )
        for operator, value in ((Operator.GTE, "a"), (Operator.LTE, "b"))
    ]
    assert reached_tables(found) == {"project", "client"}


@pytest.mark.parametrize(
    "expression",
    [
        row.nothing.team == "x",
        row.project.nothing == "x",
        row.project.team == 1,
        row.odd.team == "x",  # a text that points to an integer
        row.code.team == "x",  # not the primary key
        row.nowhere.x == 1,  # no tracked table
        row.project.client.up.client.up.team == "x",  # five steps
        row["project.team."] == "x",
        row[".team"] == "x",
    ],
)
def test_what_leads_nowhere_is_refused(expression: Expression) -> None:
    with pytest.raises(BadRequestError):
        resolved(expression)


def test_only_rules_take_steps() -> None:
    with pytest.raises(BadRequestError, match="Only rules"):
        check_expression(row.project.team == "x", TASK, path="where")
    forged: Any = {"via": ["project_id"], "to": "project", "has": to_json(row.team == "x")}
    with pytest.raises(BadRequestError):
        from_json(forged, path="where")


def test_a_view_keeps_where_steps_lead() -> None:
    for expression in (row.project.team == "x", ~(row.project.client.name == "y")):
        found = resolved(expression)
        assert from_json(to_json(found), path="x", is_ours=True) == found


def test_a_lookup_that_finds_nothing_is_unknown() -> None:
    class Reach:
        schemas = SCHEMAS

        def row(self, table: str, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
            return {(1,): (1, "red", None, None), (2,): (2, None, None, None)}.get(key)

    columns = [("project_id", ColumnType.INTEGER)]
    for expression, wanted in (
        (row.project.team == "red", [True, None, None, None]),
        (~(row.project.team == "red"), [False, None, None, None]),
        (row.project.team.is_null(), [False, True, True, True]),
        (row.project.client.name.is_null(), [True, True, True, True]),
    ):
        judge = judge_of(resolved(expression), columns, Reach())
        assert [judge((pointer,)) for pointer in (1, 2, 3, None)] == wanted
    whole = row_judge(resolved(row.project.team == "red"), TASK, Reach())
    assert whole(("t", 1, *[None] * 8)) is True


def test_a_rule_that_leads_nowhere_any_more_means_no_row() -> None:
    rules = check_rules(Rules(read=row.project.team == "x", insert=True), TASK, SCHEMAS)
    ann = Principal(user="ann")
    read = bind_rules(rules, TASK, ann, SCHEMAS).read
    assert read == resolved(row.project.team == "x")
    assert read is not None
    without = {name: schema for name, schema in SCHEMAS.items() if name != "project"}
    renamed = {**SCHEMAS, "project": table("project", "id:integer crew")}
    for schemas in (without, renamed):
        assert bind_rules(rules, TASK, ann, schemas).read == NEVER
        assert not fits(read, TASK, schemas)
    assert fits(read, TASK, SCHEMAS)
