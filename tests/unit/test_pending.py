"""Pending changes on top of the hub's rows, and keys that move."""

from __future__ import annotations

from reunite.core.change import Op
from reunite.core.schema import Column, ColumnMerge, ColumnType, ForeignKey, TableSchema
from reunite.protocol.register import KeyBlock
from reunite.replica.pending import Pending, fold, misplaced, move_keys

ORDER = TableSchema(
    name="order",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="stock", type=ColumnType.INTEGER, merge=ColumnMerge.COUNTER),
        Column(name="next_id", type=ColumnType.INTEGER),
    ),
    key=("id",),
    generated_key=True,
    foreign_keys=(ForeignKey(columns=("next_id",), parent="order", parent_columns=("id",)),),
)
LINE = TableSchema(
    name="line",
    columns=(
        Column(name="id", type=ColumnType.TEXT),
        Column(name="order_id", type=ColumnType.INTEGER),
    ),
    key=("id",),
    foreign_keys=(ForeignKey(columns=("order_id",), parent="order", parent_columns=("id",)),),
)
SCHEMAS = {"order": ORDER, "line": LINE}


def pending(n: int, table: str, op: Op, old: tuple | None, row: tuple | None) -> Pending:  # type: ignore[type-arg]
    known = row or old
    assert known is not None
    key = (known[0],)
    old_key = (old[0],) if old and row and old[0] != row[0] else None
    return Pending(
        id=n,
        uid=f"{n:032x}",
        n=n,
        group=1,
        table=table,
        op=op,
        key=key,
        old_key=old_key,
        old=old,
        row=row,
        stamp="",
        mark=0,
        covered=0,
        at_ms=0,
    )


def test_a_counter_is_shown_as_the_hubs_value_with_the_pending_difference() -> None:
    changes = [pending(1, "order", Op.UPDATE, (1, 10, None), (1, 7, None))]
    assert fold(SCHEMAS, changes, lambda place: (1, 20, None)) == {("order", (1,)): (1, 17, None)}


def test_an_insert_whose_generated_key_the_hub_gave_to_another_row_collides() -> None:
    changes = [pending(1, "order", Op.INSERT, None, (5, 0, None))]
    collisions: list[int] = []
    fold(SCHEMAS, changes, lambda place: (5, 3, None), collisions)
    assert collisions == [0]


def test_a_row_replaced_under_its_own_key_does_not_collide() -> None:
    changes = [
        pending(1, "order", Op.DELETE, (5, 3, None), None),
        pending(2, "order", Op.INSERT, None, (5, 0, None)),
    ]
    shown = fold(SCHEMAS, changes, lambda place: (5, 4, None))
    assert shown == {("order", (5,)): (5, 0, None)}


def test_later_changes_and_pointers_follow_a_moved_row() -> None:
    changes = [
        pending(1, "line", Op.INSERT, None, ("a", 5)),  # before: means the hub's 5
        pending(2, "order", Op.INSERT, None, (5, 0, 5)),  # points to itself
        pending(3, "line", Op.INSERT, None, ("b", 5)),
        pending(4, "order", Op.UPDATE, (5, 0, 5), (5, 1, 5)),
        pending(5, "line", Op.UPDATE, ("b", 5), ("b", None)),
    ]
    move_keys(SCHEMAS, changes, {1: (1001,)})
    assert changes[0].row == ("a", 5)
    assert changes[1].row == (1001, 0, 1001)
    assert changes[2].row == ("b", 1001)
    assert (changes[3].key, changes[3].old, changes[3].row) == (
        (1001,),
        (1001, 0, 1001),
        (1001, 1, 1001),
    )
    assert (changes[4].old, changes[4].row) == (("b", 1001), ("b", None))


def test_a_second_row_under_the_same_key_stays_where_it_is() -> None:
    changes = [
        pending(1, "order", Op.INSERT, None, (5, 0, None)),
        pending(2, "order", Op.DELETE, (5, 0, None), None),
        pending(3, "order", Op.INSERT, None, (5, 9, None)),
        pending(4, "line", Op.INSERT, None, ("b", 5)),
    ]
    move_keys(SCHEMAS, changes, {0: (1001,)})
    assert [change.key for change in changes] == [(1001,), (1001,), (5,), ("b",)]
    assert changes[3].row == ("b", 5)


def test_a_row_moved_on_by_its_owner_keeps_its_last_key() -> None:
    changes = [
        pending(1, "order", Op.INSERT, None, (5, 0, None)),
        pending(2, "order", Op.UPDATE, (5, 0, None), (77, 0, None)),
        pending(3, "order", Op.UPDATE, (77, 0, None), (77, 1, None)),
    ]
    move_keys(SCHEMAS, changes, {0: (1001,)})
    assert [(change.old_key, change.key) for change in changes] == [
        (None, (1001,)),
        ((1001,), (77,)),
        (None, (77,)),
    ]


def test_hub_rows_that_point_to_the_old_key_never_follow() -> None:
    changes = [
        pending(1, "order", Op.INSERT, None, (5, 0, None)),
        pending(2, "line", Op.UPDATE, ("h", 5), ("h", 5)),  # carries the hub's pointer along
    ]
    move_keys(SCHEMAS, changes, {0: (1001,)})
    assert changes[1].row == ("h", 5)


def test_an_insert_outside_the_blocks_is_misplaced_unless_its_group_freed_the_key() -> None:
    changes = [
        pending(1, "order", Op.INSERT, None, (5, 0, None)),
        pending(2, "order", Op.INSERT, None, (1001, 0, None)),
        pending(3, "order", Op.DELETE, (6, 0, None), None),
        pending(4, "order", Op.INSERT, None, (6, 1, None)),
    ]
    granted = [KeyBlock(table="order", first=1001, last=2000)]
    assert misplaced(SCHEMAS, changes, granted) == {1}


def test_many_rows_move_in_one_pass() -> None:
    changes = [pending(n, "order", Op.INSERT, None, (n, 0, n - 1)) for n in range(1, 2001)]
    move_keys(SCHEMAS, changes, {i: (5000 + i,) for i in range(2000)})
    assert changes[0].row == (5000, 0, 0)
    assert [change.row for change in changes[1:]] == [
        (5000 + i, 0, 4999 + i) for i in range(1, 2000)
    ]
