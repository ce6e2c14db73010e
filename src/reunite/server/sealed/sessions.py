"""Who has shaken hands, and which of their frames came already.

The rule         a number counts as come only when its seal held: otherwise strangers could use up
                 the numbers of others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from reunite.errors import SealError
from reunite.server.sealed.noise import Ciphers

# Sessions of one door, and those among them in which nothing was sealed yet: whoever records a
# hello can say it again, and gets a session that is of no use to him.
SESSIONS_MAX = 10_000
UNUSED_MAX = 1_000

# Seconds after which a session ends, and a new handshake has to be made.
SESSION_S_MAX = 24 * 3600

# Frames of one direction of a session; AES-GCM wants fewer than 2^32 under one key.
FRAMES_MAX = 2**31

# How far behind the newest number one may come, as requests overtake each other.
WINDOW = 16_384


class Window:
    """Which numbers came, of the newest WINDOW ones; older ones count as come."""

    def __init__(self) -> None:
        self._newest = -1
        self._came = 0  # bit i: number `newest - i`

    def admit(self, number: int) -> None:
        """Note a number. Raises SealError if it came before, or is too old to tell."""
        ahead = number - self._newest
        if ahead > 0:
            self._came = (self._came << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            self._newest = number
            return
        if -ahead >= WINDOW or self._came >> -ahead & 1:
            raise SealError(
                "This was sent before. Seal it anew, with a number of its own.", code="replayed"
            )
        self._came |= 1 << -ahead


class Session:
    """One handshake's keys, and what was numbered under them.

    key_id     the token that it was made with
    """

    def __init__(
        self, session_id: bytes, key_id: bytes, ciphers: Ciphers, *, ends_at: float
    ) -> None:
        self.id, self.key_id, self.ends_at = session_id, key_id, ends_at
        self.ciphers = ciphers
        self._window = Window()
        self._sent = 0

    def take_number(self) -> int:
        """The next number of what is sent. Raises SealError when none is left."""
        self._check(self._sent)
        self._sent += 1
        return self._sent - 1

    def admit(self, number: int) -> None:
        """Note the number of a frame whose seal holds. Raises SealError if it came before."""
        self._check(number)
        self._window.admit(number)

    def _check(self, number: int) -> None:
        if number >= FRAMES_MAX:
            raise SealError(
                "The session is used up. Say hello to begin another.", code="session-unknown"
            )


class Sessions:
    """The sessions of one door, in memory; after a restart everybody says hello again.

    clock      seconds, of any beginning that does not change
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used: OrderedDict[bytes, Session] = OrderedDict()
        self._unused: OrderedDict[bytes, Session] = OrderedDict()

    def add(self, session: Session) -> None:
        """Keep a new one. The oldest ones without a request go first; then the least used."""
        self._unused[session.id] = session
        while len(self._unused) > UNUSED_MAX:
            self._unused.popitem(last=False)

    def of(self, session_id: bytes) -> Session:
        """The session of this id. Raises SealError if there is none, or not any more."""
        session = self._used.get(session_id) or self._unused.get(session_id)
        if session is None or session.ends_at <= self._clock():
            self.end(session_id)
            raise SealError(
                "The door knows no such session. Say hello to begin one.", code="session-unknown"
            )
        return session

    def note_use(self, session: Session) -> None:
        """A request of it was opened."""
        self._unused.pop(session.id, None)
        self._used[session.id] = session
        self._used.move_to_end(session.id)
        while len(self._used) > SESSIONS_MAX:
            self._used.popitem(last=False)

    def end(self, session_id: bytes) -> None:
        """Forget a session."""
        self._used.pop(session_id, None)
        self._unused.pop(session_id, None)

    def end_of_key(self, key_id: bytes) -> None:
        """End all that were made with this token."""
        for sessions in (self._used, self._unused):
            for session in [each for each in sessions.values() if each.key_id == key_id]:
                del sessions[session.id]
