"""What is said of rules is said in the words of Python, and counts are what is explained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.expression import Expression
from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules, check_rules
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.engine.explain import expression_text
from reunite.engine.ports import Writes
from reunite.hub import Hub
from reunite.stores.memory import MemoryStore

TASK = TableSchema(
    name="task",
    columns=(
        Column(name="id", type=ColumnType.INTEGER, nullable=False),
        Column(name="team", type=ColumnType.INTEGER),
        Column(name="owner", type=ColumnType.TEXT),
    ),
    key=("id",),
)
EXPRESSIONS: list[Expression] = [
    row.team == 1,
    row.team != user.level,
    row.team.is_in([1, 2]),
    row.team.is_in(user.teams),
    row.owner.is_null(),
    row.owner.startswith("a"),
    user.roles.contains("boss"),
    user.level.is_in([1, 3]),
    ~(row.team == 1),
    (row.team > 1) & (row.owner == user.id),
    (row.team <= 1) | ~row.owner.is_null(),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_told_as_one_would_write_it(expression: Expression) -> None:
    text = expression_text(expression)
    again = eval(text, {"row": row, "user": user})
    assert check_rules(Rules(read=again), TASK) == check_rules(Rules(read=expression), TASK)


PARTS = st.sampled_from([*EXPRESSIONS, row.team == user.nothing])
READS = st.one_of(
    st.booleans(),
    st.recursive(
        PARTS,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda two: two[0] & two[1]),
            st.tuples(inner, inner).map(lambda two: two[0] | two[1]),
            inner.map(lambda one: ~one),
        ),
        max_leaves=4,
    ),
)
ROWS = st.lists(
    st.tuples(st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from([None, "ann", "bob"])),
    max_size=6,
)
ANN = Principal(user="ann", roles=("boss",), claims={"teams": [1, 2], "level": 3})


@given(rows=ROWS, now=READS, then=READS)
def test_what_appears_and_vanishes_is_what_explain_says(
    rows: list[tuple[int | None, str | None]], now: Expression | bool, then: Expression | bool
) -> None:
    store = MemoryStore()
    store.track([TASK])
    with store.write() as tx:
        values = [(n, *values) for n, values in enumerate(rows)]
        tx.apply(Writes(inserts={"task": values}, updates={}, deletes={}))
    with Hub(store) as hub:
        hub.track("task", rules=Rules(read=now))
        (counted,) = hub.preview(ANN, {"task": Rules(read=then)})
        keys = [(n,) for n in range(len(rows))]
        before = {key for key in keys if hub.explain(ANN, "task", key).is_visible}
        hub.track("task", rules=Rules(read=then))
        after = {key for key in keys if hub.explain(ANN, "task", key).is_visible}
    assert (counted.now, counted.then) == (len(before), len(after))
    assert counted.appear == len(after - before)
    assert counted.vanish == len(before - after)
