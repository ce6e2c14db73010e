"""Operations of the console's API: what each is called, takes, gives and needs, in one table.

    @operation("GET", "replicas", READ, "…")
    def replicas(desk: Desk, given: ReplicasAsked) -> Replicas: …

The routes, the description in openapi.json and the tests of rights are made of this table.

What it is       declarations, and the desk that an operation is given beside what was sent.
The rule         an operation is a plain function that blocks; it never sees HTTP. What it changes,
                 it changes in the name of `desk.visitor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from reunite.console.visitors import READ, WRITE, Visitor
from reunite.engine.ports import Transaction
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError
from reunite.hub import Hub
from reunite.workings import Workings

# Items of one answer, if nothing is said, and at most.
ITEMS, ITEMS_MAX = 50, 200

Item = TypeVar("Item")
Function = TypeVar("Function", bound=Callable[..., Any])


class Listed(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A part of a list, and where the next one begins."""

    items: list[Item]
    next: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every list is asked for."""

    after: str | None = None
    limit: int = ITEMS

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= ITEMS_MAX:
            raise BadRequestError(f"A part of a list has 1 to {ITEMS_MAX} items.", path="limit")


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with a tag, by which a client that has it is told so."""

    value: Any
    tag: str


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is written while it is made."""

    name: str
    media_type: str
    lines: Iterator[str]


class Desk:
    """A hub, and who sits before it. One for each request."""

    def __init__(self, hub: Hub, visitor: Visitor, *, if_match: str | None, base: str) -> None:
        self.hub = hub
        self.visitor = visitor
        self.if_match = if_match
        self.base = base
        self.inside: Workings = hub.workings

    def reading(self) -> AbstractContextManager[Transaction]:
        """A snapshot of the hub's database."""
        return self.inside.store.read()

    def tables(self, tx: Transaction) -> Tables:
        """The tables as they are in it."""
        return self.inside.tables.at(tx)

    @property
    def now_ms(self) -> int:
        """What time it is at the hub."""
        return self.inside.clock.now_ms()

    @property
    def user(self) -> str:
        """In whose name things are done."""
        return self.visitor.user


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `given` is what a GET says in its URL, and else a body."""

    name: str
    method: str
    path: str
    right: str
    summary: str
    given: type[msgspec.Struct]
    answer: Any
    run: Callable[[Desk, Any], Any]
    in_query: bool
    in_path: tuple[str, ...]

    def read(self, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Any:
        """What was sent, as the operation takes it. Raises BadRequestError."""
        found = self._read(path, query, body)
        for name in found.__struct_fields__:
            value = getattr(found, name)
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise BadRequestError(f"`{name}` is larger than numbers can be.", path=name)
        return found

    def _read(self, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Any:
        try:
            if self.in_query:
                return msgspec.convert({**query, **path}, self.given, strict=False)
            found = msgspec.json.decode(body or b"{}", type=dict[str, Any])
            kinds = {field.name: field.type for field in msgspec.structs.fields(self.given)}
            for name, text in path.items():
                found[name] = msgspec.convert(text, kinds[name], strict=False)
            return msgspec.convert(found, self.given)
        except (msgspec.DecodeError, RecursionError) as exc:
            text, _, place = str(exc).partition(" - at ")
            raise BadRequestError(
                f"The request is not as it should be: {text}.",
                path=place.strip("`").removeprefix("$.") or None,
            ) from exc


OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(
    method: str, path: str, right: str, summary: str, *, in_query: bool | None = None
) -> Callable[[Function], Function]:
    """Declare an operation: at this path, for who has this right."""

    def add(function: Function) -> Function:
        hints = get_type_hints(function)
        answer = hints.pop("return")
        _, given = hints.values()
        OPERATIONS[method, path] = Operation(
            name=function.__name__,
            method=method,
            path=path,
            right=right,
            summary=summary,
            given=given,
            answer=answer,
            run=function,
            in_query=method in ("GET", "DELETE") if in_query is None else in_query,
            in_path=tuple(
                part.strip("{}").partition(":")[0] for part in path.split("/") if part[0] == "{"
            ),
        )
        return function

    return add


__all__ = [
    "ITEMS",
    "OPERATIONS",
    "READ",
    "WRITE",
    "Asked",
    "Desk",
    "Download",
    "Listed",
    "Nothing",
    "Operation",
    "Tagged",
    "operation",
]
