"""What passes the sealed door, byte by byte.

    hello       01 | key id (8) | the handshake's first message
    welcome     02 | session id (16) | the handshake's second message
    request     03 | session id (16) | frames
    answer      frames

    frame       length (2) | number (8) | sealed text of `length` bytes
    text        00 or, in the last frame of a request or answer, 01 | the next of its bytes
    bytes       length of the head (4) | head, JSON | body

All numbers are big-endian. Each end counts its frames from 0; no number is used twice in a
session. A frame is bound to its session, to its direction, to the request (the number of its
first frame) and to its place in the request or answer. So nobody can leave one out, swap two, cut
the end off, or give the answer to another request: the seal would not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct

from reunite.server.sealed.noise import MESSAGE_BYTES_MAX, TAG_BYTES, Cipher, NoiseError

HELLO, WELCOME, REQUEST = 0x01, 0x02, 0x03
KEY_ID_BYTES, SESSION_BYTES = 8, 16

_FRAME = Struct(">HQ")
_LENGTH = Struct(">I")
_PLACE = Struct(">QI")

# Bytes of a request or answer in one frame.
TEXT_BYTES_MAX = MESSAGE_BYTES_MAX - TAG_BYTES - 1

# Bytes of the head of a request or answer.
HEAD_BYTES_MAX = 60_000

_MORE, _LAST = b"\x00", b"\x01"


class Sealing:
    """Seals the bytes of one request or answer, piece by piece.

    take_number    the next number of this end's direction; called once for each frame
    request        the number of the request's first frame; None for a request itself
    """

    def __init__(
        self,
        cipher: Cipher,
        take_number: Callable[[], int],
        *,
        session: bytes,
        request: int | None,
    ) -> None:
        self._cipher = cipher
        self._take_number = take_number
        self._session = session
        self._request = request
        self._is_answer = request is not None
        self._index = 0

    @property
    def request(self) -> int:
        """The number of the request's first frame, once there is one."""
        assert self._request is not None, "the first frame gives its number"
        return self._request

    def begin(self, head: bytes, body: bytes = b"", *, is_last: bool = True) -> bytes:
        """The frames of the head and of what there is of the body."""
        return self.go_on(_LENGTH.pack(len(head)) + head + body, is_last=is_last)

    def go_on(self, data: bytes, *, is_last: bool) -> bytes:
        """The frames of more of the body; at least one, so that nothing waits for the next."""
        parts = [data[at : at + TEXT_BYTES_MAX] for at in range(0, len(data), TEXT_BYTES_MAX)]
        parts = parts or [b""]
        frames = [self._frame(part, is_last=False) for part in parts[:-1]]
        return b"".join([*frames, self._frame(parts[-1], is_last=is_last)])

    def _frame(self, part: bytes, *, is_last: bool) -> bytes:
        number = self._take_number()
        if self._request is None:
            self._request = number
        bound = _bound(
            self._session, is_answer=self._is_answer, request=self._request, index=self._index
        )
        self._index += 1
        sealed = self._cipher.seal(number, (_LAST if is_last else _MORE) + part, bound)
        return _FRAME.pack(len(sealed), number) + sealed


class Opening:
    """Opens the frames of one request or answer, as their bytes arrive.

    admit      called with the number of each frame whose seal holds; raises what it likes when
               that number was there before
    request    the number of the request's first frame; None for a request, which says it itself
    """

    def __init__(
        self,
        cipher: Cipher,
        admit: Callable[[int], None],
        *,
        session: bytes,
        request: int | None,
    ) -> None:
        self._cipher = cipher
        self._admit = admit
        self._session = session
        self._request = request
        self._is_answer = request is not None
        self._index = 0
        self._waiting = b""
        self.is_complete = False

    @property
    def request(self) -> int:
        """The number of the request's first frame, once one was opened."""
        assert self._request is not None, "a frame was opened"
        return self._request

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The texts of the frames that are whole by now.

        Raises NoiseError for a broken seal, a frame out of its place, or one after the last.
        """
        self._waiting += data
        at = 0
        try:
            while len(self._waiting) - at >= _FRAME.size:
                length, number = _FRAME.unpack_from(self._waiting, at)
                end = at + _FRAME.size + length
                if end > len(self._waiting):
                    break
                yield self._open(number, self._waiting[at + _FRAME.size : end])
                at = end
        finally:
            self._waiting = self._waiting[at:]

    def finish(self) -> None:
        """All bytes were fed. Raises NoiseError if some are missing."""
        if not self.is_complete or self._waiting:
            raise NoiseError("It was cut short.")

    def _open(self, number: int, sealed: bytes) -> bytes:
        if self.is_complete:
            raise NoiseError("Something follows the last frame.")
        request = number if self._request is None else self._request
        if not self._is_answer and number != request + self._index:
            raise NoiseError("A frame of another request.")
        bound = _bound(self._session, is_answer=self._is_answer, request=request, index=self._index)
        text = self._cipher.open(number, sealed, bound)
        if text[:1] not in (_MORE, _LAST):
            raise NoiseError("A frame without its mark.")
        self._admit(number)
        self._request = request
        self._index += 1
        self.is_complete = text[:1] == _LAST
        return text[1:]


class Parts:
    """Separates the head of a request or answer from its body."""

    def __init__(self) -> None:
        self._waiting: bytes | None = b""
        self.head: bytes | None = None

    def feed(self, text: bytes) -> bytes:
        """What of the body there is by now. Raises NoiseError for a head that is too long."""
        if self._waiting is None:
            return text
        self._waiting += text
        if len(self._waiting) < _LENGTH.size:
            return b""
        (length,) = _LENGTH.unpack_from(self._waiting)
        if length > HEAD_BYTES_MAX:
            raise NoiseError("The head is too long.")
        end = _LENGTH.size + length
        if len(self._waiting) < end:
            return b""
        self.head, body = self._waiting[_LENGTH.size : end], self._waiting[end:]
        self._waiting = None
        return body


def _bound(session: bytes, *, is_answer: bool, request: int, index: int) -> bytes:
    return (b"answer" if is_answer else b"request") + session + _PLACE.pack(request, index)
