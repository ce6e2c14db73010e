"""Merge: the laws of design section 10, for every policy, type and mixture of values."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reunite.core.merge import (
    MergeContext,
    Merged,
    conflicting_columns,
    merge_insert,
    merge_row,
    overlay,
)
from reunite.core.schema import Column, ColumnMerge, ColumnType, TableSchema
from reunite.core.values import Row, Value, is_written_alike, same
from tests.unit.strategies import ANY_VALUES, column_values, tables

STAMPS = st.sampled_from(
    ["000000000001-0000-", "000000000001-0000-a", "000000000001-0000-b", "000000000002-0000-a"]
)
DELTAS = {ColumnMerge.COUNTER, ColumnMerge.UNION}


class Meeting:
    """One change and the row it meets: what `merge_row` and its kin are called with."""

    def __init__(self, table: TableSchema, fields: dict[str, Any]) -> None:
        self.table = table
        self.fields = fields
        self.columns: tuple[str, ...] = fields["columns"]
        self.theirs: Row = fields["theirs"]

    def __repr__(self) -> str:
        return f"{self.table!r} {self.fields!r}"

    def of(self, name: str) -> tuple[Column, Value, Value, Value]:
        """The column, and the values of base, replica and hub."""
        index = self.columns.index(name)
        hub = self.theirs[self.table.position[name]]
        return self.table.column[name], self.fields["base"][index], self.fields["mine"][index], hub

    def update(self, **changes: Any) -> Merged:
        return merge_row(self.table, **(self.fields | changes))

    def insert(self, **changes: Any) -> Merged:
        fields = {name: value for name, value in self.fields.items() if name != "base"}
        return merge_insert(self.table, **(fields | changes))


@st.composite
def meetings(draw: st.DrawFn, is_loose: bool = False) -> Meeting:
    table = draw(tables())

    def value(column: Column) -> Any:
        return draw(ANY_VALUES if is_loose and draw(st.booleans()) else column_values(column))

    rest = table.columns[1:]
    named = draw(st.lists(st.sampled_from(rest), unique_by=lambda column: column.name))
    base = {column.name: value(column) for column in rest}
    # Mostly the same value again, so that all cases of the merge occur.
    mine = {
        column.name: draw(st.just(base[column.name]) | st.just(value(column))) for column in named
    }
    theirs = [
        draw(
            st.just(base[column.name])
            | st.just(mine.get(column.name, base[column.name]))
            | st.just(value(column))
        )
        for column in rest
    ]
    return Meeting(
        table,
        {
            "columns": tuple(column.name for column in named),
            "base": [base[column.name] for column in named],
            "mine": [mine[column.name] for column in named],
            "theirs": ("k", *theirs),
            "stamp": draw(STAMPS),
            "hub_stamps": draw(st.dictionaries(st.sampled_from(table.column_names), STAMPS)),
        },
    )


ANY_MEETINGS = meetings() | meetings(is_loose=True)


@given(ANY_MEETINGS)
def test_merging_is_deterministic(meeting: Meeting) -> None:
    assert meeting.update() == meeting.update()
    assert meeting.insert() == meeting.insert()


@given(ANY_MEETINGS)
def test_equal_inputs_are_never_a_conflict(meeting: Meeting) -> None:
    for merged in (meeting.update(), meeting.insert()):
        for conflict in merged.conflicts:
            assert conflict.column is not None
            column, *_ = meeting.of(conflict.column)
            assert not same(column.type, conflict.hub, conflict.replica) or (
                column.merge in DELTAS and conflict.is_open
            )
    mine = [meeting.of(name)[3] for name in meeting.columns]
    assert [
        conflict.column
        for conflict in meeting.insert(mine=mine).conflicts
        if meeting.table.column[conflict.column or ""].merge not in DELTAS
    ] == []


@given(ANY_MEETINGS)
def test_no_value_is_lost_without_a_conflict_record(meeting: Meeting) -> None:
    """What a side changed is in the row, or in a conflict; what it did not change may go."""
    merged = meeting.update()
    conflicts = {conflict.column: conflict for conflict in merged.conflicts}
    for name in meeting.columns:
        column, base, mine, hub = meeting.of(name)
        result = merged.row[meeting.table.position[name]]
        if name in conflicts:
            found = conflicts[name]
            assert (found.base, found.hub, found.replica) == (base, hub, mine)
            assert is_written_alike(found.result, result)
            assert found.policy == column.merge
        elif column.merge not in DELTAS:
            assert same(column.type, result, mine) or same(column.type, mine, base)
            assert same(column.type, result, hub) or same(column.type, hub, base)


@given(ANY_MEETINGS)
def test_an_insert_loses_no_value_either(meeting: Meeting) -> None:
    merged = meeting.insert()
    recorded = {conflict.column for conflict in merged.conflicts}
    for name in meeting.columns:
        column, _, mine, hub = meeting.of(name)
        result = merged.row[meeting.table.position[name]]
        if column.merge not in DELTAS and name not in recorded:
            assert same(column.type, result, mine)
            assert same(column.type, result, hub)


@given(ANY_MEETINGS)
def test_the_row_is_the_hubs_with_what_is_to_be_written(meeting: Meeting) -> None:
    for merged in (meeting.update(), meeting.insert()):
        row = list(meeting.theirs)
        for name, value in zip(merged.columns, merged.values, strict=True):
            assert name in meeting.columns
            assert not is_written_alike(row[meeting.table.position[name]], value)
            row[meeting.table.position[name]] = value
        assert tuple(row) == merged.row


@given(ANY_MEETINGS)
def test_applying_the_outcome_again_changes_nothing(meeting: Meeting) -> None:
    """Where the policy is one of values; a delta is applied once because its id is known."""
    for merge in (meeting.update, meeting.insert):
        first = merge()
        again = merge(theirs=first.row)
        for column in meeting.table.columns:
            position = meeting.table.position[column.name]
            if column.merge not in DELTAS:
                assert is_written_alike(again.row[position], first.row[position])


@given(ANY_MEETINGS)
def test_the_hubs_stamp_matters_only_where_it_is_asked_for(meeting: Meeting) -> None:
    named = {name: meeting.fields[name] for name in ("columns", "mine", "theirs")}
    contested = conflicting_columns(meeting.table, **named, base=meeting.fields["base"])
    stamps = meeting.fields["hub_stamps"]
    asked = {name: stamp for name, stamp in stamps.items() if name in contested}
    assert meeting.update(hub_stamps=asked) == meeting.update()
    contested = conflicting_columns(meeting.table, **named, base=None)
    asked = {name: stamp for name, stamp in stamps.items() if name in contested}
    assert meeting.insert(hub_stamps=asked) == meeting.insert()


@given(meetings(), st.permutations(range(4)))
def test_columns_do_not_depend_on_each_other(meeting: Meeting, order: list[int]) -> None:
    order = [index for index in order if index < len(meeting.columns)]
    turned = {
        name: [meeting.fields[name][index] for index in order]
        for name in ("columns", "base", "mine")
    }
    assert meeting.update(**turned).row == meeting.update().row


@given(meetings())
def test_a_replica_shows_what_the_hub_will_have_if_it_is_the_last_writer(meeting: Meeting) -> None:
    """Custom columns aside: their function may be known only to the hub."""
    assume(all(column.merge is not ColumnMerge.CUSTOM for column in meeting.table.columns))
    pending = {"columns": meeting.columns, "set": meeting.fields["mine"], "hub": meeting.theirs}
    shown = overlay(meeting.table, **pending, was=meeting.fields["base"])
    assert shown == meeting.update(hub_stamps={}).row
    shown = overlay(meeting.table, **pending, was=None)
    assert shown == meeting.insert(hub_stamps={}).row


@given(st.lists(st.integers(-5, 5), max_size=5), st.permutations(range(5)))
def test_counters_count_every_change_in_any_order(deltas: list[int], order: list[int]) -> None:
    table = TableSchema(
        name="stock",
        columns=(
            Column(name="id", type=ColumnType.INTEGER),
            Column(name="count", type=ColumnType.INTEGER, merge=ColumnMerge.COUNTER),
        ),
        key=("id",),
    )
    row: Row = (1, 100)
    for index in (index for index in order if index < len(deltas)):
        merged = merge_row(
            table,
            columns=("count",),
            base=(100,),
            mine=(100 + deltas[index],),
            theirs=row,
            stamp="",
            hub_stamps={},
        )
        assert merged.conflicts == ()
        row = merged.row
    assert row == (1, 100 + sum(deltas))


CUSTOM = TableSchema(
    name="note",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="text", type=ColumnType.TEXT, merge=ColumnMerge.CUSTOM),
    ),
    key=("id",),
)


def merge_note(function: Any) -> Merged:
    return merge_row(
        CUSTOM,
        columns=("text",),
        base=("a",),
        mine=("b",),
        theirs=(1, "c"),
        stamp="000000000001-0000-a",
        hub_stamps={"text": "000000000002-0000-b"},
        functions={"text": function},
    )


def test_a_merge_function_is_told_what_it_may_need() -> None:
    told: list[Any] = []

    def function(base: Value, theirs: Value, mine: Value, context: MergeContext) -> Value:
        told.append((base, theirs, mine, context))
        return "merged"

    merged = merge_note(function)
    assert merged.row == (1, "merged")
    [conflict] = merged.conflicts
    assert (conflict.policy, conflict.result, conflict.is_open) == ("custom", "merged", False)
    context = MergeContext(
        table="note",
        column="text",
        row={"id": 1, "text": "c"},
        stamp="000000000001-0000-a",
        hub_stamp="000000000002-0000-b",
    )
    assert told == [("a", "c", "b", context)]


def test_a_merge_function_that_fails_is_not_hidden() -> None:
    def function(*_arguments: Any) -> Value:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        merge_note(function)


def test_a_merge_function_answers_in_wire_form() -> None:
    with pytest.raises(ValueError, match=r"note\.text answered 5: expected text"):
        merge_note(lambda *_arguments: 5)
