"""Tenants, roles, users and their log-ins, and tokens: lists, and what changes them.

The rule         what the host of a hub keeps is the host's to change. Nobody takes the right to
                 change things here from themselves: another one does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from reunite.admission import hashed_token
from reunite.console.acts import note
from reunite.console.operations import READ, WRITE, Asked, Desk, Listed, operation
from reunite.console.paging import after_place, part_of
from reunite.console.permissions import active_members, own_directory
from reunite.console.problems import missing
from reunite.core.principal import Principal
from reunite.directory.noting import Act, acting_by
from reunite.engine.directory import (
    NO_TENANT,
    MemberRecord,
    RoleRecord,
    SessionRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import Transaction
from reunite.errors import BadRequestError

# How much of a token's hash tells it from others.
TOKEN_ID = 12


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is called so."""

    name: str


class Searched(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those with this in their name."""

    q: str = ""


# --- Tenants --------------------------------------------------------------------------------------


class TenantItem(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, how many active users are in it, and how many replicas are. `url`: where its host
    changes it."""

    name: str
    title: str
    value: str | int
    is_active: bool
    created_ms: int
    users: int
    replicas: int
    url: str | None = None


class TenantGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant; what is null stays as it is."""

    name: str
    title: str | None = None
    value: str | int | None = None
    is_active: bool | None = None


@operation("GET", "tenants", READ, "Tenants, by name")
def tenants(desk: Desk, given: Searched) -> Listed[TenantItem]:
    """The tenants that are meant."""
    with desk.reading() as tx:
        kept = people_kept(desk)
        return _listed(_tenants(tx) if kept is None else kept.tenants(tx), given)


def _tenants(tx: Transaction) -> list[TenantItem]:
    members: dict[str, set[str]] = {}
    for member in active_members(tx):
        members.setdefault(member.tenant, set()).add(member.user_name)
    replicas = Counter(record.tenant for record in tx.replicas())
    return [
        TenantItem(
            name=one.name,
            title=one.title,
            value=msgspec.json.decode(one.value),
            is_active=one.is_active,
            created_ms=one.created_ms,
            users=len(members.get(one.name, ())),
            replicas=replicas[one.value],
        )
        for one in tx.records(TenantRecord)
    ]


@operation("PUT", "tenants", WRITE, "Add a tenant, or change it")
def set_tenant(desk: Desk, given: TenantGiven) -> TenantItem:
    """Add a tenant, or change what is said of it."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.add_tenant(given.name, value=given.value, title=given.title)
        if given.is_active is not None:
            directory.set_tenant_active(given.name, given.is_active)
    with desk.reading() as tx:
        return next(one for one in _tenants(tx) if one.name == given.name)


@operation("DELETE", "tenants", WRITE, "Remove a tenant with what is about it; rows stay")
def remove_tenant(desk: Desk, given: Named) -> None:
    """Remove it."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.remove_tenant(given.name)


# --- Roles ----------------------------------------------------------------------------------------


class RoleItem(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and how many active users have it anywhere. `url`: where its host changes it."""

    name: str
    template: str
    created_ms: int
    users: int
    url: str | None = None


class RoleGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role, and the template that its permissions begin with."""

    name: str
    template: str = "custom"


@operation("GET", "roles", READ, "Roles, by name")
def roles(desk: Desk, given: Searched) -> Listed[RoleItem]:
    """The roles that are meant."""
    with desk.reading() as tx:
        kept = people_kept(desk)
        return _listed(_roles(tx) if kept is None else kept.roles(tx), given)


def _roles(tx: Transaction) -> list[RoleItem]:
    users: dict[str, set[str]] = {}
    for member in active_members(tx):
        users.setdefault(member.role, set()).add(member.user_name)
    return [
        RoleItem(
            name=one.name,
            template=one.template,
            created_ms=one.created_ms,
            users=len(users.get(one.name, ())),
        )
        for one in tx.records(RoleRecord)
    ]


@operation("PUT", "roles", WRITE, "Add a role, or give it another template")
def set_role(desk: Desk, given: RoleGiven) -> RoleItem:
    """Add a role, or change it."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.add_role(given.name, template=given.template)
    with desk.reading() as tx:
        return next(one for one in _roles(tx) if one.name == given.name)


class NoBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing."""


@operation("POST", "roles/groups", WRITE, "Add the roles that most teams have")
def add_groups(desk: Desk, given: NoBody) -> Listed[RoleItem]:
    """Add those that are missing; all roles then."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.add_groups()
    with desk.reading() as tx:
        return Listed(items=_roles(tx))


@operation("DELETE", "roles", WRITE, "Remove a role with its memberships and permissions")
def remove_role(desk: Desk, given: Named) -> None:
    """Remove it."""
    directory = own_directory(desk)
    _check_not_own(desk, role=given.name)
    with directory.by(desk.user):
        directory.remove_role(given.name)


# --- Users ----------------------------------------------------------------------------------------


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A role in a tenant; "" for outside of any."""

    tenant: str
    role: str


class UserItem(msgspec.Struct, frozen=True, kw_only=True):
    """A user, with what it has. `url`: where its host changes it."""

    name: str
    is_active: bool
    has_password: bool
    claims: dict[str, Any]
    created_ms: int
    roles: list[Held]
    log_ins: int
    replicas: int
    url: str | None = None


class UserGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user; what is null stays as it is. A new password ends its log-ins."""

    name: str
    password: str | None = None
    claims: dict[str, Any] | None = None
    is_active: bool | None = None


class MemberGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a user has a role."""

    user: str
    role: str
    tenant: str = NO_TENANT


@operation("GET", "users", READ, "Users, by name")
def users(desk: Desk, given: Searched) -> Listed[UserItem]:
    """The users that are meant."""
    with desk.reading() as tx:
        kept = people_kept(desk)
        if kept is None:
            return _listed(_users(tx), given)
        place = after_place(given.after)
        found = kept.users(tx, given.q, place, given.limit + 1)
        more = str(place + given.limit) if len(found) > given.limit else None
        return Listed(items=list(found[: given.limit]), next=more)


def _users(tx: Transaction) -> list[UserItem]:
    held: dict[str, list[Held]] = {}
    for member in tx.records(MemberRecord):
        if member.is_active:
            held.setdefault(member.user_name, []).append(
                Held(tenant=member.tenant, role=member.role)
            )
    log_ins = Counter(one.user_name for one in tx.records(SessionRecord))
    replicas = Counter(record.principal for record in tx.replicas())
    return [
        UserItem(
            name=one.name,
            is_active=one.is_active,
            has_password=bool(one.password),
            claims=msgspec.json.decode(one.claims),
            created_ms=one.created_ms,
            roles=held.get(one.name, []),
            log_ins=log_ins[one.name],
            replicas=replicas[one.name],
        )
        for one in tx.records(UserRecord)
    ]


@operation("PUT", "users", WRITE, "Add a user, or change it")
def set_user(desk: Desk, given: UserGiven) -> UserItem:
    """Add a user, or change what is said of it."""
    directory = own_directory(desk)
    if given.is_active is False and given.name == desk.user:
        raise BadRequestError("You cannot lock yourself out: another one can.", path="is_active")
    with directory.by(desk.user):
        directory.add_user(given.name, password=given.password, claims=given.claims)
        if given.is_active is not None:
            directory.set_user_active(given.name, given.is_active)
    return _user(desk, given.name)


@operation("DELETE", "users", WRITE, "Remove a user with its roles and log-ins; rows stay")
def remove_user(desk: Desk, given: Named) -> None:
    """Remove it."""
    directory = own_directory(desk)
    if given.name == desk.user:
        raise BadRequestError("You cannot remove yourself: another one can.", path="name")
    with directory.by(desk.user):
        directory.remove_user(given.name)


@operation("POST", "users/roles", WRITE, "Give a user a role in a tenant, or outside of any")
def add_member(desk: Desk, given: MemberGiven) -> UserItem:
    """Give it."""
    directory = own_directory(desk)
    with directory.by(desk.user):
        directory.add_member(given.user, given.role, tenant=given.tenant)
    return _user(desk, given.user)


@operation("DELETE", "users/roles", WRITE, "Take a role from a user")
def remove_member(desk: Desk, given: MemberGiven) -> None:
    """Take it."""
    directory = own_directory(desk)
    if given.user == desk.user and given.tenant == NO_TENANT:
        _check_not_own(desk, role=given.role)
    with directory.by(desk.user):
        if not directory.remove_member(given.user, role=given.role, tenant=given.tenant):
            raise missing("This user does not have this role there.")


def _user(desk: Desk, name: str) -> UserItem:
    with desk.reading() as tx:
        return next(one for one in _users(tx) if one.name == name)


def _check_not_own(desk: Desk, *, role: str) -> None:
    """Raise BadRequestError if the visitor would lose what lets them in."""
    if role == WRITE and desk.visitor.via == "password":
        raise BadRequestError(
            "You cannot take your own right to change things away: another one can.", path="role"
        )


class PeopleKept(Protocol):
    """Who there is, where the host of a hub keeps them: to be looked at here, and changed there."""

    def tenants(self, tx: Transaction) -> Sequence[TenantItem]:
        """All tenants, by name."""

    def roles(self, tx: Transaction) -> Sequence[RoleItem]:
        """All roles, by name."""

    def users(self, tx: Transaction, q: str, place: int, limit: int) -> Sequence[UserItem]:
        """Users with this in their name, so many of them from this place on, by name."""


def people_kept(desk: Desk) -> PeopleKept | None:
    """Where this hub's users are, if not in its own directory."""
    found: PeopleKept | None = getattr(desk.inside.directory, "people_kept", None)
    return found


def _listed(found: Sequence[Any], given: Searched) -> Listed[Any]:
    text = given.q.casefold()
    meant = [one for one in found if text in one.name.casefold()]
    part, following = part_of(meant, given.limit, after_place(given.after))
    return Listed(items=part, next=following)


# --- Tokens and log-ins ---------------------------------------------------------------------------


class TokenItem(msgspec.Struct, frozen=True, kw_only=True):
    """A token, by the beginning of its hash, and whose it is."""

    id: str
    label: str
    user: str
    tenant: str | int | None
    roles: tuple[str, ...]
    claims: dict[str, Any]
    created_ms: int


class TokenGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose token it is to be."""

    user: str
    tenant: str | int | None = None
    roles: tuple[str, ...] = ()
    claims: dict[str, Any] = {}
    label: str = ""


class TokenMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. It is shown only here."""

    token: str
    item: TokenItem


class Identified(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has this id."""

    id: str


class TokensAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens with this in their user's name or their label."""

    q: str = ""


class LogInsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose log-ins."""

    user: str | None = None


class LogInItem(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in of a device."""

    id: str
    user: str
    tenant: str
    device: str
    created_ms: int
    used_ms: int
    expires_ms: int


@operation("GET", "tokens", READ, "Tokens, the newest first")
def tokens(desk: Desk, given: TokensAsked) -> Listed[TokenItem]:
    """The tokens that are meant."""
    text = given.q.casefold()
    found = [
        one
        for one in sorted(_tokens(desk), key=lambda one: (-one.created_ms, one.id))
        if text in one.user.casefold() or text in one.label.casefold()
    ]
    part, following = part_of(found, given.limit, after_place(given.after))
    return Listed(items=part, next=following)


def _tokens(desk: Desk) -> list[TokenItem]:
    return [
        TokenItem(
            id=hashed[:TOKEN_ID],
            label=label,
            user=principal.user,
            tenant=principal.tenant,
            roles=tuple(principal.roles),
            claims=dict(principal.claims),
            created_ms=created_ms,
        )
        for hashed, principal, label, created_ms in desk.hub.tokens()
    ]


@operation("POST", "tokens", WRITE, "Make a token")
def make_token(desk: Desk, given: TokenGiven) -> TokenMade:
    """Make one."""
    principal = Principal(
        user=given.user, tenant=given.tenant, roles=given.roles, claims=given.claims
    )
    with acting_by(desk.user):
        token = desk.hub.create_token(principal, label=given.label)
    made_id = hashed_token(token)[:TOKEN_ID]
    made = next((one for one in _tokens(desk) if one.id == made_id), None)
    if made is None:
        raise missing("Somebody took the token back in the moment in which it was made.")
    return TokenMade(token=token, item=made)


@operation("DELETE", "tokens", WRITE, "Take a token back: what it opened ends")
def revoke_token(desk: Desk, given: Identified) -> None:
    """Take it back."""
    if len(given.id) != TOKEN_ID or not any(one.id == given.id for one in _tokens(desk)):
        raise missing("There is no token of this id.")
    with acting_by(desk.user):
        desk.hub.revoke_token(given.id)


@operation("GET", "log-ins", READ, "Log-ins of devices, the last used first")
def log_ins(desk: Desk, given: LogInsAsked) -> Listed[LogInItem]:
    """The log-ins that are meant."""
    found = [
        LogInItem(
            id=one.id,
            user=one.user_name,
            tenant=one.tenant,
            device=one.device,
            created_ms=one.created_ms,
            used_ms=one.used_ms,
            expires_ms=one.expires_ms,
        )
        for one in desk.hub.log_ins()
        if given.user in (None, one.user_name)
    ]
    found.sort(key=lambda one: (-one.used_ms, one.id))
    part, following = part_of(found, given.limit, after_place(given.after))
    return Listed(items=part, next=following)


@operation("DELETE", "log-ins", WRITE, "End a log-in")
def end_log_in(desk: Desk, given: Identified) -> None:
    """End it."""
    found = next((one for one in desk.hub.log_ins() if one.id == given.id), None)
    if found is None:
        raise missing("There is no log-in of this id.")
    with acting_by(desk.user):
        desk.hub.revoke_token(given.id)
    note(desk, Act("log-in.ended", found.user_name))
