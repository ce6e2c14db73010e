"""Commits get their numbers after they are visible, without gaps, and keep them (invariant I3)."""

from __future__ import annotations

import threading

from reunite.engine.ports import Commit, Head, Position
from reunite.testing.contracts.asking import (
    LIMIT,
    START,
    all_touched,
    log_of,
    number,
    pages_of_touched,
)
from reunite.testing.contracts.tables import (
    CHILD,
    PARENT,
    StoreSubject,
    child,
    inserted,
    parent,
)


def _insert(subject: StoreSubject, *ids: str) -> None:
    """One foreign transaction that inserts parents."""
    with subject.foreign() as program:
        inserted(program, PARENT, *map(parent, ids))


class NumberingContract:
    def test_an_empty_log_stands_before_the_first_commit(self, subject: StoreSubject) -> None:
        with subject.store.read() as transaction:
            head = transaction.head()
            assert head == Head(epoch=head.epoch, seq=0, nonce="", last_id=0, at_ms=0)
            assert head.epoch
            assert transaction.last_change_id() == 0
            assert transaction.commit(0) is None
            assert transaction.commits(after=0, limit=LIMIT) == []
            assert transaction.touched(START, limit=LIMIT) == []
        assert number(subject.store) == head

    def test_numbering_closes_what_is_visible_into_a_commit(self, subject: StoreSubject) -> None:
        _insert(subject, "p", "q")
        head = subject.store.number(now_ms=7_000, new_nonce=lambda: "chance")

        assert (head.seq, head.nonce, head.at_ms) == (1, "chance", 7_000)
        with subject.store.read() as transaction:
            assert transaction.head() == head
            assert head.last_id == transaction.last_change_id()
            (commit,) = transaction.commits(after=0, limit=LIMIT)
            first_id = transaction.touched(START, limit=1)[0].id
            assert commit == transaction.commit(1)
            assert commit == Commit(
                seq=1,
                first_id=first_id,
                last_id=head.last_id,
                changes=2,
                at_ms=7_000,
                nonce="chance",
            )
            assert transaction.commit(2) is None
        assert [(entry.seq, entry.at_ms) for entry in log_of(subject.store)] == [(1, 7_000)] * 2

    def test_what_waits_for_its_number_is_seen_by_those_who_begin(
        self, subject: StoreSubject
    ) -> None:
        for begin in (subject.store.read, subject.store.write):
            with begin() as transaction:
                assert not transaction.has_news()
        _insert(subject, "p")
        for begin in (subject.store.read, subject.store.write):
            with begin() as transaction:
                assert transaction.has_news()
        head = subject.store.number(now_ms=1_000, new_nonce=lambda: "chance", has_news=True)
        assert head.seq == 1
        for begin in (subject.store.read, subject.store.write):
            with begin() as transaction:
                assert not transaction.has_news()
                assert transaction.head() == head
        assert subject.store.number(now_ms=2_000, new_nonce=lambda: "", has_news=True) == head

    def test_numbering_again_changes_nothing(self, subject: StoreSubject) -> None:
        _insert(subject, "p")
        head = number(subject.store, now_ms=1_000)

        def no_nonce() -> str:
            raise AssertionError("nothing is new, so no nonce is drawn")

        assert subject.store.number(now_ms=2_000, new_nonce=no_nonce) == head

    def test_numbers_have_no_gaps_and_cover_every_change_once(self, subject: StoreSubject) -> None:
        for round_ in range(5):
            _insert(subject, f"p{round_}", f"q{round_}")
            if round_ % 2:
                number(subject.store)
                number(subject.store)
        head = number(subject.store)

        with subject.store.read() as transaction:
            commits = transaction.commits(after=0, limit=LIMIT)
            touches = all_touched(transaction)
        assert [commit.seq for commit in commits] == list(range(1, head.seq + 1))
        assert len({commit.nonce for commit in commits}) == len(commits)
        assert len(touches) == 10
        for touch in touches:
            (commit,) = (c for c in commits if c.first_id <= touch.id <= c.last_id)
            assert touch.seq == commit.seq

    def test_commits_are_read_in_pages(self, subject: StoreSubject) -> None:
        for id_ in "abcde":
            _insert(subject, id_)
            number(subject.store)
        with subject.store.read() as transaction:
            assert [c.seq for c in transaction.commits(after=0, limit=2)] == [1, 2]
            assert [c.seq for c in transaction.commits(after=2, limit=2)] == [3, 4]
            assert [c.seq for c in transaction.commits(after=4, limit=2)] == [5]

    def test_the_time_of_commits_never_goes_back(self, subject: StoreSubject) -> None:
        times = []
        for id_, now_ms in (("a", 5_000), ("b", 3_000), ("c", 6_000)):
            _insert(subject, id_)
            times.append(number(subject.store, now_ms=now_ms).at_ms)
        assert times == [5_000, 5_000, 6_000]

    def test_what_has_no_number_comes_last_among_the_touched(self, subject: StoreSubject) -> None:
        _insert(subject, "p")
        number(subject.store)
        _insert(subject, "q")

        with subject.store.read() as transaction:
            touches = all_touched(transaction)
            assert [(touch.key, touch.seq) for touch in touches] == [(("p",), 1), (("q",), None)]
            assert [entry.seq for entry in log_of(subject.store)] == [1, None]
            at_head = transaction.touched(Position(seq=1, id=touches[0].id), limit=LIMIT)
            assert at_head == touches[1:]
            assert transaction.last_change_id() == touches[1].id
            assert transaction.head().last_id == touches[0].id

    def test_touched_changes_are_read_in_pages_that_cut_commits(
        self, subject: StoreSubject
    ) -> None:
        for number_ in range(4):
            _insert(subject, *(f"p{number_}{letter}" for letter in "abc"))
            number(subject.store)
        with subject.foreign() as program:
            inserted(program, CHILD, child(1, "p0a"))
            program.update("parent", ("p0a",), {"id": "moved"})

        with subject.store.read() as transaction:
            touches = all_touched(transaction)
            assert [touch.seq for touch in touches[:12]] == [n for n in (1, 2, 3, 4) for _ in "abc"]
            assert ("parent", ("moved",), ("p0a",)) in [
                (touch.table, touch.key, touch.old_key) for touch in touches[12:]
            ]
            for limit in (1, 2, 3, 5, 12):
                assert pages_of_touched(transaction, limit=limit) == touches[:12]

    def test_a_position_inside_a_commit_says_nothing_about_the_next(
        self, subject: StoreSubject
    ) -> None:
        for id_ in "abc":
            _insert(subject, id_)
            number(subject.store)
        with subject.store.read() as transaction:
            touches = all_touched(transaction)
            # All of commit 1, all of commit 2 and more than that: the id belongs to commit 2.
            position = Position(seq=1, id=touches[1].id)
            assert transaction.touched(position, limit=LIMIT) == touches[2:]
            assert transaction.touched(Position(seq=1, id=0), limit=LIMIT) == touches[1:]
            assert transaction.touched(Position(seq=3, id=0), limit=LIMIT) == []

    def test_a_rolled_back_transaction_gets_no_number(self, subject: StoreSubject) -> None:
        _insert(subject, "p")
        head = number(subject.store)
        try:
            with subject.foreign() as program:
                inserted(program, PARENT, parent("q"))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert number(subject.store) == head
        _insert(subject, "r")
        assert number(subject.store).seq == 2

    def test_many_at_once_number_a_change_once(self, subject: StoreSubject) -> None:
        for id_ in "abc":
            _insert(subject, id_)
            together = threading.Barrier(4)
            heads = []

            def number_together(together: threading.Barrier = together) -> None:
                together.wait()
                heads.append(number(subject.store))  # noqa: B023 - joined before it changes

            threads = [threading.Thread(target=number_together) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(heads) == 4
            assert len(set(map(str, heads))) == 1
        assert heads[0].seq == 3
