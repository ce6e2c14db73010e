"""The directory as one JSON document: to look through, to keep in a repository, to bring elsewhere.

    {"tenants": [...], "roles": [...], "users": [...], "members": [...], "permissions": [...],
     "filters": [...]}

What it is not   a backup: passwords, log-ins and keys are not in it.
The rule         what is exported is valid, and its import changes nothing. A document with one
                 problem is not imported at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from reunite.core.expression import check_expression, from_json, to_json
from reunite.core.grants import FLAGS, TEMPLATES, Flags
from reunite.core.principal import Principal, check_principal, tenant_text
from reunite.engine.directory import (
    NO_TENANT,
    FilterRecord,
    MemberRecord,
    PermissionRecord,
    RoleRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Transaction, WriteTransaction
from reunite.engine.register import check_shown
from reunite.errors import ReuniteError

# Problems that one validation names.
PROBLEMS_MAX = 100


class TenantEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant; `value` is what rows have in their tenant's column."""

    name: str
    value: str | int
    title: str = ""
    is_active: bool = True


class RoleEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role and its template."""

    name: str
    template: str = "custom"


class UserEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user and its claims, without a password."""

    name: str
    claims: dict[str, Any] = {}
    is_active: bool = True


class MemberEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role of a user, in a tenant or, for "", outside of any."""

    user: str
    role: str
    tenant: str = NO_TENANT


class PermissionEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a role may do with a table, by the names of the flags."""

    role: str
    table: str
    may: tuple[str, ...]
    tenant: str = NO_TENANT


class FilterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows that is about, under a name."""

    role: str
    table: str
    name: str
    condition: dict[str, Any]
    tenant: str = NO_TENANT
    is_active: bool = True


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    tenants: tuple[TenantEntry, ...] = ()
    roles: tuple[RoleEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()
    members: tuple[MemberEntry, ...] = ()
    permissions: tuple[PermissionEntry, ...] = ()
    filters: tuple[FilterEntry, ...] = ()


class DirectoryProblem(msgspec.Struct, frozen=True):
    """What is wrong with a document, and where: `permissions[3].table`."""

    path: str
    text: str


def document_of(tx: Transaction) -> Document:
    """What a database holds."""
    decode = msgspec.json.decode
    return Document(
        tenants=tuple(
            TenantEntry(one.name, decode(one.value), one.title, one.is_active)
            for one in tx.records(TenantRecord)
        ),
        roles=tuple(RoleEntry(one.name, one.template) for one in tx.records(RoleRecord)),
        users=tuple(
            UserEntry(one.name, decode(one.claims), one.is_active) for one in tx.records(UserRecord)
        ),
        members=tuple(
            MemberEntry(one.user_name, one.role, one.tenant) for one in tx.records(MemberRecord)
        ),
        permissions=tuple(
            PermissionEntry(
                one.role,
                one.table_name,
                tuple(flag for flag in FLAGS if getattr(one, f"can_{flag}")),
                one.tenant,
            )
            for one in tx.records(PermissionRecord)
        ),
        filters=tuple(
            FilterEntry(
                one.role,
                one.table_name,
                one.name,
                decode(one.condition),
                one.tenant,
                one.is_active,
            )
            for one in tx.records(FilterRecord)
        ),
    )


def parse_document(value: object) -> Document | DirectoryProblem:
    """The document that JSON spells, or where it is none."""
    try:
        return msgspec.convert(value, Document)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$")
        return DirectoryProblem(path.rstrip("`").removeprefix(".") or "document", text)


def problems_of(tx: Transaction, document: Document) -> list[DirectoryProblem]:
    """What keeps a document from being imported, the first PROBLEMS_MAX of it."""
    found: list[DirectoryProblem] = []
    for problem in _problems(tx, document):
        found.append(problem)
        if len(found) == PROBLEMS_MAX:
            break
    return found


def _problems(tx: Transaction, document: Document) -> Iterator[DirectoryProblem]:
    yield from _twice(document)
    schemas = tx.schemas()
    tenants = {one.name for one in document.tenants} | {NO_TENANT}
    roles = {one.name for one in document.roles}
    users = {one.name for one in document.users}
    for kind in ("tenants", "roles", "users", "filters"):
        for index, named in enumerate(getattr(document, kind)):
            yield from _raised(f"{kind}[{index}].name", partial(_check_name, named.name))
    for index, role in enumerate(document.roles):
        if role.template not in TEMPLATES:
            text = f"there is no template {role.template!r}: there are {', '.join(TEMPLATES)}"
            yield DirectoryProblem(f"roles[{index}].template", text)
    for index, user in enumerate(document.users):
        who = Principal(user="user", claims=user.claims)
        yield from _raised(f"users[{index}].claims", partial(check_principal, who))
    for kind in ("members", "permissions", "filters"):
        for index, one in enumerate(getattr(document, kind)):
            path = f"{kind}[{index}]"
            for field, known in (("tenant", tenants), ("role", roles), ("user", users)):
                name = getattr(one, field, None)
                if name is not None and name not in known:
                    text = f"there is no {field} {name!r} in this document"
                    yield DirectoryProblem(f"{path}.{field}", text)
            table = getattr(one, "table", None)
            if table is not None and table not in schemas:
                yield DirectoryProblem(f"{path}.table", f"this hub tracks no table {table!r}")
    for index, permission in enumerate(document.permissions):
        if unknown := set(permission.may) - set(FLAGS):
            text = f"there is no flag {min(unknown)!r}: there are {', '.join(FLAGS)}"
            yield DirectoryProblem(f"permissions[{index}].may", text)
    for index, one in enumerate(document.filters):
        if one.table in schemas:
            yield from _raised(f"filters[{index}].condition", partial(_condition, tx, one))


def _twice(document: Document) -> Iterator[DirectoryProblem]:
    """Entries that are there twice, and values that two tenants have."""
    keys: dict[str, Callable[[Any], object]] = {
        "tenants": lambda one: one.name,
        "roles": lambda one: one.name,
        "users": lambda one: one.name,
        "members": lambda one: (one.user, one.role, one.tenant),
        "permissions": lambda one: (one.role, one.table, one.tenant),
        "filters": lambda one: (one.role, one.table, one.tenant, one.name),
    }
    for kind, key in keys.items():
        seen = set()
        for index, one in enumerate(getattr(document, kind)):
            if key(one) in seen:
                yield DirectoryProblem(f"{kind}[{index}]", "is there twice")
            seen.add(key(one))
    values: set[str] = set()
    for index, one in enumerate(document.tenants):
        text = _json(one.value)
        if text in values:
            yield DirectoryProblem(f"tenants[{index}].value", f"two tenants have {text}")
        values.add(text)


def _raised(path: str, check: Callable[[], object]) -> Iterator[DirectoryProblem]:
    try:
        check()
    except ReuniteError as exc:
        yield DirectoryProblem(path, exc.message)


def _check_name(name: str) -> None:
    if not name or name != name.strip():
        raise ReuniteError("a name is a text without spaces around it")
    check_shown(name)


def _condition(tx: Transaction, entry: FilterEntry) -> str:
    schemas = tx.schemas()
    found = check_expression(
        from_json(entry.condition, path="condition", knows_user=True),
        schemas[entry.table],
        path="condition",
        knows_user=True,
        schemas=schemas,
    )
    return _json(to_json(found, knows_user=True))


def keep_document(tx: WriteTransaction, document: Document, *, now_ms: int) -> None:
    """Make tenants, roles, memberships, permissions and filters what a document without problems
    says. Users that it names are added or changed, with the passwords that they have; others stay,
    without memberships."""
    former = tx.records(TenantRecord)
    tenants_at = {one.name: one.created_ms for one in former}
    gone = {one.value for one in former} - {_json(one.value) for one in document.tenants}
    end_tokens(tx, lambda principal: tenant_text(principal) in gone)
    roles_at = {one.name: one.created_ms for one in tx.records(RoleRecord)}
    for kind in (TenantRecord, RoleRecord, MemberRecord, PermissionRecord, FilterRecord):
        tx.drop_records(kind)
    for tenant in document.tenants:
        tx.put_record(
            TenantRecord(
                name=tenant.name,
                value=_json(tenant.value),
                title=tenant.title,
                is_active=tenant.is_active,
                created_ms=tenants_at.get(tenant.name, now_ms),
            )
        )
    for role in document.roles:
        at = roles_at.get(role.name, now_ms)
        tx.put_record(RoleRecord(name=role.name, template=role.template, created_ms=at))
    for user in document.users:
        known = tx.records(UserRecord, name=user.name)
        tx.put_record(
            msgspec.structs.replace(
                known[0] if known else UserRecord(name=user.name, created_ms=now_ms),
                claims=_json(user.claims),
                is_active=user.is_active,
            )
        )
    for member in document.members:
        tx.put_record(
            MemberRecord(
                user_name=member.user, tenant=member.tenant, role=member.role, created_ms=now_ms
            )
        )
    for permission in document.permissions:
        flags = Flags(**dict.fromkeys(permission.may, True))
        tx.put_record(
            permission_record(permission.tenant, permission.role, permission.table, flags)
        )
    for one in document.filters:
        tx.put_record(
            FilterRecord(
                tenant=one.tenant,
                role=one.role,
                table_name=one.table,
                name=one.name,
                condition=_condition(tx, one),
                is_active=one.is_active,
            )
        )


def end_tokens(tx: WriteTransaction, is_meant: Callable[[Principal], bool]) -> None:
    """Remove the tokens that were made for these principals."""
    for token_hash, principal, _, _ in tx.tokens():
        if is_meant(principal):
            tx.revoke_token(token_hash)


def permission_record(tenant: str, role: str, table: str, flags: Flags) -> PermissionRecord:
    """A permission with these flags."""
    can: Mapping[str, bool] = {f"can_{name}": getattr(flags, name) for name in FLAGS}
    return PermissionRecord(tenant=tenant, role=role, table_name=table, **can)


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
