"""What comes of changes that meet: counters, conflicts, deletes, keys that are taken."""

from __future__ import annotations

from suite.cases import NotCheckedError, case, must, same
from suite.peer import Peer, Row, new_name
from suite.wire import Hub


def _product(peer: Peer, **columns: object) -> Row:
    return {"id": peer.key("product"), "name": "Tea", "stock": 0, "code": None, **columns}


def _two_with_note(hub: Hub, **columns: object) -> tuple[Peer, Peer, str]:
    """Two replicas that show the same note."""
    one, two, name = Peer(hub), Peer(hub), new_name()
    one.push([one.insert("note", {"id": name, **columns})]).are("applied")
    one.pull()
    two.pull()
    return one, two, name


@case("Its `merge` is the policy for conflicts, default `last_writer`")
def counters_add_up(hub: Hub) -> None:
    one, two = Peer(hub), Peer(hub)
    stock = next(c for c in one.schemas["product"]["columns"] if c["name"] == "stock")
    if stock.get("merge", "last_writer") != "counter":
        raise NotCheckedError("needs a hub where stock merges as `counter`")
    product = _product(one, stock=100)
    one.push([one.insert("product", product)])
    one.pull()
    two.pull()
    one.push([one.update("product", (product["id"],), {"stock": 90})])
    two.push([two.update("product", (product["id"],), {"stock": 99})])
    one.pull()
    same((one.row("product", product["id"]) or {}).get("stock"), 89, "100 less 10 and less 1")


@case(
    "Each has the `column` (or null when whole rows met: one side deleted what the other changed)"
)
def the_later_of_two_writers_wins_and_both_values_are_told(hub: Hub) -> None:
    one, two, name = _two_with_note(hub, title="base", body="b")
    two.push([two.update("note", (name,), {"title": "two", "body": "c"})]).are("applied")
    hour_ago = one.next_stamp(ahead_ms=-3_600_000)
    found = one.push([one.update("note", (name,), {"title": "one"}, stamps=[hour_ago])])
    found.are("merged")
    (conflict,) = found.all[0]["conflicts"]
    same(
        {k: conflict[k] for k in ("column", "base", "hub", "replica", "result", "policy")},
        {
            "column": "title",
            "base": "base",
            "hub": "two",
            "replica": "one",
            "result": "two",
            "policy": "last_writer",
        },
        "the conflict",
    )
    one.pull()
    same(one.row("note", name), {"id": name, "title": "two", "body": "c"}, "the row")


@case("values that were set without knowledge of each other, see below")
def other_columns_of_one_row_do_not_meet(hub: Hub) -> None:
    one, two, name = _two_with_note(hub, title="a", body="b")
    one.push([one.update("note", (name,), {"title": "A"})])
    found = two.push([two.update("note", (name,), {"body": "B"})])
    same(found.all[0].get("conflicts", []), [], "the conflicts of changes to other columns")
    two.pull()
    same(two.row("note", name), {"id": name, "title": "A", "body": "B"}, "the row")


@case("values that were set without knowledge of each other")
def the_same_value_set_twice_is_no_conflict(hub: Hub) -> None:
    one, two, name = _two_with_note(hub, title="a")
    one.push([one.update("note", (name,), {"title": "same"})])
    found = two.push([two.update("note", (name,), {"title": "same"})])
    same(found.all[0].get("conflicts", []), [], "the conflicts of equal values")


@case("or `update_wins`: what happens when one side deletes a row that the other changes")
def a_delete_wins_over_an_update(hub: Hub) -> None:
    one, two, name = _two_with_note(hub, title="a")
    one.push([one.delete("note", (name,))]).are("applied")
    found = two.push([two.update("note", (name,), {"title": "b"})]).are("merged")
    (conflict,) = found.all[0]["conflicts"]
    same(
        {k: conflict.get(k) for k in ("column", "hub", "policy")},
        {"column": None, "hub": None, "policy": "delete_wins"},
        "the conflict",
    )
    two.pull()
    same(two.row("note", name), None, "the row that one side deleted")


@case("`merged` with what the hub had")
def two_deletes_of_one_row_are_one(hub: Hub) -> None:
    one, two, name = _two_with_note(hub, title="a")
    one.push([one.delete("note", (name,))])
    found = two.push([two.delete("note", (name,))])
    must(found.all[0]["kind"] in ("applied", "merged"), f"the outcome is {found.kinds}")
    same(found.all[0].get("conflicts", []), [], "the conflicts of two deletes")


@case("the push ended before the group of change `n`, because its generated key is taken")
def a_generated_key_that_is_taken_is_renumbered(hub: Hub) -> None:
    one, two = Peer(hub), Peer(hub)
    theirs = _product(one, name="theirs")
    one.push([one.insert("product", theirs)])
    note = new_name()
    mine = {**theirs, "name": "mine"}
    groups = [[two.insert("note", {"id": note})], [two.insert("product", mine)]]
    found = two.push(*groups).are("applied")
    same((found.first_n, found.last_n), (1, 1), "the numbers that are answered")
    renumber = found.answer.get("renumber")
    same(renumber, {"n": 2, "table": "product", "key": [theirs["id"]]}, "`renumber`")
    blocks = [b for b in found.answer.get("blocks", []) if b["table"] == "product"]
    same(len(blocks), 1, "the number of fresh blocks of the table to renumber")
    two.add_blocks(blocks)
    moved = {**mine, "id": two.key("product")}
    same_ids = groups[1][0]["ids"]
    two.push([two.insert("product", moved, ids=same_ids)]).are("applied")
    two.pull()
    names = [(two.row("product", key["id"]) or {}).get("name") for key in (theirs, moved)]
    same(names, ["theirs", "mine"], "the names of the two rows")


@case("`merged` with what the hub had")
def two_inserts_of_one_chosen_key_are_merged(hub: Hub) -> None:
    one, two, name = Peer(hub), Peer(hub), new_name()
    one.push([one.insert("note", {"id": name, "title": "one", "body": "same"})]).are("applied")
    found = two.push([two.insert("note", {"id": name, "title": "two", "body": "same"})])
    found.are("merged")
    same([c["column"] for c in found.all[0]["conflicts"]], ["title"], "the columns in conflict")
