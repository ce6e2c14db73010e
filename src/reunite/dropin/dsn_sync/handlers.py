"""Handlers: what a backend runs when a page creates, updates or deletes a record.

    a page's push ──► hook, inside the push's transaction ──► the function ──► True, or veto

The rule         a handler that returns False or raises leaves nothing: neither the page's write nor
                 what it wrote itself. Without one, a write is taken if it is a record.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from reunite.core.change import Op
from reunite.dropin.dsn_sync.records import KEY, MADE, RecordTable, checked_key, value_of
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
        """Run this function from now on; the last one counts. Raises ValueError for what is none,
        and for a coroutine function: a page's write waits for its answer, inside a transaction."""
        if not callable(handler):
            raise ValueError(f"A handler is a function; {handler!r} is none.")
        if inspect.iscoroutinefunction(handler):
            raise ValueError(
                f"A handler is an ordinary function, and {handler.__name__!r} an async one: "
                "nobody would wait for what it says. Write it without async."
            )
        self._by_place[table, op] = handler

    @property
    def connection(self) -> Any:
        """The open transaction of the handler that runs in this thread, None outside of one."""
        return getattr(self._running, "connection", None)

    def hook(self, table: RecordTable, op: Op) -> Callable[[HookedChange, Any], None]:
        """What the hub calls for each row of this table that a page changes in this way."""

        def call(change: HookedChange, connection: Any) -> None:
            about = told(table, change)
            handler = self._by_place.get((table.name, op))
            if handler is None:
                return
            (key,) = change.key
            with self._in(connection):
                try:
                    answer = handler(about)
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
    changed; of a delete nothing else. Vetoes what is no record: whoever has a token may push any
    text, and one that cannot be read would keep every page from reading its table."""
    (key,) = change.key
    found: dict[str, Any] = {table.key_field: key}
    if change.row is None:
        return found
    old = change.old or {}
    try:
        if old.get(KEY) != key:
            checked_key(key)
        for name, text in change.row.items():
            if name not in (KEY, MADE) and text is not None and text != old.get(name):
                found[name] = value_of(name, text)
    except ValueError as error:
        raise Veto(str(error)) from error
    return found
