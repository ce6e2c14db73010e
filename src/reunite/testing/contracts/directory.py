"""Records of the directory, and the stamps that stand for them."""

from __future__ import annotations

import pytest

from reunite.core.change import APPLIED, Conflict, Op, Outcome, OutcomeKind
from reunite.engine.directory import (
    GRANTS_STAMP,
    MEMBERS_STAMP,
    RECORD_KINDS,
    FilterRecord,
    MemberRecord,
    PermissionRecord,
    SessionRecord,
    TenantRecord,
    UserRecord,
)
from reunite.engine.ports import ReplicaRecord, StoredOutcome
from reunite.engine.remembered import ActRecord, HubConflictRecord, RefusalRecord, moment_id
from reunite.testing.contracts.tables import StoreSubject

REPLICA = ReplicaRecord(
    id="r1",
    principal="ann",
    name="till",
    last_n=0,
    known_n=0,
    created_ms=1,
    seen_ms=1,
    seen_seq=0,
)


def stored_outcome(n: int, outcome: Outcome) -> StoredOutcome:
    return StoredOutcome(
        replica=REPLICA.id,
        n=n,
        id=f"c{n}",
        table="t",
        op=Op.UPDATE,
        key=(n,),
        old_key=None,
        outcome=outcome,
    )


_BIG = 2**53


class DirectoryRecordsContract:
    """What `Transaction.records` and its neighbours promise."""

    def test_a_record_is_kept_and_found_by_its_fields(self, subject: StoreSubject) -> None:
        ann = UserRecord(name="ann", claims='{"teams":["é"]}', created_ms=_BIG)
        bob = UserRecord(name="Bob", is_active=False)
        with subject.store.write() as transaction:
            transaction.put_record(ann)
            transaction.put_record(bob)
            assert transaction.records(UserRecord) == [bob, ann], "by code point, and at once"
        subject.reopen()
        with subject.store.read() as transaction:
            assert transaction.records(UserRecord, name="ann") == [ann]
            assert transaction.records(UserRecord, is_active=False) == [bob]
            assert transaction.records(UserRecord, name="carl") == []
            assert transaction.records(TenantRecord) == []

    def test_a_record_takes_the_place_of_the_one_with_its_key(self, subject: StoreSubject) -> None:
        first = PermissionRecord(tenant="", role="r", table_name="t", can_push=True)
        second = PermissionRecord(tenant="", role="r", table_name="t", can_read=True)
        other = PermissionRecord(tenant="n", role="r", table_name="t")
        with subject.store.write() as transaction:
            for record in (first, other, second):
                transaction.put_record(record)
        with subject.store.read() as transaction:
            assert transaction.records(PermissionRecord, role="r") == [second, other]

    def test_a_record_that_is_all_key_may_be_put_again(self, subject: StoreSubject) -> None:
        member = MemberRecord(user_name="ann", tenant="n", role="r")
        with subject.store.write() as transaction:
            transaction.put_record(member)
            transaction.put_record(member)
            assert transaction.records(MemberRecord) == [member]

    def test_records_are_dropped_by_their_fields(self, subject: StoreSubject) -> None:
        kept = FilterRecord(tenant="n", role="r", table_name="u", name="f", condition="{}")
        with subject.store.write() as transaction:
            for name in ("a", "b"):
                transaction.put_record(
                    FilterRecord(tenant="n", role="r", table_name="t", name=name, condition="{}")
                )
            transaction.put_record(kept)
            assert transaction.drop_records(FilterRecord, tenant="n", table_name="t") == 2
            assert transaction.drop_records(FilterRecord, tenant="nobody") == 0
        with subject.store.read() as transaction:
            assert transaction.records(FilterRecord) == [kept]

    def test_records_of_a_transaction_that_fails_are_not_there(self, subject: StoreSubject) -> None:
        with pytest.raises(ZeroDivisionError), subject.store.write() as transaction:
            transaction.put_record(UserRecord(name="ann"))
            transaction.keep_stamp(MEMBERS_STAMP, "s1")
            raise ZeroDivisionError
        with subject.store.read() as transaction:
            assert transaction.records(UserRecord) == []
            assert transaction.stamp(MEMBERS_STAMP) == ""

    def test_the_latest_records_come_newest_first_and_are_counted(
        self, subject: StoreSubject
    ) -> None:
        acts = [
            ActRecord(id=moment_id(n), at_ms=n, actor="ann" if n % 2 else "bob", what="w", about="")
            for n in range(1, 6)
        ]
        with subject.store.write() as transaction:
            transaction.put_records(acts)
            transaction.put_records([])
            assert transaction.record_count(ActRecord) == 5
        subject.reopen()
        with subject.store.read() as transaction:
            newest = transaction.latest(ActRecord, limit=2)
            assert [act.at_ms for act in newest] == [5, 4]
            older = transaction.latest(ActRecord, limit=9, before=newest[-1].id)
            assert [act.at_ms for act in older] == [3, 2, 1]
            anns = transaction.latest(ActRecord, limit=9, since=moment_id(2), actor="ann")
            assert [act.at_ms for act in anns] == [5, 3]
            assert transaction.record_count(ActRecord, since=moment_id(2), actor="ann") == 2
            assert transaction.record_count(ActRecord, limit=3) == 3
        with subject.store.write() as transaction:
            assert transaction.drop_records(ActRecord, before=moment_id(4), actor="ann") == 2
            assert transaction.record_count(ActRecord) == 3
            assert transaction.drop_records(ActRecord, before=moment_id(5)) == 2

    def test_records_are_dropped_a_few_at_a_time(self, subject: StoreSubject) -> None:
        acts = [
            ActRecord(id=moment_id(n), at_ms=n, actor="ann" if n % 2 else "bob", what="w", about="")
            for n in range(9)
        ]
        users = [MemberRecord(user_name="u", tenant="t", role=f"r{n}") for n in range(3)]
        with subject.store.write() as transaction:
            transaction.put_records([*acts, *users])
            for dropped in (3, 1, 0):
                assert dropped == transaction.drop_records(
                    ActRecord, before=moment_id(8), limit=3, actor="bob"
                )
            assert [act.at_ms for act in transaction.records(ActRecord)] == [1, 3, 5, 7, 8]
            assert transaction.drop_records(ActRecord, limit=0) == 0
            assert transaction.drop_records(MemberRecord, limit=2) == 2
            assert len(transaction.records(MemberRecord)) == 1

    def test_refusals_and_conflicts_of_a_push_are_remembered(self, subject: StoreSubject) -> None:
        met = Conflict(
            column="title", base="a", hub="b", replica="c", result="b", policy="ask", is_open=True
        )
        outcomes = [
            stored_outcome(1, APPLIED),
            stored_outcome(2, Outcome(kind=OutcomeKind.REJECTED, code="unique", reason="taken")),
            stored_outcome(3, Outcome(kind=OutcomeKind.MERGED, conflicts=(met,))),
        ]
        with subject.store.write() as transaction:
            transaction.add_replica(REPLICA)
            transaction.add_push(
                replica=REPLICA.id,
                principal="ann",
                last_n=3,
                known_n=0,
                now_ms=7,
                origins=(),
                outcomes=outcomes,
            )
        subject.reopen()
        with subject.store.read() as transaction:
            (refused,) = transaction.latest(RefusalRecord, limit=9)
            (conflict,) = transaction.latest(HubConflictRecord, limit=9)
        assert (refused.change, refused.n, refused.code) == ("c2", 2, "unique")
        assert (conflict.column_name, conflict.state, conflict.place) == ("title", "open", 0)
        assert {refused.principal, conflict.principal} == {"ann"}
        assert {refused.at_ms, conflict.at_ms} == {7}

    def test_stamps_are_kept_each_by_its_name(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            assert transaction.stamp(MEMBERS_STAMP) == ""
            transaction.keep_stamp(MEMBERS_STAMP, "1")
            transaction.keep_stamp(MEMBERS_STAMP, "12")
            assert transaction.stamp(MEMBERS_STAMP) == "12"
        subject.reopen()
        with subject.store.read() as transaction:
            assert transaction.stamp(MEMBERS_STAMP) == "12"
            assert transaction.stamp(GRANTS_STAMP) == ""

    def test_a_reader_keeps_the_records_and_stamps_of_its_moment(
        self, subject: StoreSubject
    ) -> None:
        with subject.store.read() as transaction:
            assert transaction.records(SessionRecord) == []
            with subject.store.write() as writing:
                writing.put_record(UserRecord(name="ann"))
                writing.keep_stamp(GRANTS_STAMP, "later")
            assert transaction.records(UserRecord) == []
            assert transaction.stamp(GRANTS_STAMP) == ""

    def test_every_kind_has_a_place(self, subject: StoreSubject) -> None:
        with subject.store.read() as transaction:
            for kind in RECORD_KINDS:
                assert transaction.records(kind) == []
