"""Acts: what administrators did to who may do what, or decided, newest first."""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.console.operations import READ, Asked, Desk, Listed, operation
from reunite.console.paging import newest_of, part_by_id
from reunite.directory.noting import Act, acting_by, keep_acts
from reunite.engine.ports import WriteTransaction
from reunite.engine.remembered import ActRecord


def note(desk: Desk, act: Act) -> None:
    """Keep what was done, in the visitor's name."""
    with acting_by(desk.user), desk.inside.store.write() as tx:
        note_in(desk, tx, act)


def note_in(desk: Desk, tx: WriteTransaction, act: Act) -> None:
    """The same in a transaction, in whose name it is."""
    keep_acts(tx, [act], at_ms=desk.now_ms, new_id=desk.inside.new_id())


class ActsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which acts."""

    actor: str | None = None
    what: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class ActItem(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did to who may do what, or decided; from what to what."""

    id: str
    at_ms: int
    actor: str | None
    what: str
    about: str
    before: Any
    after: Any


@operation("GET", "acts", READ, "What administrators did, newest first")
def acts(desk: Desk, given: ActsAsked) -> Listed[ActItem]:
    """The acts that are meant."""
    where = {
        name: value for name in ("actor", "what") if (value := getattr(given, name)) is not None
    }
    with desk.reading() as tx:
        found = newest_of(tx, ActRecord, given, where)
    part, following = part_by_id(found, given.limit, lambda one: one.id)
    return Listed(
        items=[
            ActItem(
                id=one.id,
                at_ms=one.at_ms,
                actor=one.actor or None,
                what=one.what,
                about=one.about,
                before=msgspec.json.decode(one.former) if one.former else None,
                after=msgspec.json.decode(one.now) if one.now else None,
            )
            for one in part
        ],
        next=following,
    )
