"""Net writes are applied as one step: constraints judge its end, and survivors stay alive."""

from __future__ import annotations

import pytest

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.values import Row
from reunite.engine.ports import Writes
from reunite.errors import ConstraintError
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


def _apply(subject: StoreSubject, step: Writes) -> None:
    with subject.store.write() as transaction:
        transaction.apply(step)


def _refused(subject: StoreSubject, step: Writes) -> ConstraintError:
    """Apply a step that must fail, and see that it did nothing and the transaction goes on."""
    tables = ("parent", "child", "note", "person", "sample")
    with subject.store.write() as transaction:
        transaction.apply(writes(inserts={"sample": [_sample("before")]}))
        rows = [all_rows(transaction, table) for table in tables]
        fresh = transaction.fresh()
        with pytest.raises(ConstraintError) as refusal:
            transaction.apply(step)
        assert [all_rows(transaction, table) for table in tables] == rows
        assert transaction.fresh() == fresh
        transaction.apply(writes(inserts={"sample": [_sample("after")]}))
    assert rows_of(subject.store, "sample") == [_sample("after"), _sample("before")]
    with subject.foreign() as program:
        program.delete("sample", ("before",))
        program.delete("sample", ("after",))
    return refusal.value


def _sample(id_: str) -> Row:
    return id_, *[None] * (len(SAMPLE.columns) - 1)


class ApplyingContract:
    def test_rows_inserted_without_a_way_back_are_rows_like_others(
        self, subject: StoreSubject
    ) -> None:
        with subject.store.write() as transaction:
            rows = {"child": [child(1, "p")], "parent": [parent("p")]}
            transaction.apply(writes(inserts=rows), has_way_back=False)
            assert {touch.table for touch in transaction.fresh()} == {"parent", "child"}
        assert rows_of(subject.store, "parent") == [parent("p")]
        assert rows_of(subject.store, "child") == [child(1, "p")]
        with pytest.raises(ConstraintError), subject.store.write() as transaction:
            rows = {"parent": [parent("q"), parent("p")]}
            transaction.apply(writes(inserts=rows), has_way_back=False)
        assert rows_of(subject.store, "parent") == [parent("p")]
        assert len(log_of(subject.store)) == 2

    def test_inserts_updates_and_deletes_are_one_step(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="one"), parent("gone"))
            inserted(program, NOTE, ("n", 1, "old"), ("n", 2, "gone"))
        before = last_id_of(subject.store)
        _apply(
            subject,
            writes(
                inserts={"parent": [parent("q")], "child": [child(1, "q"), child(2, "p")]},
                updates={
                    "parent": [update(("p",), name="two", code="c")],
                    "note": [update(("n", 1), body="new")],
                },
                deletes={"parent": [("gone",)], "note": [("n", 2)]},
            ),
        )
        assert rows_of(subject.store, "parent") == [parent("p", name="two", code="c"), parent("q")]
        assert rows_of(subject.store, "child") == [child(1, "q"), child(2, "p")]
        assert rows_of(subject.store, "note") == [("n", 1, "new")]
        entries = log_of(subject.store, after_id=before)
        logged = {(entry.table, entry.key): (entry.op, entry.old) for entry in entries}
        assert logged == {
            ("parent", ("q",)): (Op.INSERT, None),
            ("child", (1,)): (Op.INSERT, None),
            ("child", (2,)): (Op.INSERT, None),
            ("parent", ("p",)): (Op.UPDATE, parent("p", name="one")),
            ("note", ("n", 1)): (Op.UPDATE, ("n", 1, "old")),
            ("parent", ("gone",)): (Op.DELETE, parent("gone")),
            ("note", ("n", 2)): (Op.DELETE, ("n", 2, "gone")),
        }

    def test_an_empty_step_does_nothing(self, subject: StoreSubject) -> None:
        _apply(subject, writes())
        assert log_of(subject.store) == []

    def test_updates_of_one_step_may_set_different_columns(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, *map(parent, "pqr"))
        changes = [
            update(("p",), name="p"),
            update(("q",), code="q"),
            update(("r",), code="r", name="r"),
        ]
        _apply(subject, writes(updates={"parent": changes}))
        assert rows_of(subject.store, "parent") == [
            parent("p", name="p"),
            parent("q", code="q"),
            parent("r", name="r", code="r"),
        ]

    def test_an_update_that_changes_nothing_is_harmless(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="one"), parent("q"))
        changes = [update(("p",)), update(("q",), name="q"), update(("missing",), name="x")]
        _apply(subject, writes(updates={"parent": changes}))
        assert rows_of(subject.store, "parent") == [parent("p", name="one"), parent("q", name="q")]
        _apply(subject, writes(deletes={"parent": [("missing",)]}))
        assert len(rows_of(subject.store, "parent")) == 2

    # --- Swaps ----------------------------------------------------------------------------------

    def test_unique_values_are_swapped_and_children_survive(self, subject: StoreSubject) -> None:
        """The parents are updated, never deleted and inserted, so nothing cascades."""
        parents = [parent("p", code="x"), parent("q", code="y"), parent("r", code="z")]
        children = [child(1, "p"), child(2, "q"), child(3, "r")]
        with subject.foreign() as program:
            inserted(program, PARENT, *parents)
            inserted(program, CHILD, *children)
        before = last_id_of(subject.store)
        changes = [
            update(("p",), code="y"),
            update(("q",), code="z", name="q"),
            update(("r",), code="x"),
        ]
        _apply(subject, writes(updates={"parent": changes}))

        assert rows_of(subject.store, "parent") == [
            parent("p", code="y"),
            parent("q", code="z", name="q"),
            parent("r", code="x"),
        ]
        assert rows_of(subject.store, "child") == children
        entries = log_of(subject.store, after_id=before)
        assert {(entry.table, entry.op) for entry in entries} == {("parent", Op.UPDATE)}
        first_image = {entry.key: entry.old for entry in reversed(entries)}
        assert first_image == {row[:1]: row for row in parents}

    def test_swapped_unique_values_may_be_required_ones(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PERSON, (1, "a@x", None), (2, "b@x", 1), (3, None, 2))
        changes = [
            update((1,), email="b@x", boss_id=None),
            update((2,), email=None),
            update((3,), email="a@x"),
        ]
        _apply(subject, writes(updates={"person": changes}))
        assert rows_of(subject.store, "person") == [
            (1, "b@x", None),
            (2, None, 1),
            (3, "a@x", 2),
        ]

    def test_keys_are_swapped_and_children_follow(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="one"), parent("q", name="two"))
            inserted(program, CHILD, child(1, "p"), child(2, "q"))
        _apply(
            subject,
            writes(updates={"parent": [update(("p",), id="q"), update(("q",), id="p")]}),
        )
        assert rows_of(subject.store, "parent") == [
            parent("p", name="two"),
            parent("q", name="one"),
        ]
        assert rows_of(subject.store, "child") == [child(1, "q"), child(2, "p")]

    def test_a_moved_row_keeps_its_children_and_is_logged_under_both_keys(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", code="c"))
            inserted(program, CHILD, child(1, "p"))
        before = last_id_of(subject.store)
        _apply(subject, writes(updates={"parent": [update(("p",), id="q", name="moved")]}))

        assert rows_of(subject.store, "parent") == [parent("q", name="moved", code="c")]
        assert rows_of(subject.store, "child") == [child(1, "q")]
        moved, followed = log_of(subject.store, after_id=before)
        assert (moved.key, moved.old_key, moved.old) == (("q",), ("p",), parent("p", code="c"))
        assert (followed.key, followed.old_key, followed.old) == ((1,), None, child(1, "p"))

    @pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "updated"])
    def test_a_unique_value_given_up_may_be_taken_in_the_same_step(
        self, subject: StoreSubject, is_deleted: bool
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", code="x"), parent("q", code="y"))
        step = (
            writes(
                inserts={"parent": [parent("new", code="x")]},
                updates={"parent": [update(("q",), code=None)]},
                deletes={"parent": [("p",)]},
            )
            if is_deleted
            else writes(
                inserts={"parent": [parent("new", code="x")]},
                updates={"parent": [update(("p",), code="y"), update(("q",), code=None)]},
            )
        )
        _apply(subject, step)
        assert row_of(subject.store, "parent", ("new",)) == parent("new", code="x")
        assert row_of(subject.store, "parent", ("q",)) == parent("q")
        assert row_of(subject.store, "parent", ("p",)) == (
            None if is_deleted else parent("p", code="y")
        )

    def test_an_update_may_take_the_unique_value_of_a_deleted_row(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", code="x"), parent("q", code="y"))
            inserted(program, CHILD, child(1, "q"))
        _apply(
            subject,
            writes(updates={"parent": [update(("q",), code="x")]}, deletes={"parent": [("p",)]}),
        )
        assert rows_of(subject.store, "parent") == [parent("q", code="x")]
        assert rows_of(subject.store, "child") == [child(1, "q")]

    # --- Foreign keys ---------------------------------------------------------------------------

    def test_tables_may_stand_in_any_order(self, subject: StoreSubject) -> None:
        children = [child(1, "p", note=("n", 1)), child(2, "q")]
        _apply(
            subject,
            writes(
                inserts={
                    "child": children,
                    "note": [("n", 1, None)],
                    "parent": [parent("p"), parent("q")],
                }
            ),
        )
        assert rows_of(subject.store, "child") == children
        _apply(subject, writes(deletes={"parent": [("q",), ("p",)], "child": [(2,), (1,)]}))
        assert rows_of(subject.store, "child") == []
        assert rows_of(subject.store, "parent") == []

    def test_rows_that_point_to_each_other_stand_in_any_order(self, subject: StoreSubject) -> None:
        people: list[Row] = [(1, None, 3), (2, None, 1), (3, None, 2)]
        _apply(subject, writes(inserts={"person": people}))
        assert rows_of(subject.store, "person") == people
        _apply(subject, writes(deletes={"person": [(1,), (2,), (3,)]}))
        assert rows_of(subject.store, "person") == []

    def test_a_child_pointed_elsewhere_outlives_its_parent(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("q"))
            inserted(program, CHILD, child(1, "p"), child(2, "p"))
        _apply(
            subject,
            writes(
                updates={"child": [update((1,), parent_id="q")]},
                deletes={"parent": [("p",)]},
            ),
        )
        assert rows_of(subject.store, "child") == [child(1, "q")]

    def test_a_child_may_be_given_to_a_parent_of_the_same_step(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
            inserted(program, CHILD, child(1, "p"), child(2, None))
        _apply(
            subject,
            writes(
                inserts={"parent": [parent("new")]},
                updates={
                    "child": [update((1,), parent_id="new"), update((2,), parent_id="moved")],
                    "parent": [update(("p",), id="moved")],
                },
            ),
        )
        assert rows_of(subject.store, "child") == [child(1, "new"), child(2, "moved")]

    def test_a_delete_cascades_and_sets_null(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("q"))
            inserted(program, NOTE, ("n", 1, None))
            inserted(program, CHILD, child(1, "p"), child(2, "q", note=("n", 1)))
        before = last_id_of(subject.store)
        _apply(subject, writes(deletes={"parent": [("p",)], "note": [("n", 1)]}))

        assert rows_of(subject.store, "child") == [child(2, "q")]
        entries = log_of(subject.store, after_id=before)
        images = {(entry.table, entry.key): (entry.op, entry.old) for entry in entries}
        assert images == {
            ("parent", ("p",)): (Op.DELETE, parent("p")),
            ("note", ("n", 1)): (Op.DELETE, ("n", 1, None)),
            ("child", (1,)): (Op.DELETE, child(1, "p")),
            ("child", (2,)): (Op.UPDATE, child(2, "q", note=("n", 1))),
        }

    # --- Refusals -------------------------------------------------------------------------------

    def test_a_unique_value_taken_twice_is_refused(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", code="x"), parent("q", code="y"))
        for step in (
            writes(inserts={"parent": [parent("r", code="z"), parent("s", code="x")]}),
            writes(inserts={"parent": [parent("r", code="z"), parent("s", code="z")]}),
            writes(updates={"parent": [update(("p",), name="n", code="y")]}),
            writes(updates={"parent": [update(("p",), code="z"), update(("q",), code="z")]}),
        ):
            error = _refused(subject, step)
            assert (error.code, error.table, error.columns) == ("unique", "parent", ("code",))

    def test_a_key_taken_twice_is_refused(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, "old"), ("n", 2, "old"))
        error = _refused(subject, writes(inserts={"note": [("m", 1, None), ("n", 1, "new")]}))
        assert (error.code, error.table, error.columns) == ("unique", "note", ("a", "b"))
        error = _refused(subject, writes(updates={"note": [update(("n", 1), b=2)]}))
        assert (error.code, error.table, error.columns) == ("unique", "note", ("a", "b"))

    def test_a_missing_value_is_refused(self, subject: StoreSubject) -> None:
        row = child(1, None)
        without_title = (*row[:4], None, 0)
        error = _refused(subject, writes(inserts={"child": [without_title]}))
        assert (error.code, error.table, error.columns) == ("not-null", "child", ("title",))

    def test_a_row_that_points_nowhere_is_refused(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
            inserted(program, CHILD, child(1, "p"))
        error = _refused(
            subject,
            writes(
                inserts={"child": [child(2, "p"), child(3, "nobody")]},
                updates={"child": [update((1,), title="new")]},
            ),
        )
        assert error.code == "foreign-key"
        assert error.table in (None, "child")

    def test_a_row_that_others_still_point_to_is_not_deleted(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PERSON, (1, None, None), (2, None, 1))
        error = _refused(subject, writes(deletes={"person": [(1,)]}))
        assert error.code == "foreign-key"

    def test_a_key_that_others_still_point_to_is_not_moved(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, None))
            inserted(program, CHILD, child(1, None, note=("n", 1)))
        error = _refused(subject, writes(updates={"note": [update(("n", 1), b=7)]}))
        assert error.code == "foreign-key"
        _apply(
            subject,
            writes(
                updates={
                    "note": [update(("n", 1), b=7)],
                    "child": [update((1,), note_b=7)],
                }
            ),
        )
        assert rows_of(subject.store, "child") == [child(1, None, note=("n", 7))]

    def test_a_partly_null_reference_points_nowhere_and_is_allowed(
        self, subject: StoreSubject
    ) -> None:
        row = child(1, None, note=("nobody", None))
        _apply(subject, writes(inserts={"child": [row]}))
        assert rows_of(subject.store, "child") == [row]

    # --- Size -----------------------------------------------------------------------------------

    def test_thousands_of_rows_are_one_step(self, subject: StoreSubject) -> None:
        count = 3_000
        parents = [parent(f"p{i:04}", code=f"c{i}") for i in range(count)]
        children = [child(i + 1, f"p{i:04}", amount=i) for i in range(count)]
        _apply(subject, writes(inserts={"child": children, "parent": parents}))
        keys: list[Key] = [row[:1] for row in parents]
        # Each takes the code of its neighbour, in a ring; every third one goes.
        changes = [update(keys[i], code=f"c{(i + 1) % count}") for i in range(count) if i % 3]
        _apply(subject, writes(updates={"parent": changes}, deletes={"parent": keys[::3]}))

        left = [i for i in range(count) if i % 3]
        assert rows_of(subject.store, "parent") == [
            parent(f"p{i:04}", code=f"c{(i + 1) % count}") for i in left
        ]
        assert rows_of(subject.store, "child") == [children[i] for i in left]
        with subject.store.read() as transaction:
            assert len(transaction.entries("parent", keys, after_id=2 * count)) >= count
