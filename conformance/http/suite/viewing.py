"""Views: replicas that want some rows, and what comes when the rows or their wishes change."""

from __future__ import annotations

from typing import Any

from suite.cases import case, must, same
from suite.peer import PROTOCOL, Peer, Row, new_name
from suite.wire import Hub

Where = dict[str, Any]


def _viewer(hub: Hub, where: Where, *, pulls: bool = True) -> Peer:
    return Peer(hub, tables=["seat"], where={"seat": where}, pulls=pulls)


def _is(field: str, value: Any, operator: str = "exact") -> Where:
    return {"field": field, "operator": operator, "value": value}


def _writer(hub: Hub, hall: str, *guests: str | None) -> Peer:
    """A replica of all, with seats 1, 2, 3 … of these guests in a hall of its own."""
    writer = Peer(hub, tables=["seat"])
    rows: list[Row] = [
        {"hall": hall, "number": n, "guest": guest} for n, guest in enumerate(guests, start=1)
    ]
    writer.push([writer.insert("seat", *rows)]).are(*["applied"] * len(rows))
    writer.pull()
    return writer


def _numbers(peer: Peer, hall: str) -> list[int]:
    return sorted(number for its_hall, number in peer.rows["seat"] if its_hall == hall)


def _named(pages: list[dict[str, Any]], kind: str) -> list[list[Any]]:
    return [row for page in pages for part in page.get("tables", []) for row in part.get(kind, [])]


@case(
    "Rows that are in the view come as puts; a row that leaves it, because it or the view "
    "changed, is evicted."
)
def a_row_that_leaves_the_view_is_evicted(hub: Hub) -> None:
    hall = new_name("hall")
    writer = _writer(hub, hall, "Ann", "Bob")
    viewer = _viewer(hub, {"and": [_is("hall", hall), _is("guest", "Ann")]})
    same(_numbers(viewer, hall), [1], "the seats in the view")
    writer.push(
        [writer.update("seat", (hall, 1), {"guest": "Cid"})],
        [writer.update("seat", (hall, 2), {"guest": "Ann"})],
    )
    pages = viewer.pull()
    same(_numbers(viewer, hall), [2], "the seats in the view after the guests have moved")
    must([hall, 1] in _named(pages, "evicts"), "the row that left is not evicted")
    same(_named(pages, "deletes"), [], "the keys of rows that are gone, though none is")


@case("Rows that are in the view come as puts")
def rows_outside_the_view_never_come(hub: Hub) -> None:
    hall = new_name("hall")
    viewer = _viewer(hub, _is("hall", hall))
    writer = _writer(hub, hall, "Ann")
    other = new_name("hall")
    _writer(hub, other, "Bob")
    pages = viewer.pull()
    same([row[0] for row in _named(pages, "puts")], [hall], "the halls of the rows that came")
    writer.push([writer.delete("seat", (hall, 1))])
    viewer.pull()
    same(_numbers(viewer, hall), [], "the seats after the delete")


@case("When the view changes, the hub sends what is in one of the two views and not in the other")
def another_view_brings_only_the_difference(hub: Hub) -> None:
    hall = new_name("hall")
    _writer(hub, hall, *["x"] * 6)
    viewer = _viewer(hub, {"and": [_is("hall", hall), _is("number", 4, "lte")]})
    same(_numbers(viewer, hall), [1, 2, 3, 4], "the seats of the first view")
    viewer.where = {"seat": {"and": [_is("hall", hall), _is("number", 3, "gte")]}}
    pages = viewer.pull()
    same(_numbers(viewer, hall), [3, 4, 5, 6], "the seats of the second view")
    same(any(page.get("reset", False) for page in pages), False, "`reset`")
    same(sorted(row[1] for row in _named(pages, "puts")), [5, 6], "the seats that came")
    same(sorted(row[1] for row in _named(pages, "evicts")), [1, 2], "the seats that left")


@case(
    "Logic is that of SQL: a comparison with NULL is unknown, so is its `not`, and only "
    "what is true is chosen."
)
def expressions_choose_as_they_are_told_to(hub: Hub) -> None:
    hall = new_name("hall")
    _writer(hub, hall, "Ann", None, "Bob", "ann")
    chosen: list[tuple[Where, list[int]]] = [
        (_is("guest", "Ann"), [1]),
        (_is("guest", "Ann", "ne"), [3, 4]),
        ({"not": _is("guest", "Ann")}, [3, 4]),
        (_is("guest", True, "isnull"), [2]),
        (_is("guest", False, "isnull"), [1, 3, 4]),
        (_is("guest", ["Ann", "ann"], "in"), [1, 4]),
        (_is("guest", "Bob", "gte"), [3, 4]),
        (_is("number", 3, "lt"), [1, 2]),
        (_is("number", [2, 3], "range"), [2, 3]),
        (_is("guest", "n", "contains"), [1, 4]),
        (_is("guest", "A", "startswith"), [1]),
        (_is("guest", "ob", "endswith"), [3]),
        (_is("guest", "aNN", "iexact"), [1, 4]),
        ({"not": _is("guest", "n", "contains")}, [3]),
        ({"or": [_is("guest", "Bob"), _is("number", 2)]}, [2, 3]),
        ({"and": [_is("guest", False, "isnull"), _is("number", 3, "gt")]}, [4]),
    ]
    for where, numbers in chosen:
        viewer = _viewer(hub, {"and": [_is("hall", hall), where]})
        same(_numbers(viewer, hall), numbers, f"the seats for which {where} is true")


@case(
    "An expression that names an unknown column, operator or a value of another type is refused "
    "with the path at which it stands."
)
def an_expression_that_cannot_be_is_refused(hub: Hub) -> None:
    for where in (
        _is("nothing", 1),
        _is("number", "two"),
        _is("number", 1, "like"),
        {"and": [_is("number", 1), {}]},
    ):
        request = {"protocol": PROTOCOL, "tables": ["seat"], "where": {"seat": where}}
        problem = hub.refusal("register", request)
        same(problem["code"], "bad-request", f"the code for {where}")
        must("where" in problem.get("path", ""), f"the path for {where} is {problem.get('path')}")


@case("in later requests an unknown column, or a value of another type, means no row")
def an_expression_that_fits_no_more_means_no_row(hub: Hub) -> None:
    hall = new_name("hall")
    _writer(hub, hall, "x", "y")
    viewer = _viewer(hub, _is("hall", hall))
    same(len(_numbers(viewer, hall)), 2, "seats of the hall")
    viewer.where = {"seat": {"and": [_is("hall", hall), _is("nothing", 1)]}}
    viewer.pull()
    same(_numbers(viewer, hall), [], "seats told by a column that there is not")


@case("If it changes again before that checkpoint, the hub answers `view-changed`")
def a_view_that_changes_twice_goes_back_to_the_checkpoint(hub: Hub) -> None:
    hall = new_name("hall")
    _writer(hub, hall, *["x"] * 8)

    def seats(*numbers: int) -> dict[str, Where]:
        return {"seat": {"and": [_is("hall", hall), _is("number", list(numbers), "in")]}}

    viewer = _viewer(hub, seats(1)["seat"])
    viewer.where = seats(2, 3, 4, 5, 6)
    page = hub.call("pull", viewer.request(limit=2))
    if page.get("checkpoint", False):
        page = hub.call("pull", viewer.request(limit=1))
    must(not page.get("checkpoint", False), "five rows in pages of two came at once")
    viewer.cursor = page["cursor"]
    viewer.where = seats(7, 8)
    same(hub.refusal("pull", viewer.request())["code"], "view-changed", "the code")
    viewer.cursor = viewer.checkpoint
    viewer.pull()
    same(_numbers(viewer, hall), [7, 8], "the seats of the last view")
