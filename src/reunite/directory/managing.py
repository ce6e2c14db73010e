"""What changes a stored directory: one write transaction each, and the stamps it leaves.

The rule         names are checked here; what is there already stays, but for what a call says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from reunite.core.expression import Expression, check_expression, from_json, to_json
from reunite.core.grants import GROUPS, TEMPLATES, Flags
from reunite.core.principal import Principal, check_principal, tenant_text
from reunite.directory.document import (
    DirectoryProblem,
    document_of,
    end_tokens,
    keep_document,
    parse_document,
    permission_record,
    problems_of,
)
from reunite.directory.noting import Act, acting_by, keep_acts, noted
from reunite.directory.passwords import Passwords
from reunite.engine.directory import (
    CLOSED_STAMP,
    GRANTS_STAMP,
    MEMBERS_STAMP,
    NO_TENANT,
    FilterRecord,
    MemberRecord,
    PermissionRecord,
    RoleRecord,
    SessionRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Clock, Record, Store, Transaction, WriteTransaction
from reunite.engine.register import check_shown
from reunite.engine.remembered import VisitRecord
from reunite.errors import BadRequestError, UnknownTableError


class Managing:
    """Users, tenants, memberships, roles, permissions and filters, read and changed."""

    _store: Store
    _clock: Clock
    _passwords: Passwords
    _new_id: Callable[[], str]
    _wake: Callable[[], None]

    @contextmanager
    def by(self, actor: str) -> Iterator[None]:
        """What is changed in the block, in this thread or task, is noted as done by this one."""
        with acting_by(actor):
            yield

    # --- Users --------------------------------------------------------------------------------

    def users(self) -> Sequence[UserRecord]:
        """All users, by name."""
        return self._all(UserRecord)

    def add_user(
        self, name: str, *, password: str | None = None, claims: Mapping[str, Any] | None = None
    ) -> None:
        """Add a user, who may log in as soon as it is a member somewhere; or change the one of
        this name: what is None stays. A new password ends its log-ins. Raises BadRequestError."""
        _check_name(name, "user")
        if claims is not None:
            check_principal(Principal(user=name, claims=claims))
        hashed = None if password is None else self._passwords.hash(password)
        with self._changing(MEMBERS_STAMP) as tx:
            user = _one(tx, UserRecord, name=name)
            if user is None:
                user = UserRecord(name=name, created_ms=self._clock.now_ms())
            if hashed is not None:
                user = msgspec.structs.replace(user, password=hashed)
                tx.drop_records(SessionRecord, user_name=name)
                tx.drop_records(VisitRecord, user_name=name, is_member=True)
            if claims is not None:
                text = msgspec.json.encode(dict(claims), order="sorted").decode()
                user = msgspec.structs.replace(user, claims=text)
            tx.put_record(user)

    def set_user_active(self, name: str, is_active: bool) -> None:
        """Let a user come, or not: then its log-ins end at once, and tokens that were made in its
        name open nothing until it may. Raises BadRequestError."""
        with self._changing(MEMBERS_STAMP) as tx:
            user = _known(tx, UserRecord, "user", name=name)
            tx.put_record(msgspec.structs.replace(user, is_active=is_active))
            if not is_active:
                tx.drop_records(SessionRecord, user_name=name)
                tx.drop_records(VisitRecord, user_name=name)

    def remove_user(self, name: str) -> None:
        """Remove a user with its memberships, log-ins and tokens; its rows and replicas stay."""
        with self._changing(MEMBERS_STAMP) as tx:
            _known(tx, UserRecord, "user", name=name)
            end_tokens(tx, lambda principal: principal.user == name)
            tx.drop_records(SessionRecord, user_name=name)
            tx.drop_records(VisitRecord, user_name=name)
            tx.drop_records(MemberRecord, user_name=name)
            tx.drop_records(UserRecord, name=name)

    # --- Tenants ------------------------------------------------------------------------------

    def tenants(self) -> Sequence[TenantRecord]:
        """All tenants, by name."""
        return self._all(TenantRecord)

    def add_tenant(
        self, name: str, *, value: str | int | None = None, title: str | None = None
    ) -> None:
        """Add a tenant, or change the one of this name: what is None stays.

        value    what rows have in their tenant's column; the name, if nothing is said
        """
        _check_name(name, "tenant")
        given: Any = value  # programs call this without our types being checked
        if given is not None and (isinstance(given, bool) or not isinstance(given, str | int)):
            raise BadRequestError("A tenant's value is a text or an integer.", path="value")
        with self._changing(MEMBERS_STAMP) as tx:
            found = _one(tx, TenantRecord, name=name)
            tenant = found or TenantRecord(
                name=name, value=_json(name), created_ms=self._clock.now_ms()
            )
            if value is not None:
                tenant = msgspec.structs.replace(tenant, value=_json(value))
            if title is not None:
                tenant = msgspec.structs.replace(tenant, title=title)
            for other in tx.records(TenantRecord, value=tenant.value):
                if other.name != name:
                    raise BadRequestError(
                        f"The tenant {other.name!r} has the value {tenant.value} already.",
                        path="value",
                    )
            tx.put_record(tenant)

    def set_tenant_active(self, name: str, is_active: bool) -> None:
        """Let the members of a tenant come, or not: then their log-ins end at once, and tokens that
        were made for it open nothing until they may."""
        with self._changing(MEMBERS_STAMP, GRANTS_STAMP) as tx:
            tenant = _known(tx, TenantRecord, "tenant", name=name)
            tx.put_record(msgspec.structs.replace(tenant, is_active=is_active))
            if not is_active:
                tx.drop_records(SessionRecord, tenant=name)

    def remove_tenant(self, name: str) -> None:
        """Remove a tenant with its memberships, permissions, filters, log-ins and tokens; rows
        stay."""
        with self._changing(MEMBERS_STAMP, GRANTS_STAMP) as tx:
            value = _known(tx, TenantRecord, "tenant", name=name).value
            end_tokens(tx, lambda principal: tenant_text(principal) == value)
            for kind in (SessionRecord, MemberRecord, PermissionRecord, FilterRecord):
                tx.drop_records(kind, tenant=name)
            tx.drop_records(TenantRecord, name=name)

    # --- Roles and members ------------------------------------------------------------------------

    def roles(self) -> Sequence[RoleRecord]:
        """All roles, by name."""
        return self._all(RoleRecord)

    def add_role(self, name: str, *, template: str = "custom") -> None:
        """Add a role, or give it another template: the one that `permit` takes by itself."""
        _check_name(name, "role")
        _template(template)
        with self._changing(MEMBERS_STAMP) as tx:
            self._add_role(tx, name, template)

    def add_groups(self) -> Sequence[str]:
        """Add the roles that most teams have, `core.grants.GROUPS`, where they are missing."""
        with self._changing(MEMBERS_STAMP) as tx:
            for name, template in GROUPS.items():
                if _one(tx, RoleRecord, name=name) is None:
                    self._add_role(tx, name, template)
        return list(GROUPS)

    def _add_role(self, tx: WriteTransaction, name: str, template: str) -> None:
        found = _one(tx, RoleRecord, name=name)
        created_ms = found.created_ms if found else self._clock.now_ms()
        tx.put_record(RoleRecord(name=name, template=template, created_ms=created_ms))

    def remove_role(self, name: str) -> None:
        """Remove a role with its memberships, permissions and filters."""
        with self._changing(MEMBERS_STAMP, GRANTS_STAMP) as tx:
            _known(tx, RoleRecord, "role", name=name)
            for kind in (MemberRecord, PermissionRecord, FilterRecord):
                tx.drop_records(kind, role=name)
            tx.drop_records(RoleRecord, name=name)

    def members(self, **where: str) -> Sequence[MemberRecord]:
        """Memberships, by user, tenant and role; of this `user_name`, `tenant` or `role`."""
        return self._all(MemberRecord, **where)

    def add_member(self, user: str, role: str, *, tenant: str = NO_TENANT) -> None:
        """Give a user a role in a tenant, or outside of any. Raises BadRequestError."""
        with self._changing(MEMBERS_STAMP) as tx:
            _known(tx, UserRecord, "user", name=user)
            _check_place(tx, role, tenant)
            tx.put_record(
                MemberRecord(
                    user_name=user, tenant=tenant, role=role, created_ms=self._clock.now_ms()
                )
            )

    def remove_member(self, user: str, *, role: str | None = None, tenant: str = NO_TENANT) -> int:
        """Take a role, or all of them, from a user in a tenant; how many. Raises BadRequestError
        for a user, role or tenant that there is not."""
        where: dict[str, Any] = {} if role is None else {"role": role}
        with self._changing(MEMBERS_STAMP) as tx:
            _known(tx, UserRecord, "user", name=user)
            if role is not None:
                _known(tx, RoleRecord, "role", name=role)
            if tenant != NO_TENANT:
                _known(tx, TenantRecord, "tenant", name=tenant)
            return tx.drop_records(MemberRecord, user_name=user, tenant=tenant, **where)

    # --- Permissions and filters ------------------------------------------------------------------

    def permissions(self, **where: str) -> Sequence[PermissionRecord]:
        """Permissions, by tenant, role and table; of this `tenant`, `role` or `table_name`."""
        return self._all(PermissionRecord, **where)

    def permit(
        self,
        role: str,
        table: str,
        permission: str | Flags | None = None,
        *,
        tenant: str = NO_TENANT,
    ) -> Flags:
        """Say what a role may do with a table in a tenant, instead of what was said before.

        permission    the name of a template, or flags; the role's own template, if nothing is said

        From the first permission for a table on, it is closed to everybody who has none. Raises
        BadRequestError, UnknownTableError.
        """
        with self._changing(GRANTS_STAMP) as tx:
            _check_place(tx, role, tenant)
            _check_table(tx, table)
            if permission is None:
                permission = _known(tx, RoleRecord, "role", name=role).template
            flags = _template(permission) if isinstance(permission, str) else permission
            tx.put_record(permission_record(tenant, role, table, flags))
        return flags

    def permit_all(
        self,
        cells: Sequence[tuple[str, str, str, Flags | None]],
        *,
        check: Callable[[Transaction], None] = lambda tx: None,
    ) -> None:
        """Say of many what `permit` says of one, as (role, table, tenant, flags), in one
        transaction; without flags, a permission is taken away and its filters wait for another.

        check    looks at what there is before it is changed, and may raise; then nothing was done

        Raises BadRequestError, UnknownTableError.
        """
        places: set[tuple[str, str]] = set()
        with self._changing(GRANTS_STAMP) as tx:
            check(tx)
            for role, table, tenant, flags in cells:
                if (role, tenant) not in places:
                    _check_place(tx, role, tenant)
                    places.add((role, tenant))
                _check_table(tx, table)
                if flags is None:
                    tx.drop_records(PermissionRecord, tenant=tenant, role=role, table_name=table)
                else:
                    tx.put_record(permission_record(tenant, role, table, flags))

    def forbid(self, role: str, table: str, *, tenant: str = NO_TENANT) -> int:
        """Take a role's permission for a table in a tenant away, with its filters; how many there
        were. A table for which nobody has one any more is what rules make of it: closed, if they
        do not name it, until `open_up`."""
        with self._changing(GRANTS_STAMP) as tx:
            tx.drop_records(FilterRecord, tenant=tenant, role=role, table_name=table)
            return tx.drop_records(PermissionRecord, tenant=tenant, role=role, table_name=table)

    def open_up(self) -> None:
        """Be a hub without permissions again, once the last one is taken away: where no table has
        rules, whoever has a token may do everything then. Raises BadRequestError while there are
        permissions."""
        with self._store.write() as tx:
            if tx.records(PermissionRecord):
                raise BadRequestError("There are permissions still: take them away first.")
            if tx.stamp(CLOSED_STAMP):
                now_ms = self._clock.now_ms()
                keep_acts(tx, [Act("hub.opened", "")], at_ms=now_ms, new_id=self._new_id())
            tx.keep_stamp(CLOSED_STAMP, "")
            tx.keep_stamp(GRANTS_STAMP, self._new_id())
        self._wake()

    def is_closed(self) -> bool:
        """Whether there are permissions, or were some: then nobody may do what neither they nor
        rules give."""
        with self._store.read() as tx:
            return bool(tx.stamp(CLOSED_STAMP)) or bool(tx.records(PermissionRecord))

    def filters(self, **where: str) -> Sequence[FilterRecord]:
        """Filters, by tenant, role, table and name; of this `tenant`, `role` or `table_name`."""
        return self._all(FilterRecord, **where)

    def add_filter(
        self,
        role: str,
        table: str,
        name: str,
        condition: Expression | Mapping[str, Any],
        *,
        tenant: str = NO_TENANT,
        is_active: bool = True,
        check: Callable[[Transaction], None] = lambda tx: None,
    ) -> None:
        """Say which rows a role's permission for a table is about, under a name; of several
        filters, all must hold. Rows that fail one are neither read nor written, nor can be made.

        condition    an expression over `row` and `user`, or its JSON
        check        looks at what there is before it is changed, and may raise

        Raises BadRequestError, UnknownTableError, LimitExceededError.
        """
        _check_name(name, "filter")
        with self._changing(GRANTS_STAMP) as tx:
            check(tx)
            _check_place(tx, role, tenant)
            text = _condition(tx, table, condition, path="condition")
            tx.put_record(
                FilterRecord(
                    tenant=tenant,
                    role=role,
                    table_name=table,
                    name=name,
                    condition=text,
                    is_active=is_active,
                )
            )

    def remove_filter(
        self,
        role: str,
        table: str,
        name: str,
        *,
        tenant: str = NO_TENANT,
        check: Callable[[Transaction], None] = lambda tx: None,
    ) -> int:
        """Take a filter away: more rows are read then. How many there were of this name. `check`
        looks at what there is before, and may raise."""
        with self._changing(GRANTS_STAMP) as tx:
            check(tx)
            return tx.drop_records(
                FilterRecord, tenant=tenant, role=role, table_name=table, name=name
            )

    # --- All of it as a document ------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """All of it but passwords and log-ins, as JSON that `import_document` takes."""
        with self._store.read() as tx:
            found: dict[str, Any] = msgspec.to_builtins(document_of(tx))
        return found

    def validate(self, document: object) -> Sequence[DirectoryProblem]:
        """What keeps a document from being imported, with where; nothing is changed."""
        parsed = parse_document(document)
        if isinstance(parsed, DirectoryProblem):
            return [parsed]
        with self._store.read() as tx:
            return problems_of(tx, parsed)

    def import_document(self, document: object) -> None:
        """Make tenants, roles, memberships, permissions and filters what a document says, in one
        transaction. Users that it names are added or changed; others lose their memberships, and
        tenants that it does not name their tokens. Passwords stay. Raises BadRequestError with the
        first of `validate`'s problems; then nothing was changed."""
        parsed = parse_document(document)
        with self._changing(MEMBERS_STAMP, GRANTS_STAMP) as tx:
            problems = [parsed] if isinstance(parsed, DirectoryProblem) else problems_of(tx, parsed)
            if problems or isinstance(parsed, DirectoryProblem):
                raise BadRequestError(
                    f"{problems[0].path}: {problems[0].text}", path=problems[0].path
                )
            keep_document(tx, parsed, now_ms=self._clock.now_ms())

    # --- Transactions -----------------------------------------------------------------------------

    def _all(self, kind: type[Record], **where: str) -> Sequence[Record]:
        with self._store.read() as tx:
            return tx.records(kind, **where)

    @contextmanager
    def _changing(self, *stamps: str) -> Iterator[WriteTransaction]:
        with self._store.write() as tx:
            is_closed = bool(tx.stamp(CLOSED_STAMP)) or bool(tx.records(PermissionRecord))
            noting, notes = noted(tx, now_ms=self._clock.now_ms, new_id=self._new_id)
            yield noting
            notes.settle()
            for stamp in stamps:
                tx.keep_stamp(stamp, self._new_id())
            if is_closed or tx.records(PermissionRecord):
                tx.keep_stamp(CLOSED_STAMP, "yes")
        self._wake()


def _one(tx: Transaction, kind: type[Record], **where: str) -> Record | None:
    found = tx.records(kind, **where)
    return found[0] if found else None


def _known(tx: Transaction, kind: type[Record], what: str, *, name: str) -> Record:
    found = _one(tx, kind, name=name)
    if found is None:
        raise BadRequestError(
            f"There is no {what} {name!r} here: `reunite {what} list` shows them.", path=what
        )
    return found


def _check_place(tx: Transaction, role: str, tenant: str) -> None:
    """Refuse a role or a tenant that is not there."""
    _known(tx, RoleRecord, "role", name=role)
    if tenant != NO_TENANT:
        _known(tx, TenantRecord, "tenant", name=tenant)


def _check_table(tx: Transaction, table: str) -> None:
    if table not in tx.schemas():
        raise UnknownTableError(
            f"This hub tracks no table {table!r}: permissions are for those that it tracks.",
            path="table",
        )


def _condition(
    tx: Transaction, table: str, condition: Expression | Mapping[str, Any], *, path: str
) -> str:
    """A filter's condition as text, checked against the table."""
    _check_table(tx, table)
    found = condition
    if not isinstance(found, Expression):
        found = from_json(found, path=path, knows_user=True)
    schemas = tx.schemas()
    checked = check_expression(found, schemas[table], path=path, knows_user=True, schemas=schemas)
    return _json(to_json(checked, knows_user=True))


def _template(name: str) -> Flags:
    try:
        return TEMPLATES[name]
    except KeyError:
        raise BadRequestError(
            f"There is no template {name!r}: there are {', '.join(TEMPLATES)}.", path="template"
        ) from None


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name or name != name.strip():
        raise BadRequestError(f"A {what} has a name, a text without spaces around it.", path=what)
    check_shown(name, "")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
