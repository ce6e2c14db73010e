"""Which tables and rows a replica is to have, as people type it: `--table` and `--where`.

    --where 'sale: store == 7 and closed is None'
    --where 'product: category in ["tea", "milk"] and not (price > "4.50")'
    --where 'airport: name.contains("Field") and not code.startswith("K")'

The conditions are Python's own expressions, read and never run: columns, values, `==  !=  <  <=  >
>=`, `in`, `is None`, `and`, `or`, `not`, of texts `startswith`, `endswith`, `contains` and
`iexact`, and `row["a name"]` for columns whose name is no word.
Everything wrong is a usage error, with exit code 2.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from reunite.core.expression import (
    EXPRESSION_DEPTH_MAX,
    TEXT_OPERATORS,
    And,
    Expression,
    Not,
    Operator,
    Or,
    Term,
)
from reunite.core.fields import Field
from reunite.errors import BadRequestError
from reunite.replica.asked import ALL_OTHERS, AskedTables

# Characters of a condition; a longer one is written in a program.
CONDITION_LENGTH_MAX = 10_000

TableOption = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="TABLE", help="Only this table; may be given repeatedly."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="TABLE:CONDITION",
        help="Of this table only some rows, such as 'sale: store == 7'; may be given repeatedly.",
    ),
]


def chosen(tables: Sequence[str] | None, wheres: Sequence[str] | None) -> AskedTables:
    """What the two options ask for; all tables if none is named by `--table`."""
    if not wheres:
        return tuple(tables) if tables else None
    found: dict[str, Expression | None] = dict.fromkeys(tables or (ALL_OTHERS,))
    for text in wheres:
        name, colon, condition = text.partition(":")
        name = name.strip()
        if not colon or not name:
            raise typer.BadParameter(f"{text!r} is not of the form 'table: condition'.")
        if found.get(name) is not None:
            raise typer.BadParameter(f"There are two conditions for {name!r}: join them with and.")
        if tables and name not in tables:
            raise typer.BadParameter(f"{name!r} has a condition, but is none of the --table.")
        found[name] = expression_of(condition)
    return found


def expression_of(text: str) -> Expression:
    """The expression that a condition spells."""
    if len(text) > CONDITION_LENGTH_MAX:
        raise typer.BadParameter(f"A condition has up to {CONDITION_LENGTH_MAX} characters.")
    try:
        return _condition(ast.parse(text.strip(), mode="eval").body, 1)
    except SyntaxError as exc:
        hint = " Write == for 'is the same'." if "==" not in text and "=" in text else ""
        raise typer.BadParameter(f"{text.strip()!r} is no condition.{hint}") from exc
    except (BadRequestError, ValueError, RecursionError, MemoryError) as exc:
        raise typer.BadParameter(f"{text.strip()!r}: {exc}") from exc


def _condition(node: ast.expr, depth: int) -> Expression:
    if depth > EXPRESSION_DEPTH_MAX:
        raise BadRequestError("the condition is nested too deep.")
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return And(tuple(_condition(value, depth + 1) for value in values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return Or(tuple(_condition(value, depth + 1) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Not(_condition(operand, depth + 1))
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _comparison(_field(left), operator, right)
        case ast.Call(
            func=ast.Attribute(value=left, attr=test), args=[ast.Constant(value=str(part))]
        ) if test in TEXT_OPERATORS and not node.keywords:
            return Term(_name(left), Operator(test), part)
        case _:
            raise BadRequestError(f"{ast.unparse(node)!r} compares no column with a value.")


_SIGNS: Mapping[type[ast.cmpop], Callable[[Field, object], Expression]] = {
    ast.Eq: Field.__eq__,
    ast.NotEq: Field.__ne__,
    ast.Lt: Field.__lt__,
    ast.LtE: Field.__le__,
    ast.Gt: Field.__gt__,
    ast.GtE: Field.__ge__,
}


def _comparison(field: Field, operator: ast.cmpop, right: ast.expr) -> Expression:
    value = _value(right)
    if type(operator) in _SIGNS:
        return _SIGNS[type(operator)](field, value)
    match operator:
        case ast.In() if isinstance(value, list | tuple):
            return field.is_in(value)
        case ast.Is() if value is None:
            return field.is_null()
        case ast.IsNot() if value is None:
            return ~field.is_null()
        case _:
            raise BadRequestError("use == != < <= > >=, `in [...]`, `is None` or `is not None`.")


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise BadRequestError(
            f"{ast.unparse(node)!r} is no value: on the right side stands a number, a text in "
            "quotes, True or False, a list of them, or None."
        ) from None


def _field(node: ast.expr) -> Field:
    return Field(_name(node))


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="row"), attr=name):
            return name
        case ast.Subscript(value=ast.Name(id="row"), slice=ast.Constant(value=str(name))):
            return name
        case _:
            raise BadRequestError(f"{ast.unparse(node)!r} is no column; it stands on the left.")
