"""Handlers: what a backend runs when a page creates, updates or deletes a record.

    a page's push ──► hook, inside the push's transaction ──► the function ──► True, or veto

The rule         a handler that returns False or raises leaves nothing: neither the page's write nor
                 what it wrote itself. Without one, a write is taken as it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from reunite.core.change import Op
from reunite.dropin.dsn_sync.records import KEY, MADE, RecordTable, record_of
from reunite.engine.tables import HookedChange
from reunite.errors import Veto

logger = logging.getLogger("reunite.dsn_sync")

Handler: TypeAlias = Callable[[dict[str, Any]], Any]


class Handlers:
    """The backend's functions, one for each table and operation, and the transaction in which one
    of them runs."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, Op], Handler] = {}
        self._running = threading.local()

    def set(self, table: str, op: Op, handler: Handler) -> None:
        """Run this function from now on; the last one counts."""
        if not callable(handler):
            raise ValueError(f"A handler is a function; {handler!r} is none.")
        self._by_place[table, op] = handler

    @property
    def connection(self) -> Any:
        """The open transaction of the handler that runs in this thread, None outside of one."""
        return getattr(self._running, "connection", None)

    def hook(self, table: RecordTable, op: Op) -> Callable[[HookedChange, Any], None]:
        """What the hub calls for each row of this table that a page changes in this way."""

        def call(change: HookedChange, connection: Any) -> None:
            handler = self._by_place.get((table.name, op))
            if handler is None:
                return
            (key,) = change.key
            with self._in(connection):
                try:
                    answer = handler(told(table, change))
                except Exception as error:
                    logger.exception(
                        "The %s handler of %s failed for %r.", op.value, table.name, key
                    )
                    raise Veto("The backend's handler failed.") from error
            if answer is False:
                raise Veto("The backend refused it.")

        return call

    @contextmanager
    def _in(self, connection: Any) -> Iterator[None]:
        self._running.connection = connection
        try:
            yield
        finally:
            self._running.connection = None


def told(table: RecordTable, change: HookedChange) -> dict[str, Any]:
    """What a handler is given: the key field and, of a create, all fields; of an update those that
    changed; of a delete nothing else."""
    found: dict[str, Any] = {table.key_field: change.key[0]}
    if change.row is None:
        return found
    old = change.old or {}
    names = [name for name in change.row if name not in (KEY, MADE)]
    return found | record_of(change.row, [n for n in names if change.row[n] != old.get(n)])
