"""Roles and tenants, as several commands name them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from reunite.cli.screen import emit, say

RoleOption = Annotated[str, typer.Option("--role", help="The role.")]
TenantOption = Annotated[
    str, typer.Option("--tenant", help="The tenant's name; outside of any by default.")
]


def place(tenant: str) -> str:
    """A tenant in a sentence."""
    return f"in {tenant}" if tenant else "outside of any tenant"


def tell(as_json: bool, sentence: str, **fields: Any) -> None:
    """Say what was done: to programs its fields, to people a sentence."""
    if as_json:
        emit(fields)
    else:
        say(sentence)
