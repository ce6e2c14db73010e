"""What stays when commits are trimmed, the store is closed, or reunite leaves the database."""

from __future__ import annotations

from reunite.core.change import Op
from reunite.core.principal import Principal
from reunite.core.schema import TableSchema
from reunite.engine.ports import Origin, Position, ReplicaRecord
from reunite.testing.contracts.asking import (
    LIMIT,
    START,
    all_touched,
    log_of,
    number,
    rows_of,
)
from reunite.testing.contracts.tables import (
    PARENT,
    STANDARD_SCHEMAS,
    StoreSubject,
    inserted,
    leased,
    parent,
    writes,
)

ANNA = Principal(user="anna", tenant="north", roles=("boss",), claims={"teams": [1, "two"]})


def _commits(subject: StoreSubject, ids: str) -> None:
    """One commit of two changes for each letter."""
    for id_ in ids:
        with subject.foreign() as program:
            inserted(program, PARENT, parent(id_))
            program.update("parent", (id_,), {"name": id_})
        number(subject.store)


class KeepingContract:
    def test_a_job_is_taken_by_one_until_its_time_is_over(self, subject: StoreSubject) -> None:
        def take(who: str, now_ms: int, job: str = "trim") -> bool:
            with subject.store.write() as transaction:
                return transaction.take_job(job, who=who, now_ms=now_ms, until_ms=now_ms + 100)

        assert take("a", 1_000)
        assert not take("b", 1_050)
        assert take("a", 1_050), "it goes on"
        assert not take("b", 1_149)
        assert take("b", 1_149, job="another")
        assert take("b", 1_150), "the other one did not come back"
        assert not take("a", 1_151)
        assert take("a", 500), "a clock was wrong"

    def test_trimming_keeps_the_nonce_of_the_last_one_gone(self, subject: StoreSubject) -> None:
        _commits(subject, "abcd")
        with subject.store.read() as transaction:
            before = all_touched(transaction)
            commits = transaction.commits(after=0, limit=LIMIT)
            assert (transaction.trimmed_seq(), transaction.trimmed_id()) == (0, 0)
        with subject.store.write() as transaction:
            assert transaction.trim(until_seq=2) == 4

        with subject.store.read() as transaction:
            assert transaction.trimmed_seq() == 2
            assert transaction.trimmed_id() == commits[1].last_id
            assert transaction.commit(1) is None
            assert transaction.commit(2) == commits[1]
            assert transaction.commit(3) == commits[2]
            assert transaction.commits(after=2, limit=LIMIT) == commits[2:]
            assert transaction.commits(after=0, limit=LIMIT) == commits[2:]
            at_horizon = Position(seq=2, id=0)
            assert transaction.touched(at_horizon, limit=LIMIT) == before[4:]
            assert transaction.touched(START, limit=LIMIT) == before[4:]
            assert transaction.log(after_id=0, until_id=2**53, limit=1)[0].id == before[4].id
            assert transaction.entries("parent", [("a",), ("b",)], after_id=0) == []
            assert len(transaction.entries("parent", [("c",)], after_id=0)) == 2
            head = transaction.head()
            assert (head.seq, head.nonce) == (4, commits[3].nonce)
        assert len(rows_of(subject.store, "parent")) == 4

    def test_what_was_trimmed_is_swept_in_steps_that_nobody_sees(
        self, subject: StoreSubject
    ) -> None:
        """A step is as small as it is asked to be, and what readers get stays the same (I13)."""
        _commits(subject, "abcd")
        with subject.store.write() as transaction:
            assert transaction.trim(until_seq=3) == 6

        def seen() -> object:
            with subject.store.read() as transaction:
                return (
                    transaction.head(),
                    transaction.commit(2),
                    transaction.commits(after=0, limit=LIMIT),
                    all_touched(transaction),
                    transaction.entries("parent", [("a",), ("d",)], after_id=0),
                    transaction.log(after_id=0, until_id=2**53, limit=LIMIT),
                    transaction.statistics().changes,
                    transaction.last_change_id(),
                )

        before, counts = seen(), [-1]
        while counts[-1]:
            with subject.store.write() as transaction:
                counts.append(transaction.sweep(limit=4))
            assert seen() == before
        assert all(count <= 4 for count in counts)
        assert sum(counts[1:]) in (0, 6), "memory gives back at once"

    def test_statistics_count_what_is_not_trimmed(self, subject: StoreSubject) -> None:
        _commits(subject, "abc")
        with subject.store.write() as transaction:
            transaction.trim(until_seq=1)
        with subject.store.read() as transaction:
            found = transaction.statistics()
            assert dict(found.changes) == {"parent": 4}
            assert found.oldest == transaction.commit(2)
        with subject.store.write() as transaction:
            transaction.trim(until_seq=3)
        with subject.store.read() as transaction:
            found = transaction.statistics()
            assert (dict(found.changes), found.oldest) == ({}, None)

    def test_trimming_again_goes_on_where_it_ended(self, subject: StoreSubject) -> None:
        _commits(subject, "abcd")
        counts = []
        for until_seq in (1, 1, 0, 3):
            with subject.store.write() as transaction:
                counts.append(transaction.trim(until_seq=until_seq))
        assert counts == [2, 0, 0, 4]
        with subject.store.read() as transaction:
            assert transaction.trimmed_seq() == 3

    def test_a_log_trimmed_to_its_head_goes_on_counting(self, subject: StoreSubject) -> None:
        """What has no number yet is not trimmed, and ids are not used again."""
        _commits(subject, "ab")
        with subject.store.read() as transaction:
            head = transaction.head()
        with subject.foreign() as program:
            inserted(program, PARENT, parent("c"))
        with subject.store.write() as transaction:
            assert transaction.trim(until_seq=99) == 4
        with subject.store.read() as transaction:
            assert transaction.head() == head
            assert transaction.commits(after=0, limit=LIMIT) == []
            (touch,) = all_touched(transaction)
            assert (touch.key, touch.seq) == (("c",), None)
            assert touch.id > head.last_id
            assert transaction.last_change_id() == touch.id

        after = number(subject.store, now_ms=1)
        assert (after.seq, after.last_id, after.at_ms) == (3, touch.id, head.at_ms)
        with subject.store.write() as transaction:
            assert transaction.trim(until_seq=3) == 1
        with subject.store.read() as transaction:
            assert transaction.last_change_id() == touch.id
        _commits(subject, "d")
        entries = log_of(subject.store)
        assert [entry.seq for entry in entries] == [4, 4]
        assert entries[0].id > touch.id

    def test_entries_left_after_a_trim_still_know_their_push(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            transaction.add_replica(_replica())
        for n, id_ in enumerate("abc", start=1):
            with subject.store.write() as transaction:
                transaction.apply(writes(inserts={"parent": [parent(id_)]}))
                transaction.add_push(
                    replica="r",
                    principal="anna",
                    last_n=n,
                    known_n=0,
                    now_ms=1_000,
                    origins=[
                        Origin(
                            first_id=transaction.last_change_id(),
                            last_id=transaction.last_change_id(),
                            first_n=n,
                            op=Op.INSERT,
                            stamp=f"stamp-{n}",
                        )
                    ],
                    outcomes=(),
                )
            number(subject.store)
        with subject.store.write() as transaction:
            transaction.trim(until_seq=1)
        found = [(entry.replica, entry.n, entry.stamp) for entry in log_of(subject.store)]
        assert found == [("r", 2, "stamp-2"), ("r", 3, "stamp-3")]

    def test_a_reader_keeps_what_is_trimmed_meanwhile(self, subject: StoreSubject) -> None:
        _commits(subject, "abc")
        with subject.store.read() as transaction:
            touches = all_touched(transaction)
            with subject.store.write() as writing:
                writing.trim(until_seq=3)
            assert all_touched(transaction) == touches
            assert transaction.trimmed_seq() == 0

    def test_everything_is_there_after_opening_again(self, subject: StoreSubject) -> None:
        _commits(subject, "ab")
        with subject.store.write() as transaction:
            transaction.add_replica(_replica())
            transaction.add_token("hash", principal=ANNA, label="till", now_ms=1)
            assert transaction.rules() == ""
            transaction.keep_rules("first")
            transaction.keep_rules("text")
            assert transaction.rules() == "text"
            block = leased(transaction, "person", "r", size=10)
            transaction.trim(until_seq=1)
        with subject.store.read() as transaction:
            head, log = transaction.head(), log_of(subject.store)
        subject.reopen()
        with subject.store.read() as transaction:
            assert transaction.head() == head
            assert transaction.trimmed_seq() == 1
            assert transaction.commit(1) is not None
            assert transaction.replica("r") == _replica()
            assert transaction.principal_of("hash") == ANNA
            assert transaction.rules() == "text"
            assert set(transaction.schemas()) == {schema.name for schema in STANDARD_SCHEMAS}
        assert log_of(subject.store) == log
        _commits(subject, "c")
        assert log_of(subject.store)[-1].seq == 3
        with subject.store.write() as transaction:
            assert leased(transaction, "person", "r", size=10)[0] > block[1]

    def test_a_store_may_be_closed_twice(self, subject: StoreSubject) -> None:
        subject.store.close()
        subject.store.close()

    def test_uninstalling_leaves_the_rows_and_stops_capture(self, subject: StoreSubject) -> None:
        with subject.store.read() as transaction:
            schemas: list[TableSchema] = list(transaction.schemas().values())
            epoch = transaction.head().epoch
        _commits(subject, "ab")
        subject.store.uninstall()
        with subject.foreign() as program:
            program.update("parent", ("a",), {"name": "unseen"})
            program.delete("parent", ("b",))

        subject.store.track(schemas)
        with subject.store.read() as transaction:
            head = transaction.head()
            assert (head.seq, head.nonce, transaction.last_change_id()) == (0, "", 0)
            assert head.epoch != epoch
            assert set(transaction.schemas()) == {schema.name for schema in schemas}
        assert rows_of(subject.store, "parent") == [parent("a", name="unseen")]
        _commits(subject, "c")
        assert [entry.seq for entry in log_of(subject.store)] == [1, 1]


def _replica() -> ReplicaRecord:
    return ReplicaRecord(
        id="r",
        principal="anna",
        name="",
        last_n=0,
        known_n=0,
        created_ms=1_000,
        seen_ms=1_000,
        seen_seq=0,
    )
