"""The directory that a hub keeps in its own database.

    hub.directory.add_tenant("acme")
    hub.directory.add_role("Managers", template="read_write")
    hub.directory.add_user("ann", password=…)
    hub.directory.add_member("ann", "Managers", tenant="acme")
    hub.directory.permit("Managers", "invoice", tenant="acme")

What it is       the port `Directory` over a store's records, and the public object that changes
                 them (`managing.py`).
The rule         a change takes effect with the next request, and on streams at once: it leaves
                 another stamp in the database, which every transaction sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from reunite.core.expression import Expression, from_json
from reunite.core.grants import NO_GRANTS, NOTHING_GRANTED, Flags, Grants, granted
from reunite.core.principal import Principal, tenant_text
from reunite.core.rules import NEVER, Rules
from reunite.directory.cache import StampedCache
from reunite.directory.managing import Managing
from reunite.directory.passwords import Passwords
from reunite.engine.directory import (
    CLOSED_STAMP,
    GRANTS_STAMP,
    MEMBERS_STAMP,
    NO_TENANT,
    Directory,
    FilterRecord,
    Granting,
    MemberRecord,
    PermissionRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Clock, Store, Transaction
from reunite.errors import BadRequestError, LimitExceededError


class StoredDirectory(Managing):
    """Users, tenants, roles, permissions and filters of one hub. Threads may share it."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        wake: Callable[[], None] = lambda: None,
        passwords: Passwords | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._wake = wake
        self._passwords = passwords or Passwords()
        self._cache = StampedCache()

    # --- The port -----------------------------------------------------------------------------

    def stamp(self, tx: Transaction) -> str:
        return tx.stamp(GRANTS_STAMP)

    def grants(self, tx: Transaction, principal: Principal) -> Grants:
        stamp = tx.stamp(GRANTS_STAMP)
        if not stamp:
            return NO_GRANTS
        tenant, roles = tenant_text(principal), tuple(sorted(set(principal.roles)))
        # Whether a tenant is active is a matter of the other stamp.
        found = self._cache.get(
            f"{stamp} {tx.stamp(MEMBERS_STAMP)}",
            ("grants", tenant, roles),
            lambda: self._find_grants(tx, tenant, roles),
        )
        if found:
            return found
        return NOTHING_GRANTED if tx.stamp(CLOSED_STAMP) else NO_GRANTS

    def member(self, tx: Transaction, user: str, tenant: str) -> Principal | None:
        return self._cache.get(
            tx.stamp(MEMBERS_STAMP),
            ("member", user, tenant),
            lambda: self._find_member(tx, user, tenant),
        )

    def tenants_of(self, tx: Transaction, user: str) -> Sequence[str]:
        names = {member.tenant for member in tx.records(MemberRecord, user_name=user)}
        return [name for name in sorted(names) if self.member(tx, user, name) is not None]

    def tenant_named(self, tx: Transaction, tenant: str | int) -> str | None:
        text = tenant_text(Principal(user="anybody", tenant=tenant))
        found = tx.records(TenantRecord, value=text) or tx.records(TenantRecord, name=str(tenant))
        return found[0].name if found else None

    def bars(self, tx: Transaction, principal: Principal) -> bool:
        stamp = tx.stamp(MEMBERS_STAMP)
        if not stamp:
            return False
        user, tenant = principal.user, tenant_text(principal)
        found = self._cache.get(
            stamp, ("bars", user, tenant), lambda: self._find_bar(tx, user, tenant)
        )
        return bool(found)

    def _find_bar(self, tx: Transaction, user: str, tenant: str) -> bool:
        users = tx.records(UserRecord, name=user)
        tenants = tx.records(TenantRecord, value=tenant) if tenant else ()
        is_active = [one.is_active for one in users] + [one.is_active for one in tenants]
        return not all(is_active)

    def knows(self, user: str, password: str) -> bool:
        with self._store.read() as tx:
            found = tx.records(UserRecord, name=user)
        kept = found[0].password if found and found[0].is_active else ""
        return self._passwords.matches(kept, password)

    # --- What is in the records -------------------------------------------------------------------

    def _find_grants(self, tx: Transaction, tenant: str, roles: Sequence[str]) -> Grants:
        # Every table for which anybody has a permission is closed to the others.
        found = {name: Rules() for name in self.governed(tx)}
        parts: dict[str, list[tuple[Flags, Sequence[Expression]]]] = {}
        for name in self._places(tx, tenant):
            for role in roles:
                filters: dict[str, list[Expression]] = {}
                for one in tx.records(FilterRecord, tenant=name, role=role):
                    if one.is_active:
                        filters.setdefault(one.table_name, []).append(condition_of(one))
                for permission in tx.records(PermissionRecord, tenant=name, role=role):
                    table = permission.table_name
                    part = flags_of(permission), filters.get(table, ())
                    parts.setdefault(table, []).append(part)
        found.update((table, granted(of_table)) for table, of_table in parts.items())
        return found

    def _places(self, tx: Transaction, tenant: str) -> Sequence[str]:
        """The name of the tenant with this value, if it is active; NO_TENANT for ""."""
        if not tenant:
            return [NO_TENANT]
        return [one.name for one in tx.records(TenantRecord, value=tenant) if one.is_active]

    def granting(self, tx: Transaction, principal: Principal, table: str) -> Sequence[Granting]:
        found = []
        for tenant in self._places(tx, tenant_text(principal)):
            for role in sorted(set(principal.roles)):
                where = {"tenant": tenant, "role": role, "table_name": table}
                permission = tx.records(PermissionRecord, **where)
                filters = tx.records(FilterRecord, **where)
                found.append(
                    Granting(
                        role=role,
                        tenant=tenant,
                        flags=flags_of(permission[0]) if permission else None,
                        filters=tuple((f.name, condition_of(f)) for f in filters if f.is_active),
                    )
                )
        return found

    def governed(self, tx: Transaction) -> Sequence[str]:
        """The tables for which anybody has a permission."""
        found = self._cache.get(
            tx.stamp(GRANTS_STAMP),
            "governed",
            lambda: sorted({one.table_name for one in tx.records(PermissionRecord)}),
        )
        return found or ()

    def _find_member(self, tx: Transaction, user: str, tenant: str) -> Principal | None:
        users = tx.records(UserRecord, name=user)
        if not users or not users[0].is_active:
            return None
        roles = [
            member.role
            for member in tx.records(MemberRecord, user_name=user, tenant=tenant)
            if member.is_active
        ]
        value = None
        if tenant != NO_TENANT:
            tenants = tx.records(TenantRecord, name=tenant)
            if not tenants or not tenants[0].is_active:
                return None
            value = msgspec.json.decode(tenants[0].value)
        if not roles:
            return None
        return Principal(
            user=user,
            tenant=value,
            roles=tuple(roles),
            claims=msgspec.json.decode(users[0].claims),
        )


def flags_of(permission: PermissionRecord) -> Flags:
    """The flags of a permission."""
    names = Flags.__struct_fields__
    return Flags(**{name: getattr(permission, f"can_{name}") for name in names})


def condition_of(record: FilterRecord) -> Expression:
    """The rows that a filter means: none where nobody can read it any more."""
    try:
        value = msgspec.json.decode(record.condition)
        return from_json(value, path=record.name, knows_user=True, is_ours=True)
    except (msgspec.DecodeError, BadRequestError, LimitExceededError):
        return NEVER


if TYPE_CHECKING:

    def _as_port(directory: StoredDirectory) -> Directory:
        return directory
