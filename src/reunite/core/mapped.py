"""Mapped tables: what an object of the team's ORM says of its tables, without the ORM.

    a mapped class     its table, and those of the classes that it inherits from
    a Table            itself
    metadata           all its tables that have a primary key, parents first

What it is       attributes that SQLAlchemy's objects have (`__table__`, `__mapper__`, `columns`,
                 `sorted_tables`), looked up by name. Nothing is imported for it.
What it is not   a schema: what a column is, the database says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from reunite.core.schema import TableSchema
from reunite.errors import BadRequestError

# Schemas that databases search by themselves.
_USUAL_SCHEMAS = frozenset({None, "", "main", "public"})


class MappedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table as it is mapped; what its database computes stands apart. `names` are those that a
    hub may call it by, likely ones first."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    computed: tuple[str, ...] = ()
    key: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[0]


def mapped_tables(model: Any) -> tuple[MappedTable, ...]:
    """The tables that a mapped class, a table or metadata stands for.

    Raises BadRequestError for anything else, and for a table without a primary key.
    """
    found = getattr(model, "sorted_tables", None)
    if found is not None:
        return tuple(table for table in map(_mapped, found) if table.key)
    tables = tuple(map(_mapped, _tables_of_one(model)))
    for table in tables:
        if not table.key:
            raise BadRequestError(
                f"The mapped table {table.name!r} has no primary key: its rows cannot be told "
                "apart."
            )
    return tables


def check_mapped(model: Any, schemas: Iterable[TableSchema]) -> None:
    """Refuse a mapping that speaks of tables, keys or columns that a replica does not have.

    Raises BadRequestError, which names the first one.
    """
    known = {schema.name: schema for schema in schemas}
    for table in mapped_tables(model):
        schema = next((known[name] for name in table.names if name in known), None)
        if schema is None:
            raise BadRequestError(
                f"There is no table {table.name!r} here; there are {_listed(known)}."
            )
        check_columns_exist(table, schema)
        if table.computed:
            raise BadRequestError(
                f"{_listed(table.computed)} of {schema.name!r} is computed by the hub's database, "
                "and a replica does not have it: give devices a class that leaves it out."
            )


def check_columns_exist(table: MappedTable, schema: TableSchema) -> None:
    """The same for one table. A mapping may leave columns out."""
    missing = [name for name in table.columns if name not in schema.column]
    if missing:
        raise BadRequestError(
            f"The table {schema.name!r} has no column {_listed(missing)}, which the mapping has: "
            "migrate the database, and track the table again."
        )
    if set(table.key) != set(schema.key):
        raise BadRequestError(
            f"The key of {schema.name!r} is {_listed(schema.key)}, and the mapping says "
            f"{_listed(table.key)}: map what the database has, or migrate it."
        )


def _tables_of_one(model: Any) -> list[Any]:
    mapper = getattr(model, "__mapper__", None)
    if mapper is not None:
        return list(mapper.tables)
    table = getattr(model, "__table__", model)
    if not (hasattr(table, "columns") and hasattr(table, "primary_key") and hasattr(table, "name")):
        raise BadRequestError(
            "A table is tracked by its name, or by what maps it: a mapped class, a Table, or "
            f"metadata of SQLAlchemy; {model!r} is none of these."
        )
    return [table]


def _mapped(table: Any) -> MappedTable:
    schema = getattr(table, "schema", None)
    plain, full = str(table.name), f"{schema}.{table.name}"
    return MappedTable(
        names=(plain, full) if schema in _USUAL_SCHEMAS else (full, plain),
        columns=tuple(str(column.name) for column in table.columns if not _is_computed(column)),
        computed=tuple(str(column.name) for column in table.columns if _is_computed(column)),
        key=tuple(str(column.name) for column in table.primary_key),
    )


def _is_computed(column: Any) -> bool:
    return getattr(column, "computed", None) is not None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
