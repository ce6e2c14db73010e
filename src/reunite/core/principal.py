"""Principals: who is asking. Made from a token by the server, never from a request's body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from reunite.errors import BadRequestError, LimitExceededError

# Values in all claims of a principal, those in lists counted one by one.
CLAIM_VALUES_MAX = 5_000

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OWN_NAMES = frozenset({"id", "tenant", "roles"})


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: `user` owns the replicas that it registers.

    tenant    the compartment it belongs to, if there is one
    roles     what it may be asked for with `user.roles.contains("manager")`
    claims    what else rules may ask for: `user.teams` is the claim `teams`. A text, a number,
              true or false, or a list of them.
    """

    user: str
    tenant: str | int | None = None
    roles: tuple[str, ...] = ()
    claims: Mapping[str, Any] = _NOTHING

    def has(self, name: str) -> Any:
        """What a rule means by `user.name`: None if there is nothing under this name."""
        match name:
            case "id":
                return self.user
            case "tenant":
                return self.tenant
            case "roles":
                return list(self.roles)
            case _:
                return self.claims.get(name)


def principal_text(principal: Principal) -> str:
    """What a principal has beside its name, as text; "" for nothing."""
    found: dict[str, Any] = {}
    if principal.tenant is not None:
        found["tenant"] = principal.tenant
    if principal.roles:
        found["roles"] = principal.roles
    if principal.claims:
        found["claims"] = principal.claims
    if not found:
        return ""
    return msgspec.json.encode(found, enc_hook=_plain, order="sorted").decode()


def tenant_text(principal: Principal) -> str:
    """A principal's tenant as text, which tells 1 from "1"; "" for none."""
    if principal.tenant is None:
        return ""
    return msgspec.json.encode(principal.tenant, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    """What a host's own kind of mapping, text or number holds."""
    match value:
        case Mapping():
            return dict(value)
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case _:
            raise TypeError(f"a principal cannot hold a {type(value).__name__}")


def principal_of_text(user: str, text: str) -> Principal:
    """The principal of this name that has what `principal_text` wrote."""
    return Principal(user=user, **_decode(text)) if text else Principal(user=user)


def _decode(text: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(text)
    return {**found, "roles": tuple(found.get("roles", ()))}


def check_principal(principal: Principal) -> Principal:
    """The principal, if rules can be asked about it. Raises BadRequestError, LimitExceededError."""
    # Hosts make principals without our types being checked.
    given: Any = principal
    if not isinstance(given, Principal):
        raise BadRequestError(
            f"What is of type {type(given).__name__} is no Principal: write Principal(user=…)."
        )
    user, tenant, roles, claims = (getattr(principal, name) for name in principal.__struct_fields__)
    if not isinstance(user, str) or not user:
        raise BadRequestError("A principal has a name, a text.", path="user")
    if isinstance(tenant, bool) or not isinstance(tenant, str | int | None):
        raise BadRequestError("A tenant is a text or an integer.", path="tenant")
    if not isinstance(roles, list | tuple) or not all(isinstance(role, str) for role in roles):
        raise BadRequestError("Roles are a list of texts.", path="roles")
    if not isinstance(claims, Mapping):
        raise BadRequestError("Claims are values by name.", path="claims")
    total = len(principal.roles)
    for name, value in principal.claims.items():
        total += _check_claim(name, value)
    try:
        msgspec.json.encode(principal_text(principal) + principal.user)
    except UnicodeEncodeError:
        raise BadRequestError("A surrogate stands alone in what a principal has.") from None
    if total > CLAIM_VALUES_MAX:
        raise LimitExceededError(
            f"A principal's claims hold up to {CLAIM_VALUES_MAX} values; these are {total}.",
            limit="CLAIM_VALUES_MAX",
            path="claims",
        )
    return principal


def _check_claim(name: Any, value: Any) -> int:
    """How many values a claim has."""
    path = f"claims.{name}"
    if not isinstance(name, str) or name in _OWN_NAMES or not name:
        raise BadRequestError(f"{name!r} is no name for a claim: choose another one.", path=path)
    values = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, bool | int | float | str) for one in values):
        raise BadRequestError(
            "A claim is a text, a number, true or false, or a list of them.", path=path
        )
    if not all(math.isfinite(one) for one in values if isinstance(one, float)):
        raise BadRequestError("A claim's numbers are finite.", path=path)
    return len(values)
