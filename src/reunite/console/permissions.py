"""Permissions: tables × roles × six flags, in a tenant or outside of any; and their filters.

    what a cell is now ──► its tag ──► If-Match ──► another, and what it was, to undo it

The rule         a cell is changed only by who has seen what it is. Many cells are changed all
                 together or not at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from reunite.console.operations import READ, WRITE, Desk, Nothing, Tagged, operation
from reunite.console.problems import changed
from reunite.console.tables import RowsCounted, counted, governing
from reunite.core.grants import FLAGS, TEMPLATES, Flags, granted
from reunite.core.principal import Principal
from reunite.core.rules import Access, Rules, parse_rules
from reunite.directory import StoredDirectory
from reunite.directory.stored import condition_of, flags_of
from reunite.engine.directory import (
    NO_TENANT,
    FilterRecord,
    MemberRecord,
    PermissionRecord,
    RoleRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Transaction
from reunite.engine.preview import compared
from reunite.errors import BadRequestError, NotAllowedError
from reunite.protocol.codec import encode

# Cells of one bulk change, and of one preview.
CELLS_MAX = 10_000
PREVIEWED_MAX = 200

# The tag of a cell, or a filter, that is not there.
NONE_TAG = "-"

_HOSTS = "Permissions are kept by the host of this hub: change them there."


class CellAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a role is to have of a table in a tenant; null for nothing."""

    tenant: str
    role: str
    table: str
    flags: Flags | None


class CellChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, with the tag of what is to be changed."""

    tenant: str
    role: str
    table: str
    flags: Flags | None
    etag: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What a role has of a table in a tenant; null where nothing is stored."""

    tenant: str
    role: str
    table: str
    flags: Flags | None
    etag: str
    filters: int = 0


class RoleColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and how many active users have it in this tenant."""

    name: str
    template: str
    users: int


class MatrixAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which tenant; "" for outside of any."""

    tenant: str = NO_TENANT


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a tenant that are stored. `can_open`: the last permission of all was taken away,
    so that tables are closed until somebody opens the hub again."""

    tenant: str
    tenants: list[str]
    tables: list[str]
    roles: list[RoleColumn]
    cells: list[Cell]
    templates: dict[str, Flags]
    can_edit: bool
    why_not: str | None
    can_open: bool


class CellChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A cell as it is now, and as it was. `was_open`: so was the hub, to every token."""

    cell: Cell
    was: Cell
    was_open: bool


class BulkAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of many cells."""

    items: list[CellChange]


class BulkChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The cells as they are now, and as they were, in the order of the changes. `was_open`: so was
    the hub, to every token, and is not any more."""

    cells: list[Cell]
    was: list[Cell]
    was_open: bool


class PreviewAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What would become of these cells; for filters that ask for the user, of which user."""

    items: list[CellAsked]
    user: str | None = None


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that somebody with this role alone reads in this tenant, and would read then."""

    tenant: str
    role: str
    table: str
    now: int
    then: int
    appear: int
    vanish: int


class TableLost(msgspec.Struct, frozen=True, kw_only=True):
    """A table, and the rows that are read of it; at least so many where it is not exact."""

    table: str
    rows: RowsCounted


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """What an open hub loses with its first permission: these tables vanish from every token and
    from these roles, but for what the cells say."""

    text: str
    tables: list[TableLost]
    roles: list[str]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """One for each cell; and what else comes of it where they are the first ones."""

    items: list[Previewed]
    closing: Closing | None


def etag_of(flags: Flags | None) -> str:
    """What stands for a cell as it is."""
    if flags is None:
        return NONE_TAG
    return "".join(
        sign if getattr(flags, name) else "_" for sign, name in zip("PLCUDR", FLAGS, strict=True)
    )


class PermissionsKept(Protocol):
    """Where permissions are kept, if not in the hub's own directory."""

    def tenants(self, tx: Transaction) -> list[str]:
        """The names of tenants."""

    def roles(self, tx: Transaction, tenant: str) -> list[RoleColumn]:
        """All roles."""

    def cells(self, tx: Transaction, tenant: str) -> dict[tuple[str, str], Flags]:
        """What is stored, by role and table."""

    def filters(self, tx: Transaction, tenant: str) -> Counter[tuple[str, str]]:
        """How many filters there are, by role and table."""

    def keep(
        self,
        cells: Sequence[tuple[str, str, str, Flags | None]],
        *,
        check: Callable[[Transaction], None],
        actor: str,
    ) -> None:
        """Keep these, as (role, table, tenant, flags), or none; `check` is called before, in the
        same transaction. Raises BadRequestError, UnknownTableError."""

    def tenant_value(self, tx: Transaction, tenant: str) -> str | int | None:
        """What rows of this tenant have; None outside of any. Raises BadRequestError."""

    def rules(self, tx: Transaction, asked: CellAsked) -> Rules:
        """What a cell would mean with these flags, and the filters that are there."""


class _Own:
    """Those of the hub's own directory."""

    def __init__(self, directory: StoredDirectory) -> None:
        self._directory = directory

    def tenants(self, tx: Transaction) -> list[str]:
        return [one.name for one in tx.records(TenantRecord)]

    def roles(self, tx: Transaction, tenant: str) -> list[RoleColumn]:
        users = Counter(member.role for member in active_members(tx) if member.tenant == tenant)
        return [
            RoleColumn(name=role.name, template=role.template, users=users[role.name])
            for role in tx.records(RoleRecord)
        ]

    def cells(self, tx: Transaction, tenant: str) -> dict[tuple[str, str], Flags]:
        return {
            (one.role, one.table_name): flags_of(one)
            for one in tx.records(PermissionRecord, tenant=tenant)
        }

    def filters(self, tx: Transaction, tenant: str) -> Counter[tuple[str, str]]:
        found = tx.records(FilterRecord, tenant=tenant)
        return Counter((one.role, one.table_name) for one in found)

    def keep(
        self,
        cells: Sequence[tuple[str, str, str, Flags | None]],
        *,
        check: Callable[[Transaction], None],
        actor: str,
    ) -> None:
        with self._directory.by(actor):
            self._directory.permit_all(cells, check=check)

    def tenant_value(self, tx: Transaction, tenant: str) -> str | int | None:
        if tenant == NO_TENANT:
            return None
        found = tx.records(TenantRecord, name=tenant)
        if not found:
            raise BadRequestError(f"There is no tenant {tenant!r}.", path="tenant")
        value: str | int = msgspec.json.decode(found[0].value)
        return value

    def rules(self, tx: Transaction, asked: CellAsked) -> Rules:
        if asked.flags is None:
            return Rules()
        found = tx.records(
            FilterRecord, tenant=asked.tenant, role=asked.role, table_name=asked.table
        )
        filters = [condition_of(one) for one in found if one.is_active]
        return granted([(asked.flags, filters)])


def active_members(tx: Transaction) -> Iterator[MemberRecord]:
    """The memberships that count, of users who may come."""
    active = {user.name for user in tx.records(UserRecord) if user.is_active}
    for member in tx.records(MemberRecord):
        if member.is_active and member.user_name in active:
            yield member


def _kept(desk: Desk) -> PermissionsKept | None:
    """Where this hub's permissions are; None where nobody can say."""
    directory = desk.inside.directory
    if isinstance(directory, StoredDirectory):
        return _Own(directory)
    found: PermissionsKept | None = getattr(directory, "permissions_kept", None)
    return found


@operation("GET", "permissions", READ, "What roles may do, by table, in one tenant")
def permissions(desk: Desk, given: MatrixAsked) -> Tagged:
    """The matrix of a tenant."""
    kept = _kept(desk)
    with desk.reading() as tx:
        tables = sorted(desk.tables(tx).schemas)
        stored = {} if kept is None else kept.cells(tx, given.tenant)
        filters = Counter() if kept is None else kept.filters(tx, given.tenant)
        matrix = Matrix(
            tenant=given.tenant,
            tenants=[] if kept is None else kept.tenants(tx),
            tables=tables,
            roles=[] if kept is None else kept.roles(tx, given.tenant),
            cells=[
                Cell(
                    tenant=given.tenant,
                    role=role,
                    table=table,
                    flags=flags,
                    etag=etag_of(flags),
                    filters=filters[role, table],
                )
                for (role, table), flags in stored.items()
            ],
            templates=dict(TEMPLATES),
            can_edit=kept is not None,
            why_not=None if kept is not None else _HOSTS,
            can_open=isinstance(desk.inside.directory, StoredDirectory)
            and governing(desk, tx).is_emptied,
        )
    text = encode(matrix)
    return Tagged(value=msgspec.Raw(text), tag=hashlib.sha256(text).hexdigest()[:32])


def own_directory(desk: Desk) -> StoredDirectory:
    """The hub's own directory. Raises NotAllowedError where the host keeps one."""
    if not isinstance(desk.inside.directory, StoredDirectory):
        raise NotAllowedError(_HOSTS)
    return desk.inside.directory


def required_match(desk: Desk) -> str:
    """The tag that the request says it has seen. Raises BadRequestError."""
    if desk.if_match is None:
        raise BadRequestError(
            "Say what is to be changed: its `etag` in the header If-Match.", path="If-Match"
        )
    return desk.if_match.strip('"')


@operation("PUT", "permissions", WRITE, "Change one cell")
def set_permission(desk: Desk, given: CellAsked) -> CellChanged:
    """Change a cell that is as the request says."""
    change = CellChange(
        tenant=given.tenant,
        role=given.role,
        table=given.table,
        flags=given.flags,
        etag=required_match(desk),
    )
    found = _change(desk, [change])
    return CellChanged(cell=found.cells[0], was=found.was[0], was_open=found.was_open)


@operation("POST", "permissions/bulk", WRITE, "Change many cells, all of them or none")
def set_permissions(desk: Desk, given: BulkAsked) -> BulkChanged:
    """Change cells that are as the request says."""
    if len(given.items) > CELLS_MAX:
        raise BadRequestError(f"A change has up to {CELLS_MAX} cells.", path="items")
    return _change(desk, given.items)


@operation("POST", "permissions/open", WRITE, "Open a hub whose last permission was taken away")
def open_up(desk: Desk, given: Nothing) -> None:
    """Let every token open every table again, where no rules of code say otherwise."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.open_up()


def _change(desk: Desk, changes: Sequence[CellChange]) -> BulkChanged:
    kept = _kept(desk)
    if kept is None:
        raise NotAllowedError(_HOSTS)
    named = Counter((one.tenant, one.role, one.table) for one in changes)
    (_, role, table), times = named.most_common(1)[0] if named else (("", "", ""), 0)
    if times > 1:
        raise BadRequestError(f"The cell of {role!r} and {table!r} is there twice.", path="items")
    was: list[Cell] = []
    was_open = False

    def check(tx: Transaction) -> None:
        nonlocal was_open
        was_open = _closes(desk, tx, changes)
        was.extend(_cells(kept, tx, changes))
        others = [
            cell for cell, change in zip(was, changes, strict=True) if cell.etag != change.etag
        ]
        if others:
            raise changed(
                f"Somebody has changed {len(others)} of {len(changes)} meanwhile: look at what is "
                "there now.",
                cells=others,
            )

    cells = [(one.role, one.table, one.tenant, one.flags) for one in changes]
    kept.keep(cells, check=check, actor=desk.user)
    with desk.reading() as tx:
        return BulkChanged(cells=_cells(kept, tx, changes), was=was, was_open=was_open)


def _closes(desk: Desk, tx: Transaction, asked: Iterable[CellAsked | CellChange]) -> bool:
    """Whether these are the first permissions of a hub that every token opens."""
    return (
        isinstance(desk.inside.directory, StoredDirectory)
        and any(one.flags is not None for one in asked)
        and governing(desk, tx).is_open
    )


def _cells(
    kept: PermissionsKept, tx: Transaction, asked: Iterable[CellAsked | CellChange]
) -> list[Cell]:
    """These cells as they are; one read for each tenant."""
    stored: dict[str, Mapping[tuple[str, str], Flags]] = {}
    filters: dict[str, Counter[tuple[str, str]]] = {}
    found = []
    for one in asked:
        if one.tenant not in stored:
            stored[one.tenant] = kept.cells(tx, one.tenant)
            filters[one.tenant] = kept.filters(tx, one.tenant)
        flags = stored[one.tenant].get((one.role, one.table))
        found.append(
            Cell(
                tenant=one.tenant,
                role=one.role,
                table=one.table,
                flags=flags,
                etag=etag_of(flags),
                filters=filters[one.tenant][one.role, one.table],
            )
        )
    return found


@operation("POST", "permissions/preview", READ, "How many rows a change would give or take")
def preview_permissions(desk: Desk, given: PreviewAsked) -> Preview:
    """What would become of what a holder of the role reads."""
    kept = _kept(desk)
    if kept is None:
        raise NotAllowedError(_HOSTS)
    if len(given.items) > PREVIEWED_MAX:
        raise BadRequestError(f"A preview is of up to {PREVIEWED_MAX} cells.", path="items")
    with desk.reading() as tx:
        return Preview(
            items=[_previewed(desk, kept, tx, one, given.user) for one in given.items],
            closing=_closing(desk, kept, tx) if _closes(desk, tx, given.items) else None,
        )


def _closing(desk: Desk, kept: PermissionsKept, tx: Transaction) -> Closing:
    names = sorted(desk.tables(tx).schemas)
    lost = [TableLost(table=name, rows=counted(tx, name, None)) for name in names]
    roles = [role.name for role in kept.roles(tx, NO_TENANT)]
    rows = sum(one.rows.count for one in lost)
    more = "" if all(one.rows.is_exact for one in lost) else "more than "
    return Closing(
        text="This hub is open: every token reads and writes everything. The first permission "
        f"closes all {len(lost)} tables: their {more}{rows} rows vanish from every token and all "
        f"{len(roles)} roles, but for what permissions give.",
        tables=lost,
        roles=roles,
    )


def _previewed(
    desk: Desk, kept: PermissionsKept, tx: Transaction, asked: CellAsked, user: str | None
) -> Previewed:
    """The rows of one cell: what stored flags and filters mean together with code's rules."""
    tables = desk.tables(tx)
    tables.schema(asked.table, path="table")
    principal = _holder(desk, kept, tx, asked, user)
    now = then = tables.access(principal)
    # To take away what nobody has changes nothing.
    if asked.flags is not None or (asked.role, asked.table) in kept.cells(tx, asked.tenant):
        then = Access(
            parse_rules(tables.rules_text),
            tables.known,
            principal,
            {asked.table: kept.rules(tx, asked)},
            policies=tables.policies,
            on_failure=tables.on_failure,
        )
    found = compared(tx, asked.table, now, then)
    return Previewed(
        tenant=asked.tenant,
        role=asked.role,
        table=asked.table,
        now=found.now,
        then=found.then,
        appear=found.appear,
        vanish=found.vanish,
    )


def _holder(
    desk: Desk, kept: PermissionsKept, tx: Transaction, asked: CellAsked, user: str | None
) -> Principal:
    """Somebody with this role alone; the user, if one is named."""
    tenant = kept.tenant_value(tx, asked.tenant)
    claims: Any = {}
    if user is not None:
        member = desk.inside.directory.member(tx, user, asked.tenant)
        if member is None:
            raise BadRequestError(f"{user!r} is no member of this tenant.", path="user")
        claims = member.claims
    return Principal(user=user or " ", tenant=tenant, roles=(asked.role,), claims=claims)
