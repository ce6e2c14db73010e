"""View as …: what somebody sees and may do, and why; for rows, for tables, and row by row.

The rule         the answers are made by the very rules that pulls and pushes ask.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.console.operations import READ, Desk, operation
from reunite.console.rows import schema_of
from reunite.console.tables import RowsCounted, counted
from reunite.core.key import Key
from reunite.core.principal import Principal, check_principal
from reunite.core.rules import NEVER
from reunite.engine.directory import NO_TENANT
from reunite.engine.explain import Decision, Explanation
from reunite.engine.ports import Transaction
from reunite.engine.putting_back import Named, named_row
from reunite.errors import BadRequestError
from reunite.protocol.query import QueryRequest


class PrincipalGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody, with what rules ask for."""

    user: str
    tenant: str | int | None = None
    roles: tuple[str, ...] = ()
    claims: dict[str, Any] = {}


class Somebody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user of the directory in a tenant, "" for outside of any; or a principal as it is said."""

    user: str = ""
    tenant: str = NO_TENANT
    principal: PrincipalGiven | None = None


class ExplainAsked(Somebody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May they see and change this row?"""

    table: str
    key: list[Any]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What they may do with it, and why; and the row itself."""

    user: str
    table: str
    key: Key
    is_there: bool
    read: Decision
    insert: Decision
    update: Decision
    delete: Decision
    hidden: tuple[str, ...]
    read_only: tuple[str, ...]
    row: Named | None


class ViewAsked(Somebody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows of this table do they see?"""

    table: str
    after: list[Any] | None = None
    limit: int = 50


class ViewSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as they see them, and how many there are."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    next: Key | None
    count: RowsCounted


class TableSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What they may do with a table: with `all` of its rows, `some` or `none`."""

    table: str
    reads: str
    inserts: str
    updates: str
    deletes: str
    hidden: list[str]


class TablesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """All tables, by name."""

    user: str
    tenant: str | int | None
    roles: tuple[str, ...]
    claims: dict[str, Any]
    items: list[TableSeen]


@operation("POST", "explain", READ, "What somebody may do with a row, and why")
def explain(desk: Desk, given: ExplainAsked) -> Explained:
    """What the rules say of it."""
    with desk.reading() as tx:
        principal = _principal(desk, tx, given)
        schema = schema_of(desk, tx, given.table)
    key = tuple(given.key)
    found: Explanation = desk.hub.explain(principal, given.table, key)
    with desk.reading() as tx:
        row = named_row(tx, schema, key)
    names = [name for name in Explained.__struct_fields__ if name != "row"]
    return Explained(**{name: getattr(found, name) for name in names}, row=row)


@operation("POST", "view", READ, "The rows of a table that somebody sees")
def view(desk: Desk, given: ViewAsked) -> ViewSeen:
    """A part of them, by key."""
    with desk.reading() as tx:
        principal = _principal(desk, tx, given)
        tables = desk.tables(tx)
        tables.schema(given.table, path="table")
        where = tables.access(principal).of(given.table).read
        count = (
            RowsCounted(count=0, is_exact=True)
            if where == NEVER
            else counted(tx, given.table, where)
        )
    asked = QueryRequest(
        table=given.table,
        after=None if given.after is None else tuple(given.after),
        limit=min(given.limit, 200),
    )
    found = desk.hub.query(asked, principal)
    return ViewSeen(
        columns=tuple(found.columns), rows=list(found.rows), next=found.next, count=count
    )


@operation("POST", "view/tables", READ, "What somebody may do with each table")
def view_tables(desk: Desk, given: Somebody) -> TablesSeen:
    """All tables."""
    with desk.reading() as tx:
        principal = _principal(desk, tx, given)
        tables = desk.tables(tx)
        access = tables.access(principal)

        def share(operation_name: str, name: str) -> str:
            rule = getattr(access.of(name), operation_name)
            if not access.limits(operation_name, name):
                return "all"
            return "none" if rule == NEVER else "some"

        items = [
            TableSeen(
                table=name,
                reads=share("read", name),
                inserts=share("insert", name),
                updates=share("update", name),
                deletes=share("delete", name),
                hidden=sorted(access.of(name).hidden),
            )
            for name in sorted(tables.schemas)
        ]
    return TablesSeen(
        user=principal.user,
        tenant=principal.tenant,
        roles=tuple(principal.roles),
        claims=dict(principal.claims),
        items=items,
    )


def _principal(desk: Desk, tx: Transaction, given: Somebody) -> Principal:
    """Whom it is asked about. Raises BadRequestError."""
    if given.principal is not None:
        said = given.principal
        return check_principal(
            Principal(user=said.user, tenant=said.tenant, roles=said.roles, claims=said.claims)
        )
    found = desk.inside.directory.member(tx, given.user, given.tenant)
    if found is None:
        raise BadRequestError(
            f"{given.user!r} has no role there: choose a user and a tenant in which it has one, "
            "or say as what `principal` they come.",
            path="user",
        )
    return found
