"""Which pulls wait for news: those that ask to, and whose answer has nothing."""

from __future__ import annotations

import msgspec

from reunite.protocol.codec import encode
from reunite.protocol.pull import PullRequest
from reunite.server.app import _waits

ASKED = PullRequest(protocol=1, replica="r", known=0, cursor="c")


def test_the_answer_of_a_pull_that_does_not_wait_is_not_read_again() -> None:
    """It may be eight megabytes, and was encoded a moment ago."""
    assert _waits(encode(ASKED), b"not even JSON") is None


def test_a_pull_waits_if_it_asks_to_and_nothing_is_new() -> None:
    asked = encode(msgspec.structs.replace(ASKED, wait_s=5))
    nothing, other = (
        encode({"cursor": cursor, "stamp": "", "schemas": {}}) for cursor in ("c", "d")
    )

    waiting = _waits(asked, nothing)

    assert waiting is not None
    assert waiting[1] == 5
    assert _waits(asked, other) is None
