"""What nodes pushed to classes with extensions, and what the server's own programs wrote there.

The log tells both apart. Of what was pushed, programs are to be told; of what the server's programs
wrote, the fields are to be loaded before a node pulls it.

The rule         how far the log was read moves when all that it told is noted.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from reunite.core.key import Key
from reunite.dropin.dbsync.codec import name_of, plain, stored, table_of
from reunite.dropin.dbsync.extending import Extensions, digest
from reunite.dropin.dbsync.server import tables
from reunite.engine.ports import LogEntry, Position
from reunite.hub import Hub

_PLACE = "extensions_read"


class Arriving:
    """How far one server has read the log for its extensions."""

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions

    def settle(self, hub: Hub, engine: Engine) -> None:
        """Read on, load what is to be loaded, and call the functions for what has come."""
        self._extensions.errors.clear()
        place = Position(seq=0, id=0)
        if (kept := tables.read_state(engine, _PLACE)) is not None:
            place = msgspec.json.decode(kept, type=Position)
        while True:
            found, place = hub.changes_after(place)
            if not found:
                break
            self._take(engine, found)
            _keep(engine, place)
        self._extensions.load(engine, ())
        self._extensions.hand_over(engine)

    def begin(self, hub: Hub, engine: Engine) -> None:
        """Load the fields of rows that were there before their extension."""
        new = {
            name: model
            for name, model in self._extensions.side_tables.items()
            if tables.read_state(engine, f"loaded {name}") is None
        }
        if not new:
            return
        if tables.read_state(engine, _PLACE) is None:
            _keep(engine, Position(seq=hub.number().seq, id=0))
        with Session(engine) as session:
            rows = [
                (model, tuple(map(stored, table_of(model).primary_key, key)))
                for model in set(new.values())
                for key in session.query(*table_of(model).primary_key)
            ]
        self._extensions.load(engine, rows)
        for name in new:
            tables.write_state(engine, f"loaded {name}", "yes")

    def _take(self, engine: Engine, entries: list[LogEntry]) -> None:
        models = self._extensions.models
        pushed: dict[tuple[type, Key], dict[str, LogEntry]] = {}
        own: dict[tuple[type, Key], None] = {}
        for entry in entries:
            model = models.get(entry.table)
            if model is None:
                continue
            if entry.replica is not None:
                # The first one has what the row was.
                pushed.setdefault((model, entry.key), {}).setdefault(entry.table, entry)
            elif entry.table == name_of(model):
                own[model, entry.key] = None
        self._extensions.load(engine, own)
        with Session(engine) as session:
            for (model, key), first in pushed.items():
                old = self._before(session, model, key, first)
                self._extensions.note(session, model, key, old)
            session.commit()

    def _before(
        self, session: Session, model: type, key: Key, first: dict[str, LogEntry]
    ) -> str | None:
        """What the row and its fields were, in the form of `Extensions.state_of`."""
        now = self._extensions.state_of(session, model, key)
        known: dict[str, Any] = json.loads(now) if now is not None else {"row": None, "fields": {}}
        main = first.get(name_of(model))
        if main is not None:
            known["row"] = _named(main)
        for extension in self._extensions.of(model):
            entry = first.get(extension.table.name)
            if entry is not None:
                known["fields"].pop(extension.name, None)
                if (old := _named(entry)) is not None:
                    known["fields"][extension.name] = digest(old["value"])
        return None if known["row"] is None else json.dumps(known, sort_keys=True)


def _keep(engine: Engine, place: Position) -> None:
    tables.write_state(engine, _PLACE, msgspec.json.encode(place).decode())


def _named(entry: LogEntry) -> dict[str, Any] | None:
    if entry.old is None:
        return None
    return {name: plain(value) for name, value in zip(entry.old_columns, entry.old, strict=True)}
