"""What a hub makes of groups: constraints, dependents, cascades, divisible runs, swaps."""

from __future__ import annotations

from suite.cases import case, must, same
from suite.peer import Peer, Row, new_name
from suite.wire import Hub


def _product(peer: Peer, **columns: object) -> Row:
    """A row of product with a key of the peer's block."""
    return {"id": peer.key("product"), "name": "Tea", "stock": 0, "code": None, **columns}


@case("the columns that are to blame")
def a_unique_value_that_is_taken_rejects_its_group(hub: Hub) -> None:
    writer, code = Peer(hub), new_name("code")
    writer.push([writer.insert("product", _product(writer, code=code))]).are("applied")
    first, twin, third = (_product(writer, code=c) for c in (None, code, None))
    found = writer.push(
        [writer.insert("product", first), writer.insert("product", twin)],
        [writer.insert("product", third)],
    ).are("rejected unique", "rejected unique", "applied")
    same(found.all[1].get("columns", []), ["code"], "the columns to blame")
    writer.pull()
    there = [writer.row("product", row["id"]) is not None for row in (first, twin, third)]
    same(there, [False, False, True], "which of the rows are there")


@case("All changes of its group are rejected with it; only the one to blame has `columns`.")
def only_the_change_to_blame_has_columns(hub: Hub) -> None:
    writer = Peer(hub)
    good = writer.insert("note", {"id": new_name()})
    bad = writer.insert("product", _product(writer, name=None))
    found = writer.push([good, bad]).are("rejected not-null", "rejected not-null")
    same(found.all[0].get("columns", []), [], "the columns of a change that is not to blame")
    must(found.all[0].get("reason"), "a rejected change has no reason")


@case("the database refused it")
def constraints_of_the_database_reject(hub: Hub) -> None:
    writer = Peer(hub)
    product = _product(writer)
    writer.push([writer.insert("product", product)]).are("applied")
    negative = {"id": writer.key("sale"), "product_id": product["id"], "amount": -1}
    orphan = {"id": writer.key("sale"), "product_id": writer.key("product"), "amount": 1}
    good = {"id": writer.key("sale"), "product_id": product["id"], "amount": 1}
    found = writer.push(*([writer.insert("sale", row)] for row in (negative, orphan, good)))
    found.are("rejected check", "rejected foreign-key", "applied")


@case("A rejected change is settled: its number counts, and the replica is never stuck.")
def numbers_go_on_after_a_rejection(hub: Hub) -> None:
    writer = Peer(hub)
    writer.push([writer.insert("product", _product(writer, name=None))]).are("rejected not-null")
    same(writer.next_n, 2, "the number after the rejected one")
    writer.push([writer.insert("note", {"id": new_name()})]).are("applied")
    writer.pull()
    same(writer.answered, 2, "`answered`")


@case("it touches, or points to, a row of a rejected change that the replica had not heard of")
def what_stands_on_a_rejected_change_is_rejected_with_it(hub: Hub) -> None:
    writer = Peer(hub)
    bad = _product(writer, name=None)
    child = {"id": writer.key("sale"), "product_id": bad["id"], "amount": 1}
    found = writer.push(
        [writer.insert("product", bad)],
        [writer.insert("sale", child)],
        [writer.update("product", (bad["id"],), {"stock": 5}, was=bad)],
        [writer.insert("note", {"id": new_name()})],
    )
    found.are(
        "rejected not-null",
        "rejected depends-on-rejected",
        "rejected depends-on-rejected",
        "applied",
    )


@case("a row that it points to was deleted at the hub")
def a_child_of_a_row_that_was_deleted_meanwhile_is_rejected(hub: Hub) -> None:
    mother, other = Peer(hub), Peer(hub)
    product = _product(mother)
    mother.push([mother.insert("product", product)])
    mother.pull()
    other.pull()
    mother.push([mother.delete("product", (product["id"],))]).are("applied")
    child = {"id": other.key("sale"), "product_id": product["id"], "amount": 1}
    other.push([other.insert("sale", child)]).are("rejected parent-deleted")


@case("`deletes` are keys of rows that are gone")
def a_cascade_reaches_everybody(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    product = _product(writer)
    sales = [{"id": writer.key("sale"), "product_id": product["id"], "amount": n} for n in range(3)]
    writer.push([writer.insert("product", product), writer.insert("sale", *sales)])
    writer.pull()
    reader.pull()
    same(len([s for s in sales if reader.row("sale", s["id"])]), 3, "the sales before the delete")
    writer.push([writer.delete("product", (product["id"],))]).are("applied")
    for peer in (reader, writer):
        peer.pull()
        left = [s["id"] for s in sales if peer.row("sale", s["id"])]
        same(left, [], "the sales that outlived their product")


@case("if it is rejected, the hub halves it until the change to blame is alone")
def a_divisible_group_loses_only_what_is_wrong(hub: Hub) -> None:
    writer = Peer(hub)
    rows = [_product(writer, name=None if n == 3 else "Tea") for n in range(7)]
    runs = [writer.insert("product", row) for row in rows]
    kinds = ["rejected not-null" if n == 3 else "applied" for n in range(7)]
    writer.push({"runs": runs, "divisible": True}).are(*kinds)
    writer.pull()
    there = [writer.row("product", row["id"]) is not None for row in rows]
    same(there, [n != 3 for n in range(7)], "which of the rows are there")


@case("Changes of one local transaction are a **group**: applied whole or not at all.")
def a_group_that_is_not_divisible_falls_whole(hub: Hub) -> None:
    writer = Peer(hub)
    rows = [_product(writer, name=None if n == 3 else "Tea") for n in range(5)]
    runs = [writer.insert("product", row) for row in rows]
    writer.push({"runs": runs, "divisible": False}).are(*["rejected not-null"] * 5)
    writer.pull()
    left = [row["id"] for row in rows if writer.row("product", row["id"])]
    same(left, [], "the rows of a rejected group")


@case("Changes of one local transaction are a **group**: applied whole or not at all.")
def two_rows_may_swap_their_unique_values(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    a, b = (_product(writer, code=new_name("code")) for _ in range(2))
    writer.push([writer.insert("product", a, b)]).are("applied", "applied")
    writer.pull()
    parked = new_name("code")
    steps = [
        writer.update("product", (a["id"],), {"code": parked}),
        writer.update("product", (b["id"],), {"code": a["code"]}),
        writer.update("product", (a["id"],), {"code": b["code"]}, was={"code": parked}),
    ]
    writer.push(steps).are("applied", "applied", "applied")
    reader.pull()
    codes = [(reader.row("product", row["id"]) or {}).get("code") for row in (a, b)]
    same(codes, [b["code"], a["code"]], "the codes after the swap")


@case("another row has the key that the row was to move to")
def a_row_does_not_move_onto_another(hub: Hub) -> None:
    writer, one, two = Peer(hub), new_name(), new_name()
    writer.push([writer.insert("note", {"id": one, "title": "1"}, {"id": two, "title": "2"})])
    writer.pull()
    writer.push([writer.update("note", (one,), {"id": two})]).are("rejected key-taken")
    writer.pull()
    titles = [(writer.row("note", name) or {}).get("title") for name in (one, two)]
    same(titles, ["1", "2"], "the titles of the two rows")
