"""How hub processes on one PostgreSQL database reach each other: LISTEN and NOTIFY.

    tell ──► NOTIFY, in a transaction of its own ──► every open line of the database
    line     a session that listens, and that may hold the turn: an advisory lock

The rule         a line needs a session. A pooler gives sessions to whoever has a transaction, so
                 behind one there are no lines: nothing is listened to or locked there.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from reunite.errors import StorageUnavailableError

CHANNEL = "reunite"

# A server that vanished without a word is noticed after about so long.
KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

# And the server notices a process that vanished, or its lock would be held for hours.
_SERVER_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "
    "SET idle_session_timeout = 0"
)

_TURN_LOCK = "SELECT pg_try_advisory_lock(x'7265756e'::int, x'6c6f6f6b'::int)"


def is_session(connection: psycopg.Connection[Any]) -> bool:
    """Whether a new connection is one to the server itself."""
    # Poolers greet with a number of their own instead of the server process's.
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    return found is not None and bool(found[0] == connection.info.backend_pid)


class PostgresLines:
    """The lines of one database.

    connect   a new connection for a line
    run       a statement in a transaction of its own
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], run: Callable[[str], None]
    ) -> None:
        self._connect = connect
        self._run = run

    def tell(self, word: str) -> None:
        # It has nothing to flush, so it costs no more than its way there and back.
        self._run(f"SELECT pg_notify('{CHANNEL}', '{word}')")

    def open(self) -> PostgresLine | None:
        connection = self._connect()
        try:
            if not is_session(connection):
                connection.close()
                return None
            return PostgresLine(connection)
        except psycopg.Error as exc:
            connection.close()
            raise _broken(exc) from exc


class PostgresLine:
    """A connection that listens."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._words: list[str] = []
        self._has_turn = False
        # Words also come while a statement is answered.
        connection.add_notify_handler(lambda notify: self._words.append(notify.payload))
        connection.execute(f"{_SERVER_KEEPALIVE}; LISTEN {CHANNEL}")
        self._end_of_call, self._call = socket.socketpair()
        # Not `select`, which knows no file numbers above 1,023: a hub has thousands of streams.
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection.fileno(), selectors.EVENT_READ)
        self._selector.register(self._end_of_call, selectors.EVENT_READ)

    def hear(self, timeout_s: float) -> Sequence[str]:
        try:
            self._take_in()
            if not self._words:
                self._selector.select(timeout_s)
                self._take_in()
        except (psycopg.Error, OSError) as exc:
            raise _broken(exc) from exc
        words, self._words = self._words, []
        return words

    def _take_in(self) -> None:
        connection = self._connection.pgconn
        connection.consume_input()
        while (notify := connection.notifies()) is not None:
            self._words.append(notify.extra.decode())

    def take_turn(self) -> bool:
        try:
            if self._has_turn:
                self._connection.execute("SELECT 1")
            else:
                found = self._connection.execute(_TURN_LOCK).fetchone()
                self._has_turn = found is not None and bool(found[0])
        except psycopg.Error as exc:
            raise _broken(exc) from exc
        return self._has_turn

    def hang_up(self) -> None:
        with suppress(OSError):
            self._call.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._selector.close()
        self._connection.close()
        self._call.close()
        self._end_of_call.close()


def _broken(exc: Exception) -> StorageUnavailableError:
    return StorageUnavailableError(f"The line to the database broke: {exc}")
