"""Repairing: sums of ranges, lists of keys, rows, and the checkpoint that shows them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from suite.cases import case, must, same
from suite.peer import PROTOCOL, Key, Peer, new_name
from suite.wire import Hub

SUM_MODULUS = 2**64
ANSWERS_MAX = 1_000


def _hash(*values: Any) -> bytes:
    """The hash of canonical values; of texts and small integers those are what JSON writes."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _row_hash(peer: Peer, key: Key) -> bytes:
    row = peer.rows["seat"][key]
    return _hash(*(row[name] for name in peer.columns["seat"]))


def _ask(peer: Peer, ask: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """All answers to one question about `seat`."""
    after = None
    for _ in range(ANSWERS_MAX):
        answer = peer.hub.call(
            "repair",
            {
                "protocol": PROTOCOL,
                "replica": peer.replica,
                "cursor": peer.cursor,
                "tables": peer.tables,
                "table": "seat",
                "ask": ask,
                "after": after,
                **fields,
            },
        )
        yield answer
        after = answer.get("next")
        if after is None:
            return
    must(False, f"a question was not answered in {ANSWERS_MAX} requests")


def _with_seats(hub: Hub) -> tuple[Peer, str]:
    """A replica of seat alone, with a hall of its own."""
    peer, hall = Peer(hub, tables=["seat"]), new_name("hall")
    rows = [{"hall": hall, "number": n, "guest": f"guest {n}"} for n in range(5)]
    peer.push([peer.insert("seat", *rows)]).are(*["applied"] * 5)
    peer.pull()
    return peer, hall


@case("its sum is that of its rows' hashes modulo 2^64, of which 16 digits travel.")
def sums_are_those_of_the_rows(hub: Hub) -> None:
    peer, _ = _with_seats(hub)
    for digits in (0, 1):
        counts, sums = [0] * 16**digits, [0] * 16**digits
        for answer in _ask(peer, "sums", digits=digits):
            counts = [a + b for a, b in zip(counts, answer["rows"], strict=True)]
            parts = [int(text, 16) for text in answer["sums"]]
            sums = [(a + b) % SUM_MODULUS for a, b in zip(sums, parts, strict=True)]
        ours, our_sums = [0] * 16**digits, [0] * 16**digits
        for key in peer.rows["seat"]:
            place = int(_hash(*key).hex()[:digits] or "0", 16)
            ours[place] += 1
            added = int.from_bytes(_row_hash(peer, key), "big")
            our_sums[place] = (our_sums[place] + added) % SUM_MODULUS
        same(counts, ours, f"how many rows the ranges of {digits} digits have")
        same(sums, our_sums, f"the sums of the ranges of {digits} digits")


@case("in `keys` the keys in these ranges, in `hashes` the first 16 digits of their rows' hashes")
def a_list_names_every_row_of_its_ranges(hub: Hub) -> None:
    peer, _ = _with_seats(hub)
    for prefixes in ([""], ["0", "7"]):
        told: dict[Key, str] = {}
        for answer in _ask(peer, "list", prefixes=prefixes):
            pairs = zip(answer.get("keys", []), answer.get("hashes", []), strict=True)
            told |= {tuple(key): text for key, text in pairs}
        ours = {
            key: _row_hash(peer, key).hex()[:16]
            for key in peer.rows["seat"]
            if any(_hash(*key).hex().startswith(prefix) for prefix in prefixes)
        }
        must(
            told == ours, f"the list of {prefixes} has {len(told)} rows where there are {len(ours)}"
        )


@case("as `deletes` those keys under which there is none")
def rows_are_told_and_what_is_none(hub: Hub) -> None:
    peer, hall = _with_seats(hub)
    keys = [[hall, 1], [hall, 99], [hall, 3]]
    puts, deletes, taken = [], [], 0
    while taken < len(keys):
        (answer,) = _ask(peer, "rows", keys=keys[taken:])
        must(answer.get("taken", 0) > 0, "an answer is about none of the keys")
        taken += answer["taken"]
        puts += answer["page"].get("puts", [])
        deletes += answer["page"].get("deletes", [])
    same(sorted(puts), [[hall, 1, "guest 1"], [hall, 3, "guest 3"]], "the rows")
    same(deletes, [[hall, 99]], "the keys without a row")


@case("a `page` with the next rows of the table")
def all_rows_come_in_pages(hub: Hub) -> None:
    peer, _ = _with_seats(hub)
    rows = [
        tuple(values) for answer in _ask(peer, "all") for values in answer["page"].get("puts", [])
    ]
    ours = {tuple(row[name] for name in peer.columns["seat"]) for row in peer.rows["seat"].values()}
    must(set(rows) == ours, f"{len(rows)} rows came of {len(ours)}")


@case("the next checkpoint shows all of it")
def a_repair_ends_with_the_next_checkpoint(hub: Hub) -> None:
    peer, hall = _with_seats(hub)
    writer = Peer(hub)
    (answer,) = _ask(peer, "rows", keys=[[hall, 1]])
    writer.push([writer.update("seat", (hall, 1), {"guest": "later"})]).are("applied")
    page = hub.call("pull", peer.request(repaired=answer["cursor"]))
    same(page.get("checkpoint", False), True, "`checkpoint`")
    same(page.get("reset", False), False, "`reset` after a repair of this log")
    peer.take(page)
    same((peer.row("seat", hall, 1) or {}).get("guest"), "later", "what was written meanwhile")


@case("If the hub's log does not have it, the answer is a snapshot")
def a_repair_of_another_log_does_not_count(hub: Hub) -> None:
    other = Peer(hub.second(), tables=["seat"])
    peer, _ = _with_seats(hub)
    page = hub.call("pull", peer.request(repaired=other.cursor))
    same(page.get("reset", False), True, "`reset`")


@case("the cursor is not one of this log, these tables and columns any more")
def a_cursor_of_another_log_is_stale(hub: Hub) -> None:
    other = Peer(hub.second(), tables=["seat"])
    peer, _ = _with_seats(hub)
    peer.cursor = other.cursor
    (answer,) = _ask(peer, "sums")
    same(answer.get("is_stale", False), True, "`is_stale`")
