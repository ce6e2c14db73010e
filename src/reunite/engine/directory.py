"""The directory: users, tenants, roles and stored permissions, as the engine asks for them.

    Directory.grants(tx, principal) ──► Grants ──► bound with code's rules, in the same transaction
    Directory.member(tx, user, tenant) ──► the Principal that a user is there, now

What it is       the port, so that a host may bring users of its own, and the kinds of records in
                 which a store keeps ours.
The rule         an answer is of the snapshot of the transaction that it is asked in.

Records are rows of tables of their own, `reunite_user` and so on, each with a key; a store needs
to know no more of them than their kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

from reunite.core.expression import Expression
from reunite.core.grants import NO_GRANTS, Flags, Grants
from reunite.core.principal import Principal
from reunite.engine.ports import Record, Transaction
from reunite.engine.remembered import (
    ActRecord,
    AnsweredRecord,
    HubConflictRecord,
    RefusalRecord,
    SeriesRecord,
    StandingRecord,
    SyncRecord,
    VisitRecord,
)
from reunite.errors import BadRequestError

# What stands for "outside of any tenant" where a tenant is named.
NO_TENANT = ""

# A value that changes whenever a principal may have become another one, or a token worth less.
MEMBERS_STAMP = "members"

# A value that changes whenever permissions or filters do.
GRANTS_STAMP = "grants"


# Who says what the hub's signed tokens say: a name that it gave itself.
ISSUER_STAMP = "issuer"

# "" until the first permission is stored; then the hub is closed, whatever becomes of them.
CLOSED_STAMP = "closed"

# All of them.
STAMPS = (MEMBERS_STAMP, GRANTS_STAMP, ISSUER_STAMP, CLOSED_STAMP)


class UserRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who may log in. `password` is its hash, "" for nobody knows one; `claims` is JSON."""

    name: str
    password: str = ""
    claims: str = "{}"
    is_active: bool = True
    created_ms: int = 0


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant; `value` is the JSON of what rows have in their tenant's column."""

    name: str
    value: str
    title: str = ""
    is_active: bool = True
    created_ms: int = 0


class RoleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and the template that its permissions begin with."""

    name: str
    template: str = "custom"
    created_ms: int = 0


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """That a user has a role in a tenant."""

    user_name: str
    tenant: str
    role: str
    is_active: bool = True
    created_ms: int = 0


class PermissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do with a table in a tenant."""

    tenant: str
    role: str
    table_name: str
    can_push: bool = False
    can_pull: bool = False
    can_create: bool = False
    can_update: bool = False
    can_delete: bool = False
    can_read: bool = False


class FilterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows a role's permission for a table is about; `condition` is an expression as JSON.
    Of several active ones, all must hold."""

    tenant: str
    role: str
    table_name: str
    name: str
    condition: str
    is_active: bool = True


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in of a device: `current` is the hash of the refresh token that is good next,
    `previous` of the one before, and `attempt` of the attempt that changed it for this one."""

    id: str
    user_name: str
    tenant: str
    device: str
    current: str
    previous: str = ""
    attempt: str = ""
    created_ms: int
    used_ms: int
    expires_ms: int


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs the hub's tokens, or did until `retired_ms` (0: it does)."""

    id: str
    algorithm: str
    secret: str
    created_ms: int
    retired_ms: int = 0


class RecordKind(msgspec.Struct, frozen=True, kw_only=True):
    """The table of a kind of records: its columns, of which the first `key` are its key. What is
    no text is an integer; true and false are 1 and 0. `indexes` are columns to look up by, each
    with `order` behind it, if there is one: the column by which records are the newest."""

    table: str
    columns: tuple[str, ...]
    key: int
    integers: frozenset[str]
    truths: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    order: str | None = None


def _kind(
    table: str,
    record: type[msgspec.Struct],
    *,
    key: int,
    indexes: tuple[str, ...] = (),
    order: str | None = None,
) -> RecordKind:
    fields = msgspec.structs.fields(record)
    return RecordKind(
        table=table,
        columns=tuple(field.name for field in fields),
        key=key,
        integers=frozenset(field.name for field in fields if field.type in (int, bool)),
        truths=tuple(field.name for field in fields if field.type is bool),
        indexes=indexes,
        order=order,
    )


RECORD_KINDS: Mapping[type[msgspec.Struct], RecordKind] = MappingProxyType(
    {
        UserRecord: _kind("reunite_user", UserRecord, key=1),
        TenantRecord: _kind("reunite_tenant", TenantRecord, key=1),
        RoleRecord: _kind("reunite_role", RoleRecord, key=1),
        MemberRecord: _kind("reunite_member", MemberRecord, key=3),
        PermissionRecord: _kind("reunite_permission", PermissionRecord, key=3),
        FilterRecord: _kind("reunite_filter", FilterRecord, key=4),
        SessionRecord: _kind("reunite_session", SessionRecord, key=1, indexes=("user_name",)),
        KeyRecord: _kind("reunite_key", KeyRecord, key=1),
        ActRecord: _kind("reunite_act", ActRecord, key=1, indexes=("actor", "what"), order="id"),
        HubConflictRecord: _kind(
            "reunite_hub_conflict",
            HubConflictRecord,
            key=1,
            indexes=("state", "replica", "table_name"),
            order="id",
        ),
        RefusalRecord: _kind(
            "reunite_refusal",
            RefusalRecord,
            key=1,
            indexes=("state", "replica", "table_name", "code"),
            order="id",
        ),
        SyncRecord: _kind(
            "reunite_sync",
            SyncRecord,
            key=1,
            indexes=("operation", "status", "principal", "replica"),
            order="id",
        ),
        StandingRecord: _kind("reunite_standing", StandingRecord, key=1),
        SeriesRecord: _kind("reunite_series", SeriesRecord, key=3, order="at_s"),
        AnsweredRecord: _kind(
            "reunite_answered", AnsweredRecord, key=1, indexes=("replica",), order="id"
        ),
        VisitRecord: _kind("reunite_visit", VisitRecord, key=1, indexes=("user_name",)),
    }
)


def record_of(kind: type[Record], row: Sequence[object]) -> Record:
    """The record that a row of its table holds."""
    of = RECORD_KINDS[kind]
    values = dict(zip(of.columns, row, strict=True))
    for name in of.truths:
        values[name] = bool(values[name])
    return kind(**values)


def row_of(record: msgspec.Struct) -> tuple[str | int, ...]:
    """The row of a record."""
    return tuple(
        int(value) if isinstance(value, bool) else value
        for value in msgspec.structs.astuple(record)
    )


class Granting(msgspec.Struct, frozen=True, kw_only=True):
    """What one role of a principal has of a table: None for no permission; and by name the filters
    that all must hold. `tenant` is the name of the tenant, NO_TENANT for outside of any."""

    role: str
    tenant: str
    flags: Flags | None = None
    filters: tuple[tuple[str, Expression], ...] = ()


class Directory(Protocol):
    """Who there is, and what is stored of their rights."""

    def stamp(self, tx: Transaction) -> str:
        """Another text whenever `grants` may answer otherwise than before. Cheap."""
        ...

    def grants(self, tx: Transaction, principal: Principal) -> Grants:
        """What stored permissions say of a principal, by its tenant and its roles."""
        ...

    def granting(self, tx: Transaction, principal: Principal, table: str) -> Sequence[Granting]:
        """Where `grants` has this table from: each role of the principal. For explanations."""
        ...

    def member(self, tx: Transaction, user: str, tenant: str) -> Principal | None:
        """Who a user is in the tenant of this name, NO_TENANT for outside of any; None for one who
        may not come: unknown, not active, no member, or the tenant is not active."""
        ...

    def tenants_of(self, tx: Transaction, user: str) -> Sequence[str]:
        """The names of the tenants in which `member` finds this user."""
        ...

    def tenant_named(self, tx: Transaction, tenant: str | int) -> str | None:
        """The name of the tenant whose rows have this value, or that has this name; None if there
        is none."""
        ...

    def bars(self, tx: Transaction, principal: Principal) -> bool:
        """Whether the principal's user or tenant is known here and not active, so that nobody may
        come as this principal, whatever their token; False where neither is known. Asked with
        every request of a token that the hub made."""
        ...

    def knows(self, user: str, password: str) -> bool:
        """Whether this is the password of such a user. Blocks for as long as a hash takes, and as
        long for a name that it does not know."""
        ...


class NoDirectory:
    """Nobody, and nothing stored."""

    def stamp(self, tx: Transaction) -> str:
        return ""

    def grants(self, tx: Transaction, principal: Principal) -> Grants:
        return NO_GRANTS

    def granting(self, tx: Transaction, principal: Principal, table: str) -> Sequence[Granting]:
        return ()

    def member(self, tx: Transaction, user: str, tenant: str) -> Principal | None:
        return None

    def tenants_of(self, tx: Transaction, user: str) -> Sequence[str]:
        return ()

    def tenant_named(self, tx: Transaction, tenant: str | int) -> str | None:
        return None

    def bars(self, tx: Transaction, principal: Principal) -> bool:
        return False

    def knows(self, user: str, password: str) -> bool:
        return False


def as_known(directory: Directory, tx: Transaction, principal: Principal) -> Principal:
    """Who somebody is that was only named: with the roles, claims and tenant that the directory
    says. A principal that says some of its own, as a token does, or that the directory does not
    know there, is taken as it is. Raises BadRequestError for a member of several tenants that
    names none."""
    if principal.roles or principal.claims:
        return principal
    names = directory.tenants_of(tx, principal.user)
    if principal.tenant is not None:
        wanted = directory.tenant_named(tx, principal.tenant)
        names = [name for name in names if name == wanted]
    elif NO_TENANT in names:
        names = [NO_TENANT]
    if len(names) > 1:
        raise BadRequestError(
            f"Say in which tenant: {principal.user} is a member of {', '.join(names)}.",
            path="tenant",
        )
    found = directory.member(tx, principal.user, names[0]) if names else None
    return found or principal
