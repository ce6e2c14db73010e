"""Squash: the squashed changes leave the tables as the given ones do.

The model is as small as can be: a table is a dict of rows by key, a change is carried out or it is
an error, and `was` must be what the row has.
"""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.change import Change, Op
from reunite.core.key import Key
from reunite.core.squash import squash
from reunite.core.values import is_written_alike

Tables = dict[tuple[str, Key], dict[str, Any]]

KEYS = [(1,), (2,), (3,)]
VALUES = st.sampled_from([None, 0, 1, "1", True, [1], {"x": 1.0}])


def carry_out(tables: Tables, change: Change) -> None:
    was = dict(zip(change.columns, change.was, strict=True)) if change.was else {}
    values = dict(zip(change.columns, change.set, strict=True)) if change.set else {}
    source = (change.table, change.old_key or change.key)
    if change.op is Op.INSERT:
        assert source not in tables
        tables[source] = values
        return
    row = tables.pop(source)
    for column, value in was.items():
        assert is_written_alike(row[column], value), "`was` is what the row had"
    if change.op is Op.UPDATE:
        assert (change.table, change.key) not in tables
        tables[change.table, change.key] = row | values


@st.composite
def groups(draw: st.DrawFn) -> tuple[Tables, list[Change]]:
    """Some rows, and changes that can be carried out on them one after the other."""
    tables: Tables = {}
    for table in ("t", "u"):
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
            tables[table, key] = {"id": key[0], "a": draw(VALUES), "b": draw(VALUES)}
    before = {key: dict(row) for key, row in tables.items()}
    changes: list[Change] = []
    for n in range(1, draw(st.integers(0, 12)) + 1):
        table, key = draw(st.sampled_from(["t", "t", "t", "u"])), draw(st.sampled_from(KEYS))
        change = Change(id=f"c{n}", n=n, table=table, op=Op.INSERT, key=key, stamp=f"s{n}", mark=n)
        row = tables.get((table, key))
        if row is None:
            named = {"id": key[0], "a": draw(VALUES), "b": draw(VALUES)}
            change = replaced(change, set=named)
        elif draw(st.integers(0, 3)) == 0:
            change = replaced(change, op=Op.DELETE, was=row)
        else:
            columns = draw(st.lists(st.sampled_from(["a", "b"]), unique=True))
            named = {column: draw(VALUES) for column in columns}
            free = [other for other in KEYS if (table, other) not in tables]
            if free and draw(st.booleans()):
                target = draw(st.sampled_from(free))
                change = replaced(change, old_key=key, key=target)
                named["id"] = target[0]
            change = replaced(
                change, op=Op.UPDATE, set=named, was={column: row[column] for column in named}
            )
        carry_out(tables, change)
        changes.append(change)
    return before, changes


def replaced(change: Change, **fields: Any) -> Change:
    for name in ("set", "was"):
        if name in fields:
            fields["columns"] = tuple(fields[name])
            fields[name] = tuple(fields[name].values())
    return msgspec.structs.replace(change, **fields)


def outcome(before: Tables, changes: Any) -> Tables:
    tables = {key: dict(row) for key, row in before.items()}
    for change in changes:
        carry_out(tables, change)
    return tables


@given(groups())
def test_squashed_changes_leave_the_tables_as_the_given_ones_do(
    drawn: tuple[Tables, list[Change]],
) -> None:
    before, changes = drawn
    squashed = squash(changes)
    end, expected = outcome(before, squashed), outcome(before, changes)
    assert end.keys() == expected.keys()
    for key, row in expected.items():
        assert all(is_written_alike(end[key][column], value) for column, value in row.items())


@given(groups())
def test_order_numbers_and_marks(drawn: tuple[Tables, list[Change]]) -> None:
    """In order of numbers; id, number and stamp are the last one's, the mark an earlier one's."""
    _, changes = drawn
    by_id = {change.id: change for change in changes}
    squashed = squash(changes)
    assert [change.n for change in squashed] == sorted({change.n for change in squashed})
    for change in squashed:
        last = by_id[change.id]
        assert (change.n, change.stamp, change.table) == (last.n, last.stamp, last.table)
        assert change.mark <= last.mark


@given(groups())
def test_a_row_whose_keys_are_its_own_has_one_change(drawn: tuple[Tables, list[Change]]) -> None:
    """Without reused keys and moves nothing is left alone."""
    _, changes = drawn
    touched: dict[tuple[str, Key], list[Change]] = {}
    for change in changes:
        for key in {change.key, change.old_key or change.key}:
            touched.setdefault((change.table, key), []).append(change)
    squashed = squash(changes)
    for (table, key), history in touched.items():
        is_plain = all(change.old_key is None for change in history)
        if is_plain and all(change.op is not Op.INSERT for change in history[1:]):
            assert sum((change.table, change.key) == (table, key) for change in squashed) <= 1


def test_a_single_change_is_left_alone_even_if_it_does_nothing() -> None:
    change = Change(
        id="c1",
        n=1,
        table="t",
        op=Op.UPDATE,
        key=(1,),
        columns=("a",),
        set=(1,),
        was=(1,),
        stamp="",
    )
    assert squash([change]) == (change,)


def test_updates_that_do_not_know_what_was_become_one_that_does_not_either() -> None:
    def update(n: int, **values: Any) -> Change:
        change = Change(id=f"c{n}", n=n, table="t", op=Op.UPDATE, key=(1,), stamp=f"s{n}")
        return replaced(change, set=values)

    (joined,) = squash([update(1, a=1), update(2, a=None, b=2)])
    assert (joined.columns, joined.set, joined.was) == (("a", "b"), (None, 2), ())
    (joined,) = squash([replaced(update(1, a=1), was={"a": 0}), update(2, a=0, b=2)])
    assert (joined.columns, joined.set, joined.was) == (("b",), (2,), ())
