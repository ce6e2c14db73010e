"""`reunite explain`: may somebody see a row, and what decides it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.places import place
from reunite.cli.principals import (
    ClaimOption,
    RoleOption,
    TenantOption,
    UserOption,
    principal_of,
)
from reunite.cli.screen import emit, readable, say, show_table
from reunite.cli.typed import key_of
from reunite.engine.explain import Decision, Explanation

_BECAUSE = {
    "no-rules": "this hub has no rules: who has a token may do everything",
    "closed": "other tables have rules and this one has none",
    "no-row": "there is no such row",
    "tenant": "the row is another tenant's",
    "everybody": "the rule lets everybody",
    "nobody": "the rule lets nobody",
    "rule": "the rule decides",
    "permission": "what is stored for its roles decides",
    "policy": "code of the hub's program decides",
    "inactive": "the user or the tenant is not active in the directory",
    "hidden": "who does not see a row cannot change it",
}


def explain(
    database: DatabaseArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table.")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="""The row's key, a JSON array: '["AA"]'.""")
    ],
    user: UserOption,
    tenant: TenantOption = None,
    role: RoleOption = None,
    claim: ClaimOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether somebody sees a row and may change it, and which rule, tenant or claim decides.

    Without --role and --claim, it is about what the directory says of such a user, if it has one.
    It tells of rows that they are not to know of: it is for whoever runs the hub.
    """
    who = principal_of(user, tenant, role, claim)
    wanted = key_of(key)
    with open_hub(database) as hub:
        found = hub.explain(who, table, wanted)
    if as_json:
        emit({**msgspec.to_builtins(found), "is_visible": found.is_visible})
        return
    sees = "sees" if found.is_visible else "does not see"
    say(f"{user}{_known(found, role)} {sees} the row {key} of {table}.")
    for names, what in ((found.hidden, "does not get"), (found.read_only, "may not write")):
        if names and found.is_visible:
            say(f"{user} {what} {'its column' if len(names) == 1 else 'its columns'} "
                f"{', '.join(names)}.")  # fmt: skip
    show_table(
        ("may", "", "because", "part", "holds", "row", "user"),
        [
            cells
            for decision in (found.read, found.insert, found.update, found.delete)
            for cells in _cells(decision)
        ],
    )


def _known(found: Explanation, roles: list[str] | None) -> str:
    """What the directory said of somebody who was only named."""
    if roles or not found.roles:
        return ""
    return f", {' and '.join(found.roles)} {place(str(found.tenant or ''))},"


def _cells(decision: Decision) -> list[tuple[str, ...]]:
    head = (
        decision.operation,
        "yes" if decision.is_allowed else "no",
        _BECAUSE[decision.because],
    )
    parts = [
        (
            reason.text,
            "yes" if reason.holds else "no",
            readable(reason.row) if "row." in reason.text else "",
            "" if "user." not in reason.text else readable(reason.user),
        )
        for reason in decision.reasons
    ] or [("", "", "", "")]
    return [(*(head if index == 0 else ("",) * 3), *part) for index, part in enumerate(parts)]
