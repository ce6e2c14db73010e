"""The log holds every write, whoever made it, with what the row was (invariant I11)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from reunite.core.change import Op
from reunite.core.values import Row, Value
from reunite.engine.ports import LogEntry
from reunite.errors import ConstraintError, UnknownTableError
from reunite.testing.contracts.asking import (
    all_rows,
    last_id_of,
    log_of,
    row_of,
    rows_of,
)
from reunite.testing.contracts.tables import (
    CHILD,
    NOTE,
    PARENT,
    PERSON,
    SAMPLE,
    StoreSubject,
    child,
    inserted,
    parent,
    update,
    writes,
)


class _Undo(Exception):  # noqa: N818 - it is no error
    """Raised by tests to leave a transaction."""


def _short(entries: Sequence[LogEntry]) -> list[tuple[str, Op, object, object]]:
    return [(entry.table, entry.op, entry.key, entry.old) for entry in entries]


class CaptureContract:
    def test_each_write_of_another_program_is_logged_with_the_row_as_it_was(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            program.insert("parent", {"id": "p", "name": "one"})
            program.update("parent", ("p",), {"name": "two"})
            program.delete("parent", ("p",))

        entries = log_of(subject.store)
        assert _short(entries) == [
            ("parent", Op.INSERT, ("p",), None),
            ("parent", Op.UPDATE, ("p",), parent("p", name="one")),
            ("parent", Op.DELETE, ("p",), parent("p", name="two")),
        ]
        assert [entry.old_columns for entry in entries] == [PARENT.column_names] * 3
        ids = [entry.id for entry in entries]
        assert ids == sorted(set(ids))
        assert {entry.old_key for entry in entries} == {None}

    def test_what_was_made_at_the_hub_has_no_replica_and_no_stamp(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))

        (entry,) = log_of(subject.store)
        assert (entry.replica, entry.principal, entry.n) == (None, None, None)
        assert (entry.pushed_op, entry.stamp) == (None, None)

    def test_a_cascading_delete_logs_the_parent_and_then_each_child(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("q"))
            inserted(program, CHILD, child(1, "p"), child(2, "p"), child(3, "q"))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.delete("parent", ("p",))

        first, *others = _short(log_of(subject.store, after_id=before))
        assert first == ("parent", Op.DELETE, ("p",), parent("p"))
        assert sorted(others, key=lambda entry: str(entry[2])) == [
            ("child", Op.DELETE, (1,), child(1, "p")),
            ("child", Op.DELETE, (2,), child(2, "p")),
        ]
        assert rows_of(subject.store, "child") == [child(3, "q")]

    def test_a_reference_set_to_null_is_logged_as_an_update_of_its_row(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, "body"))
            inserted(program, CHILD, child(1, None, note=("n", 1)))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.delete("note", ("n", 1))

        assert _short(log_of(subject.store, after_id=before)) == [
            ("note", Op.DELETE, ("n", 1), ("n", 1, "body")),
            ("child", Op.UPDATE, (1,), child(1, None, note=("n", 1))),
        ]
        assert row_of(subject.store, "child", (1,)) == child(1, None)

    def test_a_key_update_is_one_entry_with_both_keys(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, "body"))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.update("note", ("n", 1), {"b": 2})

        (entry,) = log_of(subject.store, after_id=before)
        assert (entry.op, entry.key, entry.old_key) == (Op.UPDATE, ("n", 2), ("n", 1))
        assert entry.old == ("n", 1, "body")

    def test_children_that_follow_a_moved_parent_are_logged(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
            inserted(program, CHILD, child(1, "p"))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.update("parent", ("p",), {"id": "q"})

        assert _short(log_of(subject.store, after_id=before)) == [
            ("parent", Op.UPDATE, ("q",), parent("p")),
            ("child", Op.UPDATE, (1,), child(1, "p")),
        ]
        assert row_of(subject.store, "child", (1,)) == child(1, "q")

    def test_rows_replaced_by_an_insert_are_logged_with_their_old_image(
        self, subject: StoreSubject
    ) -> None:
        """One row is in the way by its key, another by a unique value."""
        with subject.foreign() as program:
            inserted(program, PERSON, (1, "a@x", None), (2, "b@x", None))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.replace("person", {"id": 1, "email": "b@x"})

        entries = log_of(subject.store, after_id=before)
        old_by_key = {entry.key: entry.old for entry in entries if entry.old is not None}
        assert old_by_key == {(1,): (1, "a@x", None), (2,): (2, "b@x", None)}
        assert rows_of(subject.store, "person") == [(1, "b@x", None)]

    def test_children_lost_to_a_replaced_parent_are_logged(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="one"))
            inserted(program, CHILD, child(1, "p"))
        before = last_id_of(subject.store)
        with subject.foreign() as program:
            program.replace("parent", {"id": "p", "name": "two"})

        entries = _short(log_of(subject.store, after_id=before))
        assert ("child", Op.DELETE, (1,), child(1, "p")) in entries
        assert rows_of(subject.store, "parent") == [parent("p", name="two")]
        assert rows_of(subject.store, "child") == []

    def test_a_generated_key_is_logged_as_the_database_made_it(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            first = program.insert("person", {"email": "a@x"})
            second = program.insert("person", {"email": "b@x"})

        assert [entry.key for entry in log_of(subject.store)] == [first, second]
        assert [row[:1] for row in rows_of(subject.store, "person")] == [first, second]

    def test_values_of_every_type_come_back_as_they_went_in(self, subject: StoreSubject) -> None:
        """From the table, and from the image that a trigger took."""
        values: dict[str, Value] = {
            "id": "s",
            "a_integer": "9007199254740993",
            "a_real": 0.1,
            "a_blob": "AP8=",
            "a_boolean": True,
            "a_decimal": "1.25",
            "a_date": "2024-02-29",
            "a_time": "23:59:59",
            "a_datetime": "2024-02-29T23:59:59.000001Z",
            "a_uuid": "0190163d-8694-739b-aea5-966c26f8ad91",
            "a_json": {"list": [1, None, "ä"], "yes": True},
            "a_any": "reunite:blob:AP8=",
        }
        row = tuple(values[name] for name in SAMPLE.column_names)
        nothing: Row = ("empty", *[None] * (len(row) - 1))
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"sample": [row, nothing]}))
        before = last_id_of(subject.store)
        with subject.store.write() as transaction:
            transaction.apply(writes(deletes={"sample": [("s",), ("empty",)]}))
        deleted = log_of(subject.store, after_id=before)
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"sample": [row, nothing]}))

        assert {entry.key: entry.old for entry in deleted} == {("s",): row, ("empty",): nothing}
        assert rows_of(subject.store, "sample") == [nothing, row]
        assert row_of(subject.store, "sample", ("s",)) == row
        assert row[4] is True

    def test_a_transaction_rolled_back_leaves_no_entry(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        with pytest.raises(_Undo), subject.foreign() as program:
            program.delete("parent", ("p",))
            raise _Undo
        with pytest.raises(_Undo), subject.store.write() as transaction:
            transaction.apply(writes(inserts={"parent": [parent("q")]}))
            assert len(transaction.fresh()) == 1
            raise _Undo

        assert _short(log_of(subject.store)) == [("parent", Op.INSERT, ("p",), None)]
        assert rows_of(subject.store, "parent") == [parent("p")]

    def test_a_savepoint_undone_leaves_neither_rows_nor_entries(
        self, subject: StoreSubject
    ) -> None:
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"parent": [parent("kept", code="c")]}))
            with pytest.raises(_Undo), transaction.savepoint():
                transaction.apply(
                    writes(
                        inserts={"parent": [parent("undone", code="d")]},
                        updates={"parent": [update(("kept",), code="e")]},
                    )
                )
                raise _Undo
            assert all_rows(transaction, "parent") == [parent("kept", code="c")]
            assert [touch.key for touch in transaction.fresh()] == [("kept",)]
            transaction.apply(writes(inserts={"parent": [parent("later", code="d")]}))

        assert [entry.key for entry in log_of(subject.store)] == [("kept",), ("later",)]

    def test_savepoints_nest(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            with transaction.savepoint():
                transaction.apply(writes(inserts={"parent": [parent("outer")]}))
                with pytest.raises(_Undo), transaction.savepoint():
                    transaction.apply(writes(inserts={"parent": [parent("inner")]}))
                    raise _Undo
                with transaction.savepoint():
                    transaction.apply(writes(inserts={"parent": [parent("second")]}))
            with pytest.raises(_Undo), transaction.savepoint():
                with transaction.savepoint():
                    transaction.apply(writes(inserts={"parent": [parent("lost")]}))
                raise _Undo

        assert rows_of(subject.store, "parent") == [parent("outer"), parent("second")]
        assert [entry.key for entry in log_of(subject.store)] == [("outer",), ("second",)]

    def test_what_a_hook_writes_belongs_to_the_transaction(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"parent": [parent("p")]}))
            with transaction.lent() as program:
                subject.writer(program).insert("note", {"a": "n", "b": 1})
            assert [touch.table for touch in transaction.fresh()] == ["parent", "note"]
            assert transaction.rows("note", [("n", 1)]) == {("n", 1): ("n", 1, None)}
        with pytest.raises(_Undo), subject.store.write() as transaction:
            with transaction.lent() as program:
                subject.writer(program).delete("note", ("n", 1))
            raise _Undo

        assert rows_of(subject.store, "note") == [("n", 1, None)]
        assert [entry.table for entry in log_of(subject.store)] == ["parent", "note"]

    def test_touched_rows_are_logged_and_stay_as_they_are(self, subject: StoreSubject) -> None:
        rows = [parent("p", name="one", code="c"), parent("q")]
        with subject.foreign() as program:
            inserted(program, PARENT, *rows)
            inserted(program, CHILD, child(1, "p"))
        before = last_id_of(subject.store)
        with subject.store.write() as transaction:
            transaction.touch("parent", [("p",), ("missing",)])

        assert _short(log_of(subject.store, after_id=before)) == [
            ("parent", Op.UPDATE, ("p",), rows[0])
        ]
        assert rows_of(subject.store, "parent") == rows
        assert rows_of(subject.store, "child") == [child(1, "p")]

    def test_fresh_entries_are_those_of_this_transaction(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        with subject.store.write() as transaction:
            assert transaction.fresh() == []
            transaction.apply(writes(updates={"parent": [update(("p",), id="q")]}))
            (touch,) = transaction.fresh()
            assert (touch.table, touch.key, touch.old_key) == ("parent", ("q",), ("p",))
            assert touch.seq is None
            assert touch.id == transaction.last_change_id()
            transaction.apply(writes(inserts={"parent": [parent("r"), parent("s")]}))
            assert [fresh.key for fresh in transaction.fresh(after_id=touch.id)] == [("r",), ("s",)]
            first, second = (fresh.id for fresh in transaction.fresh(after_id=touch.id))
            assert transaction.fresh_inserts("parent", after_id=touch.id) == (first, second)
            assert transaction.fresh_inserts("parent", after_id=first) == (second, second)
            assert transaction.fresh_inserts("parent", after_id=second) is None
            assert transaction.fresh_inserts("parent", after_id=0) is None
            assert transaction.fresh_inserts("child", after_id=touch.id) is None

    def test_an_untracked_table_is_not_captured_and_its_log_stays(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        subject.store.untrack("parent")
        with subject.foreign() as program:
            inserted(program, PARENT, parent("q"))
            inserted(program, NOTE, ("n", 1, None))

        assert [entry.key for entry in log_of(subject.store)] == [("p",), ("n", 1)]
        with subject.store.read() as transaction:
            assert "parent" not in transaction.schemas()

    def test_a_table_that_is_resent_begins_a_generation_and_is_as_it_was(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        with subject.store.read() as transaction:
            before = transaction.schemas()
        subject.store.resend("parent")
        with subject.foreign() as program:
            inserted(program, PARENT, parent("q"))
        with subject.store.read() as transaction:
            after = transaction.schemas()
        generation = after["parent"].generation
        assert generation != before["parent"].generation
        assert after == {
            **before,
            "parent": msgspec.structs.replace(before["parent"], generation=generation),
        }
        assert rows_of(subject.store, "parent") == [parent("p"), parent("q")]
        assert [entry.key for entry in log_of(subject.store)] == [("p",), ("q",)]
        with pytest.raises(UnknownTableError):
            subject.store.resend("nothing")

    def test_a_table_tracked_again_begins_another_generation(self, subject: StoreSubject) -> None:
        """What was written while it was untracked is in no log, and its readers must know."""

        def generation() -> str:
            with subject.store.read() as transaction:
                return transaction.schemas()["parent"].generation

        first = generation()
        subject.store.track([PARENT])
        assert generation() == first
        subject.store.untrack("parent")
        subject.store.track([PARENT])
        second = generation()
        subject.store.untrack("parent")
        subject.store.track([PARENT])
        assert len({first, second, generation()}) == 3
        with subject.store.read() as transaction:
            assert transaction.schemas()["parent"].version == 1

    def test_a_refused_statement_leaves_no_entry(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            with pytest.raises(ConstraintError):
                transaction.apply(writes(inserts={"child": [child(1, "nobody")]}))
            assert transaction.fresh() == []
        assert log_of(subject.store) == []
