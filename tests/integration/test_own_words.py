"""A feed hears its own words too: its listeners have been called by then."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from contextlib import closing

from reunite.feeds import ListeningFeed
from tests.integration.processes import wait_until


class EchoingLine:
    """A line, and all that tells on it: each word is heard by itself."""

    def __init__(self) -> None:
        self.words: queue.Queue[str] = queue.Queue()
        self._has_hung_up = False

    def tell(self, word: str) -> None:
        self.words.put(word)

    def open(self) -> EchoingLine:
        return self

    def hear(self, timeout_s: float) -> Sequence[str]:
        if self._has_hung_up:
            return []
        try:
            word = self.words.get(timeout=timeout_s)
        except queue.Empty:
            return []
        return [word] if word else []

    def take_turn(self) -> bool:
        return True

    def hang_up(self) -> None:
        self._has_hung_up = True
        self.words.put("")

    def close(self) -> None:
        pass


def test_ones_own_word_calls_nobody_again_and_anothers_does() -> None:
    line = EchoingLine()
    calls: list[None] = []
    with closing(ListeningFeed(lambda: None, line)) as feed:
        feed.listen(lambda: calls.append(None))
        wait_until(lambda: feed.part == "looks")
        before = len(calls)
        feed.wake()
        assert len(calls) == before + 1
        line.tell("another")
        wait_until(lambda: len(calls) > before + 1 and line.words.empty())
        assert len(calls) == before + 2
