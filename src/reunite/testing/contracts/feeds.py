"""A feed tells of news: each wake reaches every listener of the same database, and soon."""

from __future__ import annotations

import threading
from typing import Protocol

from reunite.engine.news import Feed

# Far more than any feed takes; a test that waits so long fails.
DEADLINE_S = 60.0


class FeedSubject(Protocol):
    """A feed under test."""

    feed: Feed

    def other(self) -> Feed:
        """A feed of the same database as another process would have it; `feed` itself if feeds of
        this kind do not reach so far."""
        ...

    def write(self) -> bool:
        """Commit something as another program does, without waking anybody; False if the feed is
        not one that notices."""
        ...


class _Listener:
    """Counts its calls."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.calls = 0

    def __call__(self) -> None:
        with self._condition:
            self.calls += 1
            self._condition.notify_all()

    def wait_for_more_than(self, calls: int) -> None:
        with self._condition:
            found = self._condition.wait_for(lambda: self.calls > calls, timeout=DEADLINE_S)
        assert found, "the listener was not called"


class FeedContract:
    """Every promise of `Feed`. The subclass has a fixture `subject`."""

    def test_a_wake_reaches_every_listener(self, subject: FeedSubject) -> None:
        listeners = [_Listener(), _Listener()]
        for listener in listeners:
            subject.feed.listen(listener)
        subject.feed.wake()
        for listener in listeners:
            listener.wait_for_more_than(0)

    def test_a_call_begins_after_the_last_of_many_wakes(self, subject: FeedSubject) -> None:
        news = 0
        seen: list[int] = []
        has_seen_all = threading.Event()

        def listener() -> None:
            seen.append(news)
            if news == 100:
                has_seen_all.set()

        subject.feed.listen(listener)
        for _ in range(100):
            news += 1
            subject.feed.wake()
        assert has_seen_all.wait(DEADLINE_S), seen

    def test_one_that_has_ended_is_not_called_any_more(self, subject: FeedSubject) -> None:
        ended, other = _Listener(), _Listener()
        end = subject.feed.listen(ended)
        subject.feed.listen(other)
        end()
        end()
        calls = ended.calls
        subject.feed.wake()
        other.wait_for_more_than(0)
        assert ended.calls == calls

    def test_listening_can_begin_again(self, subject: FeedSubject) -> None:
        subject.feed.listen(_Listener())()
        listener = _Listener()
        subject.feed.listen(listener)
        subject.feed.wake()
        listener.wait_for_more_than(0)

    def test_a_wake_without_listeners_is_nothing(self, subject: FeedSubject) -> None:
        subject.feed.wake()

    def test_a_wake_reaches_the_feeds_of_other_processes(self, subject: FeedSubject) -> None:
        listener = _Listener()
        subject.other().listen(listener)
        subject.write()
        subject.feed.wake()
        listener.wait_for_more_than(0)

    def test_what_other_programs_commit_is_noticed_again_and_again(
        self, subject: FeedSubject
    ) -> None:
        listener = _Listener()
        subject.feed.listen(listener)
        for _ in range(3):
            before = listener.calls
            if not subject.write():
                return
            listener.wait_for_more_than(before)

    def test_who_is_long_about_to_wake_keeps_nobody_from_hearing_of_others(
        self, subject: FeedSubject
    ) -> None:
        listener = _Listener()
        subject.feed.listen(listener)
        with subject.feed.waking():
            before = listener.calls
            if subject.write():
                listener.wait_for_more_than(before)
        before = listener.calls
        subject.feed.wake()
        listener.wait_for_more_than(before)

    def test_a_closed_feed_calls_nobody(self, subject: FeedSubject) -> None:
        listener = _Listener()
        subject.feed.listen(listener)
        subject.feed.close()
        subject.feed.close()
        calls = listener.calls
        subject.feed.wake()
        subject.write()
        assert listener.calls == calls
