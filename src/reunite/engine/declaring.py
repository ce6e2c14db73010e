"""Declaring: what a program says of a table when it tracks it, as the table's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reunite.core.merge import MergeFunction
from reunite.core.schema import TYPES_BY_MERGE, Column, ColumnMerge, RowMerge, TableSchema
from reunite.errors import BadRequestError


def declared(
    schema: TableSchema,
    *,
    merge: Mapping[str, str | ColumnMerge | MergeFunction],
    rows: str | RowMerge,
    generated_key: bool | None,
) -> tuple[TableSchema, dict[str, MergeFunction]]:
    """The schema with these policies, and the merge functions by column.

    Raises BadRequestError for a column or policy that there is not, and for a policy that cannot
    merge the column's type.
    """
    functions: dict[str, MergeFunction] = {}
    policies: dict[str, ColumnMerge] = {}
    for name, policy in merge.items():
        if name not in schema.column:
            raise BadRequestError(f"The table {schema.name!r} has no column {name!r}.")
        if name in schema.key:
            raise BadRequestError(f"{name!r} is part of the key of {schema.name!r}: keys move.")
        if callable(policy):
            functions[name], policies[name] = policy, ColumnMerge.CUSTOM
        else:
            policies[name] = _policy(ColumnMerge, policy)
            _check_merges(policies[name], schema.column[name], schema.name)
    columns = tuple(
        msgspec.structs.replace(column, merge=policies.get(column.name, column.merge))
        for column in schema.columns
    )
    is_generated = schema.generated_key if generated_key is None else generated_key
    made = msgspec.structs.replace(
        schema,
        columns=columns,
        rows=_policy(RowMerge, rows),
        generated_key=is_generated and schema.generated_key,
    )
    return made, functions


def _check_merges(policy: ColumnMerge, column: Column, table: str) -> None:
    """Refuse a policy that has no meaning for values of the column's type."""
    types = TYPES_BY_MERGE.get(policy)
    if types is not None and column.type not in types:
        known = ", ".join(sorted(types))
        raise BadRequestError(
            f"{policy.value!r} merges columns of type {known}, and {column.name!r} of {table!r} is "
            f"{column.type.value}: choose another policy for it."
        )


def _policy(policies: type[Any], name: Any) -> Any:
    try:
        found = policies(name)
    except ValueError:
        found = ColumnMerge.CUSTOM
    if found is not ColumnMerge.CUSTOM:
        return found
    known = [policy.value for policy in policies if policy is not ColumnMerge.CUSTOM]
    others = ", or give a merge function" if policies is ColumnMerge else ""
    raise BadRequestError(f"There is no policy {name!r}; there are {', '.join(known)}{others}.")
