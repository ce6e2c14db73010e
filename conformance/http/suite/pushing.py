"""Pushing: every operation, values of every type, keys, and what is answered."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

from suite.cases import case, must, same
from suite.peer import Peer, new_id, new_name
from suite.wire import Hub, encode

VALUES: dict[str, Any] = {
    "an_integer": "9223372036854775807",
    "a_real": 1e308,
    "a_boolean": True,
    "a_text": "Füße 😀 \\ \" '\n",
    "a_blob": base64.b64encode(bytes(range(256))).decode(),
    "a_date": "2013-01-01",
    "a_time": "23:59:59.999999",
    "a_datetime": "2013-01-01T05:15:00.000000Z",
    "a_uuid": "6b1d0c5e-8f7a-4b2c-9d3e-1f0a5b6c7d8e",
    "a_json": {"b": [1, 2.5, None, True], "a": {"nested": "ja"}},
}


@case("for an insert the whole row")
def an_insert_reaches_others(hub: Hub) -> None:
    writer, reader, name = Peer(hub), Peer(hub), new_name()
    row = {"id": name, "title": "Tea", "body": None}
    writer.push([writer.insert("note", row)]).are("applied")
    reader.pull()
    same(reader.row("note", name), row, "the inserted row")


@case("for an update the new values (`set`) of the columns that changed and those they replaced")
def an_update_changes_its_columns_only(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    writer.push([writer.insert("note", {"id": name, "title": "Tea", "body": "long"})])
    writer.pull()
    writer.push([writer.update("note", (name,), {"title": None})]).are("applied")
    writer.pull()
    same(writer.row("note", name), {"id": name, "title": None, "body": "long"}, "the updated row")


@case("for a delete all that the row was")
def a_delete_takes_the_row_away(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    writer.push([writer.insert("note", {"id": name})])
    writer.pull()
    writer.push([writer.delete("note", (name,))]).are("applied")
    writer.pull()
    same(writer.row("note", name), None, "the deleted row")


@case("Changes of one local transaction are a **group**: applied whole or not at all.")
def insert_update_and_delete_go_in_one_group(hub: Hub) -> None:
    writer = Peer(hub)
    old, kept, new = new_name(), new_name(), new_name()
    writer.push([writer.insert("note", {"id": old}, {"id": kept, "title": "a"})])
    writer.pull()
    group = [
        writer.insert("note", {"id": new, "title": "b"}),
        writer.update("note", (kept,), {"title": "c"}),
        writer.delete("note", (old,)),
        writer.update("note", (new,), {"title": "d"}, was={"title": "b"}),
    ]
    writer.push(group).are(*["applied"] * 4)
    writer.pull()
    titles = [(writer.row("note", name) or {}).get("title") for name in (old, kept, new)]
    same(titles, [None, "c", "d"], "the titles after the group")


@case("`keys` are the keys after the change, `old_keys` those before it.")
def a_composite_key_moves(hub: Hub) -> None:
    writer, hall = Peer(hub), new_name("hall")
    writer.push([writer.insert("seat", {"hall": hall, "number": 1, "guest": "Ann"})])
    writer.pull()
    run = writer.update("seat", (hall, 1), {"number": 7})
    same((run["keys"], run["old_keys"]), ([[hall, 7]], [[hall, 1]]), "the keys of the run")
    writer.push([run]).are("applied")
    writer.pull()
    same(writer.row("seat", hall, 1), None, "the row under its old key")
    same((writer.row("seat", hall, 7) or {}).get("guest"), "Ann", "the row under its new key")


@case("A row inserted on a replica gets its key from one of the replica's blocks")
def a_generated_key_of_the_block_stays(hub: Hub) -> None:
    writer, reader = Peer(hub), Peer(hub)
    key = writer.key("product")
    writer.push([writer.insert("product", {"id": key, "name": "Tea", "stock": 0})]).are("applied")
    reader.pull()
    same((reader.row("product", key) or {}).get("name"), "Tea", "the row under its key")


@case("NULL is `null` in every column.")
def values_of_every_type_come_back_as_they_went(hub: Hub) -> None:
    writer, reader, full, empty = Peer(hub), Peer(hub), new_name(), new_name()
    rows = [{"id": full, **VALUES}, {"id": empty}]
    writer.push([writer.insert("item", *rows)]).are("applied", "applied")
    reader.pull()
    got = reader.row("item", full) or {}
    same({name: got.get(name) for name in VALUES}, VALUES, "the row of values")
    same(set((reader.row("item", empty) or {}).values()), {empty, None}, "the row of NULLs")


@case("a number within ±(2^53 − 1); beyond it, up to 64 bits, a string of decimal digits")
def integers_are_numbers_as_far_as_a_double_goes(hub: Hub) -> None:
    writer, reader, safe, large = Peer(hub), Peer(hub), new_name(), new_name()
    values = {safe: 2**53 - 1, large: str(-(2**63))}
    rows = [{"id": name, "an_integer": value} for name, value in values.items()]
    writer.push([writer.insert("item", *rows)]).are("applied", "applied")
    reader.pull()
    for name, value in values.items():
        same((reader.row("item", name) or {}).get("an_integer"), value, "the integer")


@case('a string: `"1.50"`')
def decimals_are_strings(hub: Hub) -> None:
    writer, reader, name = Peer(hub), Peer(hub), new_name()
    writer.push([writer.insert("item", {"id": name, "a_decimal": "1234.50"})]).are("applied")
    reader.pull()
    got = (reader.row("item", name) or {}).get("a_decimal")
    must(isinstance(got, str) and Decimal(got) == Decimal("1234.5"), f"the decimal came as {got!r}")


@case(
    "A value that its column cannot take is refused with the path at which it stands; in a push it "
    "is the change that is rejected, not the push."
)
def a_value_of_a_wrong_type_rejects_its_change_alone(hub: Hub) -> None:
    wrong: dict[str, Any] = {
        "an_integer": "12x",
        "a_real": "1.5",
        "a_decimal": 1.5,
        "a_boolean": 1,
        "a_text": 5,
        "a_blob": "not base64!",
    }
    writer = Peer(hub)
    for column, value in wrong.items():
        bad, good = new_name(), new_name()
        before, after = {"id": bad, column: value}, {"id": good}
        found = writer.push([writer.insert("item", before)], [writer.insert("item", after)])
        found.are("rejected bad-value", "applied")
        reason = found.all[0]["reason"]
        place = writer.columns["item"].index(column)
        path = f"groups[0].runs[0].set[0][{place}]"
        must(path in reason, f"the reason does not name {path}: {reason}")
        must(column in reason, f"the reason does not name the column {column}: {reason}")


@case("of these numbers all that are not plainly `applied`, in order")
def a_long_push_is_answered_to_its_end(hub: Hub) -> None:
    writer = Peer(hub)
    groups = [[writer.insert("note", {"id": new_name()})] for _ in range(300)]
    found = writer.push(*groups)
    found.are(*["applied"] * 300)
    same((found.first_n, found.last_n), (1, 300), "the numbers that are answered")


@case("a push with no groups may ask for nothing else")
def a_push_may_ask_for_keys_alone(hub: Hub) -> None:
    writer = Peer(hub)
    found = writer.push(lease={"product": 10})
    same((found.first_n, found.last_n), (1, 0), "the numbers that are answered")
    (block,) = found.answer["blocks"]
    same(block["table"], "product", "the table of the block")
    must(block["last"] - block["first"] + 1 >= 10, f"a block of 10 keys is {block}")
    must(block["first"] > writer.key("product"), "the fresh block is not a fresh one")


@case("NaN, infinities and lone surrogates do not exist on the wire.")
def a_lone_surrogate_never_arrives(hub: Hub) -> None:
    writer, name = Peer(hub), new_name()
    message = writer.message([writer.insert("note", {"id": name, "title": "PLACE"})])
    content = encode(message).replace(b'"PLACE"', b'"\\ud800"')
    answer = hub.send("POST", "v1/push", content=content)
    if answer.status == 200:
        same([o["kind"] for o in answer.body["outcomes"]], ["rejected"], "the kinds of outcomes")
    else:
        same(answer.body["code"], "bad-request", "the code")
    writer.pull()
    same(writer.row("note", name), None, "the row with half a character")


@case("A stamp from the future is set back to the hub's now.")
def a_clock_that_is_a_year_ahead_wins_no_longer_than_now(hub: Hub) -> None:
    fast, slow, name = Peer(hub), Peer(hub), new_name()
    year_ms = 365 * 86_400_000
    run = fast.insert(
        "note", {"id": name, "title": "a"}, stamps=[fast.next_stamp(ahead_ms=year_ms)]
    )
    fast.push([run]).are("applied")
    slow.pull()
    must(int(slow.stamp[:12], 16) < int(run["stamps"][0][:12], 16), "the hub took a year's advance")
    slow.push([slow.update("note", (name,), {"title": "b"})]).are("applied")
    fast.pull()
    same((fast.row("note", name) or {}).get("title"), "b", "what was written later")


@case("made once and never changed")
def an_id_stands_once_in_a_push(hub: Hub) -> None:
    writer, one = Peer(hub), new_id()
    runs = [writer.insert("note", {"id": new_name()}, ids=[one]) for _ in range(2)]
    problem = hub.refusal("push", writer.message(runs))
    same(problem["code"], "bad-request", "the code")
