"""Tables: what each looks like, how it merges, and its rules, which come from code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from reunite.console.operations import READ, Asked, Desk, operation
from reunite.console.paging import after_place, part_of
from reunite.core.expression import Expression
from reunite.core.principal import Principal
from reunite.core.rules import Rule, Rules, parse_rules, rules_json
from reunite.core.schema import TableSchema
from reunite.engine.explain import expression_text
from reunite.engine.ports import Transaction

# Rows that are counted; beyond, there are "more than".
COUNTED_MAX = 100_000


class TablesAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tables with this in their name."""

    q: str = ""


class TableItem(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `rules` is `rules` of code, stored `permissions`, `closed` (others have some and
    this one none) or `none`, where every token opens everything. `policy_missing`: code that
    decides was not given to this process."""

    name: str
    key: tuple[str, ...]
    columns: int
    generated_key: bool
    version: int
    rules: str
    tenant: str | None
    policy: str | None
    policy_missing: bool
    row_merge: str


class TableList(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the tables."""

    items: list[TableItem]
    next: str | None
    total: int


class TableAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which table."""

    name: str


class ColumnSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A column; `read` and `write` are its rules, null for none."""

    name: str
    type: str
    nullable: bool
    merge: str
    read: str | None
    write: str | None


class ForeignKeySeen(msgspec.Struct, frozen=True, kw_only=True):
    """What its columns point to."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


class RowsCounted(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows there are; at least so many where it is not exact."""

    count: int
    is_exact: bool


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table. The rules are told as one would write them in Python."""

    table: TableItem
    columns: list[ColumnSeen]
    foreign_keys: list[ForeignKeySeen]
    rules_text: dict[str, str] | None
    rules_json: dict[str, Any] | None
    rows: RowsCounted


class Governing(NamedTuple):
    """What says who reads and writes tables: rules of code by table, and the tables that stored
    permissions are about ("" among them where the last one was taken away)."""

    rules: Mapping[str, Rules]
    permitted: frozenset[str]

    @property
    def is_open(self) -> bool:
        """Whether nothing says so, and every token opens every table."""
        return not self.rules and not self.permitted

    @property
    def is_emptied(self) -> bool:
        """Whether tables are closed by permissions that are all gone."""
        return not self.rules and self.permitted == {""}

    def of(self, table: str) -> str:
        """What does for this one, as `TableItem` tells it."""
        if table in self.rules:
            return "rules"
        return "permissions" if table in self.permitted else "none" if self.is_open else "closed"


def governing(desk: Desk, tx: Transaction) -> Governing:
    """What governs the tables of this hub."""
    found = desk.tables(tx)
    # Somebody without a role is told of all tables for which anybody has a permission.
    permitted = found.grants(Principal(user=" "))
    return Governing(parse_rules(found.rules_text), frozenset(permitted))


@operation("GET", "tables", READ, "Tracked tables, by name")
def tables(desk: Desk, given: TablesAsked) -> TableList:
    """The tables that are meant."""
    missing = desk.hub.missing_policies()
    with desk.reading() as tx:
        schemas, told = desk.tables(tx).schemas, governing(desk, tx)
    text = given.q.casefold()
    found = [
        _item(schemas[name], told, missing) for name in sorted(schemas) if text in name.casefold()
    ]
    part, following = part_of(found, given.limit, after_place(given.after))
    return TableList(items=part, next=following, total=len(found))


def _item(schema: TableSchema, told: Governing, missing: Any) -> TableItem:
    own = told.rules.get(schema.name)
    return TableItem(
        name=schema.name,
        key=schema.key,
        columns=len(schema.columns),
        generated_key=schema.generated_key,
        version=schema.version,
        rules=told.of(schema.name),
        tenant=None if own is None else own.tenant,
        policy=None if own is None else own.policy,
        policy_missing=schema.name in missing,
        row_merge=schema.rows.value,
    )


@operation("GET", "tables/{name:path}", READ, "One table, with its columns and rules")
def table(desk: Desk, given: TableAsked) -> Table:
    """The table of this name."""
    missing = desk.hub.missing_policies()
    with desk.reading() as tx:
        schema = desk.tables(tx).schema(given.name, path="name")
        told = governing(desk, tx)
        count = counted(tx, schema.name, None)
    own = told.rules.get(schema.name)
    of_columns = {} if own is None else own.columns
    return Table(
        table=_item(schema, told, missing),
        columns=[
            ColumnSeen(
                name=one.name,
                type=one.type.value,
                nullable=one.nullable,
                merge=one.merge.value,
                read=_text(of_columns[one.name].read) if one.name in of_columns else None,
                write=_text(of_columns[one.name].write) if one.name in of_columns else None,
            )
            for one in schema.columns
        ],
        foreign_keys=[
            ForeignKeySeen(
                columns=one.columns, parent=one.parent, parent_columns=one.parent_columns
            )
            for one in schema.foreign_keys
        ],
        rules_text=None
        if own is None
        else {name: _text(getattr(own, name)) for name in ("read", "insert", "update", "delete")},
        rules_json=None if own is None else rules_json(own),
        rows=count,
    )


def _text(rule: Rule) -> str:
    return expression_text(rule) if isinstance(rule, Expression) else str(rule)


def counted(tx: Transaction, name: str, where: Expression | None) -> RowsCounted:
    """How many rows a table has that an expression means, counted so far."""
    count = tx.row_count(name, where=where, limit=COUNTED_MAX + 1)
    return RowsCounted(count=min(count, COUNTED_MAX), is_exact=count <= COUNTED_MAX)
