"""Pulling: snapshots, increments, checkpoints, cursors."""

from __future__ import annotations

from suite.cases import case, must, same
from suite.peer import Page, Peer, new_name
from suite.wire import Hub

# A snapshot of a table with ever so many rows of earlier runs still ends.
SMALL_PAGE = 3


def _hall(peer: Peer, hall: str, count: int) -> None:
    """So many seats in a hall of its own."""
    rows = [{"hall": hall, "number": n, "guest": "free"} for n in range(1, count + 1)]
    peer.push([peer.insert("seat", *rows)]).are(*["applied"] * count)
    peer.pull()


def _seats(peer: Peer, hall: str) -> list[tuple[object, object]]:
    return sorted(
        (number, row["guest"])
        for (its_hall, number), row in peer.rows["seat"].items()
        if its_hall == hall
    )


def _keys(pages: list[Page], table: str, kind: str) -> set[tuple[object, ...]]:
    """Keys of note or seat that pages name in `puts`, `deletes` or `evicts`."""
    width = 2 if table == "seat" else 1
    return {
        tuple(values[:width])
        for page in pages
        for part in page.get("tables", [])
        if part["table"] == table
        for values in part.get(kind, [])
    }


@case(
    "it sends a snapshot: pages of rows by table and key, the first with `reset`, then what was "
    "committed meanwhile, then the checkpoint."
)
def a_snapshot_comes_in_pages_and_is_complete(hub: Hub) -> None:
    hall = new_name("hall")
    _hall(Peer(hub), hall, 8)
    reader = Peer(hub, tables=["seat"], pulls=False)
    pages = reader.pull(limit=SMALL_PAGE)
    must(len(pages) >= 3, f"8 rows in pages of {SMALL_PAGE} came in {len(pages)} pages")
    resets = [index for index, page in enumerate(pages) if page.get("reset", False)]
    same(resets, [0], "the pages with `reset`")
    for page in pages[:-1]:
        same(page.get("checkpoint", False), False, "the `checkpoint` of a page before the last")
    total = (pages[0].get("progress") or {}).get("rows_total", 0)
    must(total >= 8, f"`rows_total` is {total} where there are 8 rows or more")
    same(_seats(reader, hall), [(n, "free") for n in range(1, 9)], "the rows of the snapshot")


@case("A snapshot can be gone on with after any of its pages, also after a crash.")
def a_snapshot_goes_on_after_any_of_its_pages(hub: Hub) -> None:
    hall = new_name("hall")
    _hall(Peer(hub), hall, 8)
    reader = Peer(hub, tables=["seat"], pulls=False)
    reader.take(hub.call("pull", reader.request(limit=SMALL_PAGE)))
    cursor = reader.cursor
    hub.call("pull", reader.request(limit=SMALL_PAGE))  # its answer is lost
    same(reader.cursor, cursor, "the cursor of a page that was not kept")
    reader.pull(limit=SMALL_PAGE)
    same(_seats(reader, hall), [(n, "free") for n in range(1, 9)], "the rows of the snapshot")


@case("then what was committed meanwhile, then the checkpoint")
def what_is_written_during_a_snapshot_is_in_it(hub: Hub) -> None:
    writer, hall = Peer(hub), new_name("hall")
    _hall(writer, hall, 6)
    reader = Peer(hub, tables=["seat"], pulls=False)
    reader.take(hub.call("pull", reader.request(limit=SMALL_PAGE)))
    seats = [
        [writer.update("seat", (hall, 1), {"guest": "Ann"})],
        [writer.delete("seat", (hall, 6))],
        [writer.insert("seat", {"hall": hall, "number": 0, "guest": "Bob"})],
    ]
    writer.push(*seats).are("applied", "applied", "applied")
    reader.pull(limit=SMALL_PAGE)
    expected = [(0, "Bob"), (1, "Ann"), *((n, "free") for n in range(2, 6))]
    same(_seats(reader, hall), expected, "the rows at the checkpoint")


@case("Otherwise it sends the rows that were touched since the cursor.")
def an_increment_holds_what_was_touched_and_no_more(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    touched, untouched = new_name(), new_name()
    writer.push([writer.insert("note", {"id": untouched}, {"id": touched})])
    writer.pull()
    reader.pull()
    writer.push([writer.update("note", (touched,), {"title": "new"})])
    pages = reader.pull()
    must((touched,) in _keys(pages, "note", "puts"), "the touched row did not come")
    must((untouched,) not in _keys(pages, "note", "puts"), "a row came that nobody touched")
    same(any(page.get("reset", False) for page in pages), False, "`reset` of an increment")
    same(
        reader.row("note", touched),
        {"id": touched, "title": "new", "body": None},
        "the row, which comes whole",
    )


@case("`puts` are rows that are now so, whole; `deletes` are keys of rows that are gone")
def a_deleted_row_comes_as_its_key(hub: Hub) -> None:
    writer, reader, name = Peer(hub), Peer(hub), new_name()
    writer.push([writer.insert("note", {"id": name})])
    writer.pull()
    reader.pull()
    writer.push([writer.delete("note", (name,))])
    pages = reader.pull()
    must((name,) in _keys(pages, "note", "deletes"), "the key of a deleted row did not come")
    same(reader.row("note", name), None, "the deleted row")


@case("A key that moved is a delete and a put.")
def a_moved_key_comes_as_a_delete_and_a_put(hub: Hub) -> None:
    writer, reader, before, after = Peer(hub), Peer(hub), new_name(), new_name()
    writer.push([writer.insert("note", {"id": before, "title": "kept"})])
    writer.pull()
    reader.pull()
    writer.push([writer.update("note", (before,), {"id": after})]).are("applied")
    pages = reader.pull()
    must((before,) in _keys(pages, "note", "deletes"), "the old key is no delete")
    same(reader.row("note", before), None, "the row under its old key")
    same((reader.row("note", after) or {}).get("title"), "kept", "the row under its new key")


@case("Pages before a checkpoint are kept aside (the inbox).")
def many_touched_rows_come_in_pages_of_the_limit(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    names = [new_name() for _ in range(20)]
    for name in names:
        writer.push([writer.insert("note", {"id": name, "title": "x"})])
    pages = reader.pull(limit=4)
    must(len(pages) >= 3, f"20 touched rows in pages of 4 came in {len(pages)} pages")
    for page in pages[:-1]:
        same(page.get("more", False), True, "`more` of a page before the last")
    missing = [name for name in names if reader.row("note", name) is None]
    same(missing, [], "the rows that did not come")


@case("with this page, the replica's tables are a state that the hub had")
def the_parts_of_a_transaction_are_shown_together(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    names = [new_name() for _ in range(9)]
    writer.push([writer.insert("note", *({"id": name} for name in names))])
    pages = 0
    while not any(reader.row("note", name) for name in names):
        page = hub.call("pull", reader.request(limit=2))
        reader.take(page)
        pages += 1
        must(pages < 1_000, "no checkpoint came")
    seen = [name for name in names if reader.row("note", name)]
    same(len(seen), len(names), "the number of a transaction's rows at the first checkpoint")


@case("which tables it wants, null for all; those that the hub no longer tracks are left out")
def pages_hold_the_tables_that_were_asked_for(hub: Hub) -> None:
    writer, name, hall = Peer(hub), new_name(), new_name("hall")
    reader = Peer(hub, tables=["seat"])
    seat = writer.insert("seat", {"hall": hall, "number": 1, "guest": "Ann"})
    writer.push([writer.insert("note", {"id": name})], [seat])
    pages = reader.pull()
    told = {part["table"] for page in pages for part in page.get("tables", [])}
    same(told, {"seat"}, "the tables in the pages")
    same(sorted(pages[-1]["schemas"]), ["seat"], "the tables in `schemas`")
    reader.tables = ["seat", new_name("no_such_table")]
    reader.pull()
    same(_seats(reader, hall), [(1, "Ann")], "the rows, with a table asked for that is not there")


@case("When the view changes, the hub sends what is in one of the two views and not in the other")
def other_tables_than_those_of_the_cursor_arrive(hub: Hub) -> None:
    writer, name, hall = Peer(hub), new_name(), new_name("hall")
    seat = writer.insert("seat", {"hall": hall, "number": 1, "guest": "Ann"})
    writer.push([writer.insert("note", {"id": name})], [seat])
    reader = Peer(hub)
    reader.cursor, reader.tables = None, ["note"]
    reader.pull()
    same(_seats(reader, hall), [], "rows of a table that was not asked for")
    reader.tables = ["note", "seat"]
    reader.pull()
    same(_seats(reader, hall), [(1, "Ann")], "the rows of the table that was asked for later")
    must(reader.row("note", name) is not None, "a row of the other table got lost")


@case("Opaque: keep it and hand it back")
def a_cursor_may_be_handed_back_twice(hub: Hub) -> None:
    writer, reader, name = Peer(hub), Peer(hub), new_name()
    writer.push([writer.insert("note", {"id": name})])
    request = reader.request()
    for page in (hub.call("pull", request), hub.call("pull", request)):
        must((name,) in _keys([page], "note", "puts"), "an answer that was asked twice lacks a row")


@case(
    "Without a cursor, or with one that its log no longer serves (another epoch, a restored "
    "backup, a log trimmed too far), it sends a snapshot"
)
def a_cursor_of_another_hub_gets_a_snapshot(hub: Hub) -> None:
    other = Peer(hub.second())
    reader, name = Peer(hub), new_name()
    reader.push([reader.insert("note", {"id": name})])
    reader.cursor = other.cursor
    pages = reader.pull()
    same(pages[0].get("reset", False), True, "`reset` of the first page after a foreign cursor")
    must(reader.row("note", name) is not None, "the snapshot lacks a row")


@case("there is more to pull at once")
def a_pull_with_nothing_new_is_a_checkpoint_at_once(hub: Hub) -> None:
    reader = Peer(hub, tables=["item"])
    (page,) = reader.pull()
    same(page.get("checkpoint", False), True, "`checkpoint`")
    same(page.get("more", False), False, "`more`")
    puts = [part for part in page.get("tables", []) if part.get("puts")]
    same(puts, [], "the rows of a pull with nothing new")
