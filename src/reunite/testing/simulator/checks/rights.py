"""Nobody is told, or keeps, what is not theirs to see; nothing forbidden takes effect (I6, I7, I8).

Every text that anybody writes is a canary, which stands nowhere else: it belongs to one row, one
column, and by that to one tenant. Who may see which is decided here, naively, from the hub's rows:

    each page     its rows have only canaries that their principal may see at this moment
    each answer   has only those that the principal could see once, or wrote
    each file     after a sync: in no byte of it or of its log anything that a hidden row holds or
                  has held since it was made, but what the user wrote
    the hub       after a push: each row that changed might be written by who sent it
    erasures      what was erased at the hub is in no byte of its file afterwards, and of those of
                  replicas after their next sync, whatever was undone or pushed late

What it is not   a judge of merging or of order: `push.py` and `replica.py` are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from reunite.core.principal import Principal
from reunite.protocol.codec import decode
from reunite.protocol.pack import decode_page, is_packed
from reunite.protocol.pull import Page
from reunite.protocol.push import PushRequest
from reunite.testing.simulator.book import InvariantBroken
from reunite.testing.simulator.rights_tables import (
    COLUMNS,
    PARENTS,
    RULED,
    USERS,
    Kind,
    Named,
)
from reunite.testing.wire import Request

_CANARY = re.compile(rb"CANARY\d+;")

# A row, and one of its columns.
_Place = tuple[str, str, str]


def is_canary(value: object) -> bool:
    """Whether a value is one of the texts that stand nowhere else."""
    return isinstance(value, str) and value.startswith("CANARY")


@dataclass(kw_only=True)
class RightsCheck:
    """What everybody may see, could see once, and wrote. `fetch` reads all rows of a table."""

    fetch: Callable[[str], list[tuple[Any, ...]]]
    principals: dict[str, Principal] = field(default_factory=dict)
    read: dict[str, Kind] = field(default_factory=dict)
    write: dict[str, Kind] = field(default_factory=dict)
    read_columns: dict[tuple[str, str], Callable[[Principal], bool]] = field(default_factory=dict)
    write_columns: dict[tuple[str, str], Kind] = field(default_factory=dict)
    once: dict[str, set[bytes]] = field(default_factory=lambda: {name: set() for name in USERS})
    own: dict[str, set[bytes]] = field(default_factory=lambda: {name: set() for name in USERS})
    erased: set[bytes] = field(default_factory=set)
    _before: dict[str, list[Named]] = field(default_factory=dict)
    _places: dict[bytes, set[_Place]] = field(default_factory=dict)
    _there: set[tuple[str, str]] = field(default_factory=set)
    _free: set[bytes] = field(default_factory=set)

    # -- what happens -------------------------------------------------------------------------

    def note(self, table: str, key: str, values: Named) -> None:
        """Somebody is about to write these values into a row."""
        for name, value in values.items():
            if is_canary(value):
                self._places.setdefault(value.encode(), set()).add((table, key, name))

    def wrote(self, name: str, values: Named) -> None:
        """A user has written them on a device."""
        written = {value.encode() for value in values.values() if is_canary(value)}
        self.own[name] |= written
        self.once[name] |= written

    def erase(self, gone: set[tuple[str, str]]) -> None:
        """Rows were erased. What a user wrote may stay in records on that user's device."""
        self.erased |= {
            canary
            for canary, places in self._places.items()
            if {place[:2] for place in places} <= gone
            and not any(canary in own for own in self.own.values())
        }

    def look(self) -> None:
        """Note which rows are gone. What they held is nobody's secret from then on, also if an undo
        makes the row again where somebody does not see it."""
        now = {(table, named["id"]) for table in COLUMNS for named in self.rows(table)}
        gone = self._there - now
        if gone:
            self._free |= {
                canary
                for canary, places in self._places.items()
                if any(place[:2] in gone for place in places)
            }
        self._there = now

    # -- who may see what ---------------------------------------------------------------------

    def rows(self, table: str) -> list[Named]:
        """The hub's rows, with those that they point to."""
        columns = COLUMNS[table]
        rows = [dict(zip(columns, values, strict=True)) for values in self.fetch(table)]
        for parent in PARENTS:
            if (pointer := f"{parent}_id") in columns:
                parents = {named["id"]: named for named in self.rows(parent)}
                nothing: Named = dict.fromkeys(COLUMNS[parent]) | {"project": {"team": None}}
                for named in rows:
                    named[parent] = parents.get(named[pointer], nothing)
        return list(rows)

    def seen(self, name: str) -> set[bytes]:
        """The canaries that this user may see now."""
        principal = self.principals[name]
        return {
            value.encode()
            for table in COLUMNS
            for named in self.rows(table)
            if self._may_see(principal, table, named)
            for column, value in named.items()
            if is_canary(value) and self._may_read(principal, table, column)
        }

    def _may_see(self, principal: Principal, table: str, named: Named) -> bool:
        is_own = _is_in_tenant(principal, table, named)
        return is_own and self.read[table][1](named, principal)

    def _may_read(self, principal: Principal, table: str, column: str) -> bool:
        may = self.read_columns.get((table, column))
        return may is None or may(principal)

    def _may_write(self, principal: Principal, table: str, named: Named) -> bool:
        is_own = _is_in_tenant(principal, table, named)
        return is_own and self.write[table][1](named, principal)

    # -- requests -----------------------------------------------------------------------------

    def arriving(self, request: Request) -> None:
        """The hub is about to see a request."""
        self.look()
        self.once[request.token] |= self.seen(request.token)
        self._before = {table: self.rows(table) for table in COLUMNS}

    def answered(self, request: Request, answer: bytes) -> None:
        """The hub has answered, in these bytes."""
        name = request.token
        times: Counter[tuple[str, Any]] = Counter()
        if request.operation == "push":
            for group in decode(request.body, PushRequest).groups:
                for run in group.runs:
                    place = run.columns.index("id") if run.set and not run.keys else 0
                    times.update((run.table, key[place]) for key in run.keys or run.set)
        self._check_writes(self.principals[name], times)
        self.look()
        now = self.seen(name)
        self.once[name] |= now
        told = set(_CANARY.findall(answer))
        _hold("I6", told <= self.once[name], f"{name} was told {told - self.once[name]}")
        if request.operation in {"pull", "repair"}:
            if is_packed(answer):
                pages = decode_page(answer, Page).pack
            else:
                message = msgspec.json.decode(answer)
                pages = msgspec.json.encode(message.get("tables", message.get("page")))
            shown = set(_CANARY.findall(pages))
            _hold("I6", shown <= now, f"a page for {name} has {shown - now}")

    def _check_writes(self, principal: Principal, times: Mapping[tuple[str, Any], int]) -> None:
        """Every row that is another one since the request arrived might be written by who sent
        it, as it was and as it is. Not looked at are rows that went with one that they point to,
        or came from one that is gone, and those of which such a one changed at the same time: who
        knows what came first. Nor are columns of a row that was changed several `times`: who may
        write one may give the row away after that."""
        before: Mapping[str, Mapping[str, Named]] = {
            table: {named["id"]: named for named in rows} for table, rows in self._before.items()
        }
        changed: dict[tuple[str, str], list[Named]] = {}
        gone: set[str] = set()
        for table, columns in COLUMNS.items():
            was, now = before[table], {named["id"]: named for named in self.rows(table)}
            if was.keys() - now.keys():
                gone.add(table)
            for key in was.keys() | now.keys():
                both = [named for named in (was.get(key), now.get(key)) if named is not None]
                if len({tuple(named[name] for name in columns) for named in both}) + len(both) != 3:
                    changed[table, key] = both
        for (table, key), both in changed.items():
            above = {(name, n[f"{name}_id"]) for n in both for name in PARENTS if f"{name}_id" in n}
            above |= {("project", n["task"]["project_id"]) for n in both if "task" in n}
            if any(place in changed or (place[1] is None and place[0] in gone) for place in above):
                continue
            was_there = key in before[table]
            told = f"{principal} wrote {table} {both}"
            may = all(self._may_write(principal, table, named) for named in both)
            _hold("I7", may, told)
            if not (was_there and len(both) == 1) and times.get((table, key), 0) < 2:
                self._check_columns(principal, table, both)
            if was_there:
                _hold("I7", self._may_see(principal, table, both[0]), told)

    def _check_columns(self, principal: Principal, table: str, both: list[Named]) -> None:
        """Columns that are other ones, and those of new rows: NULL is their default."""
        for name in RULED.get(table, ()):
            was = both[0][name] if len(both) == 2 else None
            if (table, name) in self.write_columns and both[-1][name] != was:
                _, may = self.write_columns[table, name]
                is_allowed = all(may(named, principal) for named in both)
                is_allowed = is_allowed and self._may_read(principal, table, name)
                _hold("I7", is_allowed, f"{principal} wrote {name} of {both}")

    # -- files --------------------------------------------------------------------------------

    def check_file(self, name: str, path: Path) -> None:
        """A replica with nothing pending has synced, and nothing was lost on the way."""
        found = held_by(path)
        erased = found & self.erased
        _hold("I6", not erased, f"{name} keeps what was erased: {erased}")
        now = self.seen(name)
        _hold("I4", now <= found, f"{name} misses {now - found}")
        principal = self.principals[name]
        gone = self._hidden_from(principal)
        hidden = {
            canary
            for canary in found - now - self._free
            if any(
                place[:2] in gone or not self._may_read(principal, *place[::2])
                for place in self._places[canary]
            )
        }
        _hold("I6", hidden <= self.own[name], f"{name} keeps {hidden - self.own[name]}")

    def check_erased(self, path: Path) -> None:
        """The hub's file has nothing of what was erased."""
        erased = held_by(path) & self.erased
        _hold("I6", not erased, f"the hub keeps what was erased: {erased}")

    def _hidden_from(self, principal: Principal) -> set[tuple[str, str]]:
        return {
            (table, named["id"])
            for table in COLUMNS
            for named in self.rows(table)
            if not self._may_see(principal, table, named)
        }


def held_by(path: Path) -> set[bytes]:
    """The canaries in all bytes of a file and its log."""
    files = [path, path.with_name(path.name + "-wal")]
    held = b"".join(file.read_bytes() for file in files if file.exists())
    return set(_CANARY.findall(held))


def _is_in_tenant(principal: Principal, table: str, named: Named) -> bool:
    owner = named["task"] if table == "memo" else named
    return bool(owner["org"] == principal.tenant)


def _hold(invariant: str, holds: bool, told: str) -> None:
    if not holds:
        raise InvariantBroken(invariant, told)
