"""Grants: what stored permissions give one principal, as the same rules as those in code.

    role ──► flags (push, pull, create, update, delete, read) and filters, for each table
    a principal's roles ──► one `Rules` a table: what any of its roles gives

What it is       values: flags, the templates that have names, and how they become rules.
The rule         a table for which somebody has a permission is closed to all who have none, and
                 stays so when the last one is taken away. Code's rules hold as well: what is
                 stored can give no more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from reunite.core.expression import And, Expression, Or
from reunite.core.rules import NEVER, Rule, Rules

FLAGS = ("push", "pull", "create", "update", "delete", "read")


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do with a table: nothing, unless it is said.

    pull and read      both, to see its rows
    push               to send changes at all, and each of `create`, `update` and `delete` for those
    """

    push: bool = False
    pull: bool = False
    create: bool = False
    update: bool = False
    delete: bool = False
    read: bool = False


_READ_ONLY = Flags(pull=True, read=True)
_READ_WRITE = Flags(push=True, pull=True, create=True, update=True, read=True)
_FULL = Flags(push=True, pull=True, create=True, update=True, delete=True, read=True)

TEMPLATES: Mapping[str, Flags] = MappingProxyType(
    {
        "full_access": _FULL,
        "read_write": _READ_WRITE,
        "read_only": _READ_ONLY,
        "write_only": Flags(push=True, create=True, update=True),
        "custom": Flags(),
    }
)

# Roles that most teams have, with the template of each.
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "Administrators": "full_access",
        "Managers": "read_write",
        "Users": "read_write",
        "Sales": "read_write",
        "Support": "read_write",
        "Analysts": "read_only",
        "Read Only": "read_only",
    }
)


# What stored permissions say of one principal: for each table for which anybody has one, what it
# may do there, which may be nothing.
Grants: TypeAlias = Mapping[str, Rules]

NO_GRANTS: Grants = MappingProxyType({})

# Where there were permissions once and are none now: of no table, so that all are closed.
NOTHING_GRANTED: Grants = MappingProxyType({"": Rules()})


def granted(roles: Iterable[tuple[Flags, Sequence[Expression]]]) -> Rules:
    """What these roles may do with a table together; each with the filters that all of the rows
    must pass which it reads or writes, as they were and as they are to be."""
    parts = [
        (flags, filters[0] if len(filters) == 1 else And(tuple(filters)) if filters else True)
        for flags, filters in roles
    ]
    return Rules(
        read=_any(rows for flags, rows in parts if flags.pull and flags.read),
        insert=_any(rows for flags, rows in parts if flags.push and flags.create),
        update=_any(rows for flags, rows in parts if flags.push and flags.update),
        delete=_any(rows for flags, rows in parts if flags.push and flags.delete),
    )


def _any(parts: Iterable[Rule]) -> Rule:
    """The rows that any of these means."""
    rules = tuple(dict.fromkeys(parts))
    if not rules or True in rules:
        return bool(rules)
    expressions = [NEVER if isinstance(rule, bool) else rule for rule in rules]
    return expressions[0] if len(expressions) == 1 else Or(tuple(expressions))
