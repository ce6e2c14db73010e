"""`reunite preview`: what other rules would change for somebody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reunite.cli.opening import open_hub
from reunite.cli.options import DatabaseArgument, JsonOption
from reunite.cli.principals import (
    ClaimOption,
    RoleOption,
    TenantOption,
    UserOption,
    principal_of,
)
from reunite.cli.screen import emit, show_table
from reunite.core.rules import Rules, rules_of_json
from reunite.engine.preview import TablePreview
from reunite.errors import BadRequestError


def preview(
    database: DatabaseArgument,
    rules: Annotated[
        Path,
        typer.Argument(
            metavar="RULES", help='A JSON file: {"task": {"read": …, "tenant": …}, "note": null}.'
        ),
    ],
    user: UserOption,
    tenant: TenantOption = None,
    role: RoleOption = None,
    claim: ClaimOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many rows of each table, and which columns, would appear and vanish for somebody, if
    tables had the rules of a file; those that it does not name keep theirs, and null takes them
    off. Nothing is changed. Without --role and --claim, somebody is whom the directory has under
    this name.
    """
    who = principal_of(user, tenant, role, claim)
    wanted = _rules_in(rules)
    with open_hub(database) as hub:
        found = hub.preview(who, wanted)
    if as_json:
        for table in found:
            emit(table)
        return
    show_table(
        ("table", "now", "then", "appear", "vanish", "columns"),
        [
            (
                each.table,
                *(f"{n:,}" for n in (each.now, each.then, each.appear, each.vanish)),
                ", ".join(_columns(each)),
            )
            for each in found
        ],
    )


def _columns(table: TablePreview) -> Iterator[str]:
    yield from (f"+{name}" for name in table.columns_appear)
    yield from (f"-{name}" for name in table.columns_vanish)


def _rules_in(file: Path) -> dict[str, Rules | None]:
    try:
        found = msgspec.json.decode(file.read_bytes())
    except OSError as exc:
        raise BadRequestError(f"The rules cannot be read from {file}: {exc.strerror}.") from exc
    except msgspec.DecodeError as exc:
        raise BadRequestError(f"{file} is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise BadRequestError(f"{file} is no JSON object of rules by table.")
    return {
        name: None if value is None else rules_of_json(value, path=name)
        for name, value in found.items()
    }
