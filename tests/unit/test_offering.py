"""A commit is offered to every view that it concerns, and to few others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.expression import Expression, check_expression
from reunite.core.fields import row
from reunite.core.matching import row_judge
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.view import TableView, View
from reunite.engine.offering import Offers, needed_values
from reunite.engine.ports import Position
from reunite.stores.memory import MemoryStore

SALE = TableSchema(
    name="sale",
    columns=(
        Column(name="id", type=ColumnType.INTEGER, nullable=False),
        Column(name="store", type=ColumnType.INTEGER),
        Column(name="amount", type=ColumnType.DECIMAL),
    ),
    key=("id",),
)
NOTE = TableSchema(
    name="note", columns=(Column(name="id", type=ColumnType.INTEGER, nullable=False),), key=("id",)
)
SCHEMAS = {"sale": SALE, "note": NOTE}


def view_of_sales(where: Expression | None) -> View:
    checked = None if where is None else check_expression(where, SALE, path="where")
    return View(tables={"sale": TableView(version=1, where=checked)})


def concerned(views: dict[str, View], *steps: tuple[str, tuple[int], dict[str, Any]]) -> set[str]:
    """The views that are concerned by the last of these writes."""
    store = MemoryStore()
    store.track(SCHEMAS.values())  # type: ignore[arg-type]
    offers = Offers(SCHEMAS)
    for name, view in views.items():
        offers.add(name, view)
    before = 0
    for table, key, values in steps:
        with store.read() as tx:
            before = tx.last_change_id()
        with store.foreign_write() as program:
            if not values:
                program.delete(table, key)
            elif "id" in values:
                program.insert(table, values)
            else:
                program.update(table, key, values)
    with store.read() as tx:
        touches = [t for t in tx.touched(Position(seq=0, id=0), limit=100) if t.id > before]
        return offers.concerned(tx, touches)


STORES = {f"store {n}": view_of_sales(row.store == n) for n in range(50)}
INSERT = ("sale", (1,), {"id": 1, "store": 7, "amount": "1.50"})


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([INSERT], {"store 7"}, id="entered"),
        pytest.param([INSERT, ("sale", (1,), {"store": 8})], {"store 7", "store 8"}, id="moved"),
        pytest.param([INSERT, ("sale", (1,), {})], {"store 7"}, id="gone"),
        pytest.param([INSERT, ("sale", (1,), {"store": None})], {"store 7"}, id="left for NULL"),
        pytest.param([("note", (1,), {"id": 1})], set(), id="another table"),
    ],
)
def test_views_of_one_value_are_looked_up(steps: list[Any], expected: set[str]) -> None:
    assert concerned(STORES, *steps) == expected


def test_a_view_without_a_needed_value_is_always_offered() -> None:
    views = {
        "all": view_of_sales(None),
        "large": view_of_sales(row.amount > "100"),
        "not seven": view_of_sales(~(row.store == 7)),
    }
    assert concerned(views, INSERT) == set(views)


def test_decimals_of_one_value_are_one() -> None:
    assert concerned({"x": view_of_sales(row.amount == "1.5")}, INSERT) == {"x"}


def test_a_view_that_was_removed_is_offered_nothing() -> None:
    offers = Offers(SCHEMAS)
    view = view_of_sales(row.store.is_in([1, 2]))
    offers.add("a", view)
    offers.remove("a", view)
    offers.add("b", view_of_sales(None))
    offers.remove("b", view_of_sales(None))
    store = MemoryStore()
    with store.read() as tx:
        assert offers.concerned(tx, []) == set()


NUMBERS = st.integers(0, 3)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(
        st.builds(lambda n: row.store == n, NUMBERS),
        st.builds(lambda n: row.id == n, NUMBERS),
        st.builds(row.store.is_in, st.lists(NUMBERS, max_size=3)),
        st.builds(lambda n: row.store < n, NUMBERS),
        st.just(row.store.is_null()),
    ),
    lambda parts: st.one_of(
        st.builds(lambda a, b: a & b, parts, parts),
        st.builds(lambda a, b: a | b, parts, parts),
        st.builds(lambda a: ~a, parts),
    ),
    max_leaves=5,
)


@given(
    where=EXPRESSIONS,
    stores=st.lists(st.one_of(st.none(), NUMBERS), min_size=1, max_size=3),
)
def test_no_row_of_a_view_is_missed(where: Expression, stores: list[int | None]) -> None:
    """Whatever the row was or is in the view, the view is offered the change."""
    checked = check_expression(where, SALE, path="where")
    judge = row_judge(checked, SALE)
    steps = [("sale", (1,), {"id": 1, "store": stores[0]})]
    steps += [("sale", (1,), {"store": value}) for value in stores[1:]]
    found = concerned({"x": view_of_sales(where)}, *steps)
    if any(judge((1, value, None)) is True for value in stores[-2:]):
        assert found == {"x"}


def test_a_value_that_an_or_does_not_need_is_not_needed() -> None:
    def needed(where: Expression) -> object:
        return needed_values(check_expression(where, SALE, path="where"))

    assert needed((row.store == 1) | (row.amount == "1")) is None
    assert needed((row.store == 1) | (row.store == 2)) == ("store", [1, 2])
    assert needed((row.amount > "1") & (row.store == 1)) == ("store", [1])
    assert needed(~(row.store == 1)) is None
