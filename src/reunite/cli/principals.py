"""Who is asked about: the options that describe a principal, as `token create` has them."""

from __future__ import annotations

from typing import Annotated

import typer

from reunite.cli.token import claims_of
from reunite.core.principal import Principal

UserOption = Annotated[
    str, typer.Option("--principal", metavar="USER", help="Who is asked about, user.id in rules.")
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="TEXT_OR_NUMBER",
        help="Its tenant, user.tenant in rules: north, 7 or '\"7\"'.",
    ),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", help="A role, one of user.roles in rules; may be given repeatedly."),
]
ClaimOption = Annotated[
    list[str] | None,
    typer.Option(
        "--claim",
        metavar="NAME=JSON",
        help="What rules call user.NAME: teams=[1,2] or is_new=true; may be given repeatedly.",
    ),
]


def principal_of(
    user: str, tenant: str | None, roles: list[str] | None, claims: list[str] | None
) -> Principal:
    """The principal that was typed."""
    own = None if tenant is None else claims_of([f"tenant={tenant}"])["tenant"]
    return Principal(
        user=user, tenant=own, roles=tuple(roles or ()), claims=claims_of(claims or ())
    )
