"""Capture off and on again, for what one thread writes over a client's engine.

    toggle_listening(False)         from here on, this thread's statements are not captured
    before each statement           the guard that triggers ask is set, in its transaction
    after it                        the guard is taken back

The rule         no other connection ever sees the guard set, and none is left behind, whatever
                 fails: where a statement has no transaction, it gets one of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.interfaces import ExecuteStyle

Function = TypeVar("Function", bound=Callable[..., Any])

_SET = "update reunite_guard set suspended = "
_WRITES = ("insert", "update", "delete", "replace", "with")
# Where a connection keeps that the statement under way is hushed, and whose its transaction is.
_HUSHED = "dbsync_hushed"
_OURS, _PROGRAMS = "ours", "the program's"

_listening = threading.local()


def toggle_listening(enabled: bool | None = None) -> None:
    """Switch capture of what this thread writes over a client's engine; None turns it round.

    A server's log has no gaps: there it does nothing.
    """
    _listening.enabled = (not is_listening()) if enabled is None else enabled


def is_listening() -> bool:
    """Whether what this thread writes is captured."""
    return bool(getattr(_listening, "enabled", True))


def with_listening(enabled: bool) -> Callable[[Function], Function]:
    """Decorate a function that writes with capture on or off, whatever it is outside."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            with listening(enabled):
                return function(*args, **options)

        return run  # type: ignore[return-value]

    return decorate


@contextmanager
def listening(enabled: bool) -> Iterator[None]:
    """Capture on or off in the block, for this thread."""
    was = is_listening()
    _listening.enabled = enabled
    try:
        yield
    finally:
        _listening.enabled = was


def watch_listening(engine: Engine) -> None:
    """Have statements over a client's engine heed `toggle_listening`."""
    if not event.contains(engine, "before_cursor_execute", _hush):
        event.listen(engine, "before_cursor_execute", _hush)
        event.listen(engine, "after_cursor_execute", _hear)
        event.listen(engine, "after_execute", _hear_late)
        event.listen(engine, "handle_error", _hear_after_error)


def _hush(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    if is_listening() or not statement.lstrip().lower().startswith(_WRITES):
        return
    driver: Any = connection.connection.driver_connection
    if connection.info.get(_HUSHED) == _OURS:
        return  # the next batch of the same rows
    is_ours = not driver.in_transaction and _is_autocommit(driver)
    if is_ours:
        driver.execute("begin immediate")
    driver.execute(f"{_SET}1")
    connection.info[_HUSHED] = _OURS if is_ours else _PROGRAMS


def _is_autocommit(driver: Any) -> bool:
    return driver.isolation_level is None or getattr(driver, "autocommit", None) is True


def _hear(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    if connection.info.get(_HUSHED) == _OURS and cursor.description:
        # A statement that gives rows keeps its transaction open until they are read.
        if context.execute_style is ExecuteStyle.INSERTMANYVALUES:
            return  # SQLAlchemy reads them next: `_hear_late`
        rows = cursor.fetchall()
        context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(cursor, None, rows)
    _end(connection)


def _hear_late(connection: Connection, *_: Any) -> None:
    _end(connection)


def _end(connection: Connection) -> None:
    hushed = connection.info.pop(_HUSHED, None)
    if hushed is None:
        return
    driver: Any = connection.connection.driver_connection
    driver.execute(f"{_SET}0")
    if hushed == _OURS:
        driver.execute("commit")


def _hear_after_error(failed: ExceptionContext) -> None:
    connection = failed.connection
    if connection is None or (hushed := connection.info.pop(_HUSHED, None)) is None:
        return
    driver: Any = connection.connection.driver_connection
    if hushed == _OURS and driver.in_transaction:
        driver.execute("rollback")
    elif driver.in_transaction:
        driver.execute(f"{_SET}0")
