"""Column rules: which columns of a table a principal reads, and which it may write.

    Rules(..., columns={"salary": Column(read=user.role == "hr", write=False)})

    read     decided by who asks alone ──► a schema without the column: no page, sum, conflict or
             error that is made by that schema can hold it
    write    decided by the row as well ──► asked of each change of the column, by the hub

What it is       values, and the schema that a principal knows of a table.
The rule         what is read is the same for all rows of a table: a replica's table has the column
                 or it has not. What one may read of some rows only is a table of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from reunite.core.expression import And, ClaimTerm, Expression, Not, Or, from_json, to_json
from reunite.core.schema import TableSchema
from reunite.errors import BadRequestError

# Versions of narrowed schemas are above all others: this much, and 32 bits that say what is left.
NARROWED_MIN = 1 << 20

_OPERATIONS = ("read", "write")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """Who may read and write one column, of the rows that the table's rules let them.

    read     an expression over `user` alone, or True or False; who may not read a column does not
             get it, and writes none of it
    write    an expression over `row` and `user`, of the row as it was and as it is to be; who may
             not write a column inserts rows with its default
    """

    read: Expression | bool = True
    write: Expression | bool = True


def is_about_user(rule: Expression | bool) -> bool:
    """Whether a rule asks nothing of the row."""
    match rule:
        case bool() | ClaimTerm():
            return True
        case Not(part):
            return is_about_user(part)
        case And(parts) | Or(parts):
            return all(map(is_about_user, parts))
        case _:
            return False


def check_columns(columns: Mapping[str, Column], schema: TableSchema) -> None:
    """Raises BadRequestError for rules about columns that cannot have them. Whether the expressions
    fit the table is another question."""
    for name, column in columns.items():
        path = f"rules.columns.{name}"
        if name not in schema.column:
            raise BadRequestError(f"The table {schema.name!r} has no column {name!r}.", path=path)
        if name in schema.key:
            raise BadRequestError(
                f"{name!r} is part of the key of {schema.name!r}, which everybody needs who has "
                "the row: use the table's rules, or another key.",
                path=path,
            )
        if not isinstance(column, Column):
            raise BadRequestError(
                f"The rule of a column is a Column(read=…, write=…), not {column!r}.", path=path
            )
        if isinstance(column.read, Expression) and not is_about_user(column.read):
            raise BadRequestError(
                f"Whether {name!r} is read may depend on `user` only, because a replica's table "
                "has the column or it has not. Put it into a table of its own, with a foreign key "
                "to this one, and give that table the rule.",
                path=f"{path}.read",
            )


def columns_json(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Column rules as JSON; `columns_of_json` reads it back."""
    return {
        name: {
            operation: rule if isinstance(rule, bool) else to_json(rule, knows_user=True)
            for operation in _OPERATIONS
            if (rule := getattr(column, operation)) is not True
        }
        for name, column in columns.items()
    }


def columns_of_json(value: object, *, path: str, is_ours: bool = False) -> dict[str, Column]:
    """The column rules that a JSON object spells. Raises BadRequestError, LimitExceededError."""
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise BadRequestError("Columns are a JSON object of objects by name.", path=path)
    found = {}
    for name, each in value.items():
        for operation in each:
            if operation not in _OPERATIONS:
                raise BadRequestError(
                    f"A column has no rule {operation!r}: there are read and write.",
                    path=f"{path}.{name}",
                )
        found[name] = Column(
            **{
                operation: rule
                if isinstance(rule, bool)
                else from_json(
                    rule, path=f"{path}.{name}.{operation}", knows_user=True, is_ours=is_ours
                )
                for operation, rule in each.items()
            }
        )
    return found


# --- What a principal knows of tables -------------------------------------------------------------


def narrowed_schemas(
    schemas: Mapping[str, TableSchema], hidden: Mapping[str, Collection[str]]
) -> Mapping[str, TableSchema]:
    """The schemas without these columns by table, and without the constraints that need them.

    What is left has a version of its own, so that a replica whose rights change makes its table
    anew, as after a migration.
    """
    if not hidden:
        return schemas
    return {name: _narrowed(schema, hidden) for name, schema in schemas.items()}


def _narrowed(schema: TableSchema, hidden: Mapping[str, Collection[str]]) -> TableSchema:
    own = frozenset(hidden.get(schema.name, ()))
    foreign_keys = tuple(
        key
        for key in schema.foreign_keys
        if own.isdisjoint(key.columns)
        and frozenset(hidden.get(key.parent, ())).isdisjoint(key.parent_columns)
    )
    if not own and foreign_keys == schema.foreign_keys:
        return schema
    columns = tuple(column for column in schema.columns if column.name not in own)
    shape = msgspec.json.encode([[column.name for column in columns], foreign_keys])
    digest = int.from_bytes(hashlib.blake2b(shape, digest_size=4).digest())
    return msgspec.structs.replace(
        schema,
        version=schema.version + NARROWED_MIN * (1 + digest),
        columns=columns,
        foreign_keys=foreign_keys,
        uniques=tuple(unique for unique in schema.uniques if own.isdisjoint(unique.columns)),
    )


def is_narrowed(schema: TableSchema) -> bool:
    """Whether it is what somebody knows of a table of which there is more."""
    return schema.version >= NARROWED_MIN
