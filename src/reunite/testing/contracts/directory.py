"""Records of the directory, and the stamps that stand for them."""

from __future__ import annotations

import pytest

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
from reunite.testing.contracts.tables import StoreSubject

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
