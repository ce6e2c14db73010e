"""Lenses: how the fields of one version of a table become those of another, in both directions.

    Rename(2, "name", "full_name")      from version 2 on, `name` is called `full_name`
    Remove(3, "fax")                    from version 3 on, there is no `fax`
    Add(4, "vip", default=False)        from version 4 on, there is `vip`

What it is       pure functions over the named values of a row, or of a part of one.
What it is not   a migration: nothing here knows a database.
The rule         forward and back again, a field that both versions have keeps its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from reunite.core.values import Value
from reunite.errors import BadRequestError

# What tables are before their first lens.
FIRST_VERSION = 1


class Rename(msgspec.Struct, frozen=True):
    """From `version` on, the field `old` is called `new`."""

    version: int
    old: str
    new: str


class Remove(msgspec.Struct, frozen=True):
    """From `version` on, there is no field `name`; `default` is what older versions read in it."""

    version: int
    name: str
    default: Value = None


class Add(msgspec.Struct, frozen=True):
    """From `version` on, there is a field `name`; rows of older versions have `default` in it."""

    version: int
    name: str
    default: Value = None


Lens: TypeAlias = Rename | Remove | Add


def check_lenses(lenses: Sequence[Lens], *, path: str) -> None:
    """Refuse lenses whose versions do not rise from FIRST_VERSION + 1; some may share one.

    Raises BadRequestError with the `path` of the first that is out of order.
    """
    last = FIRST_VERSION + 1
    for index, lens in enumerate(lenses):
        if lens.version < last:
            raise BadRequestError(
                f"A lens of version {lens.version} cannot come after version {last}, and the first "
                f"one is of version {FIRST_VERSION + 1}: give them in order.",
                path=f"{path}[{index}]",
            )
        last = lens.version


def forward(
    lenses: Sequence[Lens],
    fields: Mapping[str, Value],
    *,
    since: int | None = None,
    is_whole: bool = False,
) -> dict[str, Value]:
    """Fields of version `since` as the newest version has them.

    since        None if nobody knows it: then names decide, and one that a later version uses
                 again is taken for the later one
    is_whole     of a whole row: fields that were added get their defaults
    """
    result = dict(fields)
    for index, lens in enumerate(lenses):
        if since is not None and lens.version <= since:
            continue
        if since is None and _gone(lens) in _brought(lenses[index + 1 :]):
            continue
        match lens:
            case Rename(old=old, new=new):
                if old in result:
                    value = result.pop(old)
                    result.setdefault(new, value)
            case Remove(name=name):
                result.pop(name, None)
            case Add(name=name, default=default):
                if is_whole:
                    result.setdefault(name, default)
    return result


def backward(
    lenses: Sequence[Lens], fields: Mapping[str, Value], *, to: int, is_whole: bool = False
) -> dict[str, Value]:
    """Fields of the newest version as version `to` has them; the inverse of `forward`.

    is_whole     of a whole row: fields that were removed since get their defaults
    """
    result = dict(fields)
    for lens in reversed(lenses):
        if lens.version <= to:
            break
        match lens:
            case Rename(old=old, new=new):
                if new in result:
                    result[old] = result.pop(new)
            case Remove(name=name, default=default):
                if is_whole:
                    result.setdefault(name, default)
            case Add(name=name):
                result.pop(name, None)
    return result


def _gone(lens: Lens) -> str | None:
    match lens:
        case Rename(old=name) | Remove(name=name):
            return name
        case Add():
            return None


def _brought(lenses: Sequence[Lens]) -> set[str]:
    return {
        lens.new if isinstance(lens, Rename) else lens.name
        for lens in lenses
        if not isinstance(lens, Remove)
    }
