"""What becomes of rights, users and tokens is noted where it is done: in the same transaction.

    with directory.by("ann"):
        directory.permit("Managers", "invoice")      ──► an ActRecord that names ann

What it is       a transaction that notes what is put and dropped through it, and in whose name.
The rule         no password, no token and no hash of one is ever noted; that there is another one
                 is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import msgspec

from reunite.engine.directory import (
    RECORD_KINDS,
    FilterRecord,
    MemberRecord,
    PermissionRecord,
    RoleRecord,
    TenantRecord,
    UserRecord,
    row_of,
)
from reunite.engine.ports import WriteTransaction
from reunite.engine.remembered import ActRecord, moment_id

# In whose name things are done in this thread or task; "" for nobody's.
_actor: ContextVar[str] = ContextVar("reunite_actor", default="")

_NAMES: Mapping[type[msgspec.Struct], str] = {
    UserRecord: "user",
    TenantRecord: "tenant",
    RoleRecord: "role",
    MemberRecord: "member",
    PermissionRecord: "permission",
    FilterRecord: "filter",
}


@contextmanager
def acting_by(actor: str) -> Iterator[None]:
    """What is changed in the block is changed in this name."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


class Act(NamedTuple):
    """What was done: `permission.changed`, about what, from what to what; None for nothing before,
    or after."""

    what: str
    about: str
    former: object = None
    now: object = None


# A table is tracked from now on, or no more.
TRACKED, UNTRACKED = "table.tracked", "table.untracked"

# Digits of an act's id that are its time, and of its place among those of one time.
_TIME, _PLACE = 12, 6


def keep_acts(tx: WriteTransaction, acts: Iterable[Act], *, at_ms: int, new_id: str) -> None:
    """Keep what was done, in the name of the block around it, after all that was done before."""
    newest = tx.latest(ActRecord, limit=1)
    place = 0
    if newest and newest[0].id[:_TIME] >= moment_id(at_ms):
        # The same moment, or a clock that was set back.
        at_ms = int(newest[0].id[:_TIME], 16)
        place = int(newest[0].id[_TIME : _TIME + _PLACE], 16) + 1
    tx.put_records(
        ActRecord(
            id=moment_id(at_ms, f"{number:0{_PLACE}x}", new_id),
            at_ms=at_ms,
            actor=_actor.get(),
            what=one.what,
            about=one.about,
            former="" if one.former is None else msgspec.json.encode(one.former).decode(),
            now="" if one.now is None else msgspec.json.encode(one.now).decode(),
        )
        for number, one in enumerate(acts, place)
    )


class Noted:
    """A write transaction that keeps an ActRecord of each record it changes."""

    def __init__(
        self, tx: WriteTransaction, *, now_ms: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._tx = tx
        self._now_ms, self._new_id = now_ms, new_id
        self._former: dict[tuple[type[msgspec.Struct], tuple[Any, ...]], msgspec.Struct | None] = {}
        self._now: dict[tuple[type[msgspec.Struct], tuple[Any, ...]], msgspec.Struct | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def put_record(self, record: msgspec.Struct) -> None:
        """As the transaction does it."""
        kind = type(record)
        if kind in _NAMES:
            of = RECORD_KINDS[kind]
            key = row_of(record)[: of.key]
            found = self._tx.records(kind, **dict(zip(of.columns, key, strict=False)))
            self._note(kind, key, found[0] if found else None, record)
        self._tx.put_record(record)

    def drop_records(self, kind: type[msgspec.Struct], **where: Any) -> int:
        """As the transaction does it."""
        if kind in _NAMES:
            for record in self._tx.records(kind, **where):
                self._note(kind, row_of(record)[: RECORD_KINDS[kind].key], record, None)
        return self._tx.drop_records(kind, **where)

    def _note(
        self,
        kind: type[msgspec.Struct],
        key: tuple[Any, ...],
        former: msgspec.Struct | None,
        now: msgspec.Struct | None,
    ) -> None:
        self._former.setdefault((kind, key), former)
        self._now[kind, key] = now

    def settle(self) -> None:
        """Keep what was noted: of each record what it was first and what it is at the end."""
        acts = []
        for (kind, key), now in self._now.items():
            former = self._former[kind, key]
            if former == now:
                continue
            ending = "removed" if now is None else "added" if former is None else "changed"
            acts.append(
                Act(
                    f"{_NAMES[kind]}.{ending}",
                    " · ".join(str(part) for part in key if part != ""),
                    _told(former),
                    _told(now, former),
                )
            )
        if acts:
            keep_acts(self._tx, acts, at_ms=self._now_ms(), new_id=self._new_id())


def noted(
    tx: WriteTransaction, *, now_ms: Callable[[], int], new_id: Callable[[], str]
) -> tuple[WriteTransaction, Noted]:
    """The transaction, so that what it changes is noted; and what keeps that at its end."""
    found = Noted(tx, now_ms=now_ms, new_id=new_id)
    return cast(WriteTransaction, found), found


def _told(
    record: msgspec.Struct | None, former: msgspec.Struct | None = None
) -> dict[str, Any] | None:
    """A record as it may be told; of a password, whether it was another one before."""
    if record is None:
        return None
    told = {
        name: value
        for name, value in msgspec.structs.asdict(record).items()
        if name not in ("password", "created_ms")
    }
    if isinstance(record, UserRecord):
        was = _password(former)
        is_other = was not in ("", record.password)
        told["password"] = "none" if not record.password else "changed" if is_other else "set"
    return told


def _password(record: msgspec.Struct | None) -> str:
    return record.password if isinstance(record, UserRecord) else ""
