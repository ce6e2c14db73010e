"""The tables that a replica asks for, as a program names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from reunite.core.expression import Expression, check_expression, from_json, to_json
from reunite.core.schema import TableSchema
from reunite.errors import BadRequestError

# In a mapping of tables: all those that are not named.
ALL_OTHERS = "*"

# Names of tables, or by name the rows to have; None for everything.
AskedTables: TypeAlias = Sequence[str] | Mapping[str, Expression | None] | None


def asked_tables(
    tables: AskedTables,
) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """The names of tables, None for all, and the JSON forms of their expressions."""
    if tables is None:
        return None, {}
    if isinstance(tables, str):
        raise BadRequestError(f"Tables are a list of names; {tables!r} is one text.")
    if not isinstance(tables, Mapping):
        return tuple(tables), {}
    for name, where in tables.items():
        if where is not None and not isinstance(where, Expression):
            raise BadRequestError(
                f"The rows of {name!r} are chosen by an expression such as row.store == 7, or "
                f"None for all; {where!r} is neither.",
                path=f"tables.{name}",
            )
    spelled = {name: to_json(where) for name, where in tables.items() if where is not None}
    if ALL_OTHERS in spelled:
        raise BadRequestError("All other tables are taken whole: give None for '*'.")
    return None if ALL_OTHERS in tables else tuple(tables), spelled


def check_choice(
    where: Mapping[str, Any], schemas: Mapping[str, TableSchema], *, path: str = "where"
) -> None:
    """Raises BadRequestError for the first expression that asks what its table does not have, or
    not any more: the hub takes it to mean no row. Tables that are not here are passed over."""
    for name, spelled in where.items():
        if name in schemas:
            place = f"{path}.{name}"
            check_expression(from_json(spelled, path=place), schemas[name], path=place)
