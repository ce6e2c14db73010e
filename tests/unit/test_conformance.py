"""The vectors of the pure core: every file is read, every case holds.

`conformance/README.md` says what a file looks like. A file that no reader here knows is an error:
add its reader, here and in the twin.
"""

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reunite.core.change import Change
from reunite.core.checks import check_columns
from reunite.core.cursor import decode_cursor, encode_cursor
from reunite.core.digest import (
    Digests,
    RangeSum,
    SumsByRange,
    differing_ranges,
    digests_of,
    prefixes_of,
)
from reunite.core.merge import conflicting_columns, merge_insert, merge_row, overlay
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.squash import squash
from reunite.core.stamp import clamp, commit_stamp, next_stamp, parse_stamp
from reunite.core.stored import is_tagged, tagged, untagged, wire_form
from reunite.core.values import add, canonical_text, is_written_alike, larger, same
from reunite.core.view import view_hash
from reunite.errors import ReuniteError

CONFORMANCE = Path(__file__).parents[2] / "conformance"
FOLDERS = ("values", "stamp", "merge", "squash", "cursor", "digest")
FILES = sorted(path for folder in FOLDERS for path in (CONFORMANCE / folder).rglob("*.json"))

FUNCTIONS = {"join": lambda base, theirs, mine, _context: f"{base}<{theirs}+{mine}"}


class Case(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    given: Any
    expect: Any = msgspec.UNSET
    error: dict[str, str] | None = None


class VectorFile(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    function: str
    cases: list[Case]


def given_rows(rows: list[list[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


def read_merge(merge: Callable[..., Any], given: dict[str, Any]) -> Any:
    parameters = dict(given)
    table = msgspec.convert(parameters.pop("table"), TableSchema)
    parameters["theirs"] = tuple(parameters["theirs"])
    named = parameters.pop("functions", {})
    merged = merge(
        table, **parameters, functions={column: FUNCTIONS[name] for column, name in named.items()}
    )
    contested = conflicting_columns(
        table,
        columns=given["columns"],
        base=given.get("base"),
        mine=given["mine"],
        theirs=parameters["theirs"],
    )
    return {**plain(merged), "conflicting": list(contested)}


def read_overlay(given: dict[str, Any]) -> Any:
    named = given.get("functions", {})
    return overlay(
        msgspec.convert(given["table"], TableSchema),
        columns=given["columns"],
        was=given["was"],
        set=given["set"],
        hub=tuple(given["hub"]),
        functions={column: FUNCTIONS[name] for column, name in named.items()},
    )


def read_check(given: dict[str, Any]) -> None:
    check_columns(
        msgspec.convert(given["columns"], list[Column]),
        given_rows(given["rows"]),
        path=given["path"],
        is_loose=given.get("is_loose", False),
    )


def read_wire_form(given: dict[str, Any]) -> Any:
    """The wire form of a stored value; a tagged one leads back to it."""
    read: dict[str, Callable[[str], Any]] = {
        "integer": int,
        "real": lambda digits: struct.unpack(">d", bytes.fromhex(digits))[0],
        "text": str,
        "blob": base64.b64decode,
    }
    ((kind, text),) = [(kind, text) for kind, text in given.items() if kind in read]
    stored = read[kind](text)
    wire = wire_form(ColumnType(given["type"]))(stored)
    if is_tagged(wire):
        assert untagged(wire) == stored
        assert type(untagged(wire)) is type(stored)
        assert tagged(stored) == wire
    return wire


def read_stamp_text(given: str) -> Any:
    stamp = parse_stamp(given)
    assert str(stamp) == given
    return stamp


def read_next_stamp(given: dict[str, Any]) -> str:
    seen = [parse_stamp(text) for text in given["seen"]]
    return str(next_stamp(parse_stamp(given["last"]), seen, now_ms=given["now_ms"]))


def read_order(given: list[str]) -> list[str]:
    stamps = sorted(parse_stamp(text) for text in given)
    assert [str(stamp) for stamp in stamps] == sorted(given)
    return sorted(given)


def read_cursor(given: str) -> Any:
    cursor = decode_cursor(given)
    assert encode_cursor(cursor) == given
    return cursor


def read_row_digests(given: dict[str, Any]) -> Any:
    found = digests_of(msgspec.convert(given["table"], TableSchema), given_rows(given["rows"]))
    return [
        {"key_hash": key.hex(), "row_hash": row.hex()}
        for key, row in zip(found.keys, found.rows, strict=True)
    ]


def read_range_sums(given: dict[str, Any]) -> Any:
    """All ranges of one length are summed at once here; the vectors may mix lengths."""
    hashes = [
        [bytes.fromhex(one[name]) for one in given["digests"]] for name in ("key_hash", "row_hash")
    ]
    digests = Digests(keys=hashes[0], rows=hashes[1], size=0)
    found = {}
    for length in {len(prefix) for prefix in given["prefixes"]}:
        sums = SumsByRange(length)
        sums.add(digests)
        found |= {one.prefix: one for one in sums.ranges()}
    return [found[prefix] for prefix in given["prefixes"]]


READERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("values", "same"): lambda g: same(ColumnType(g["type"]), g["a"], g["b"]),
    ("values", "canonical_text"): lambda g: canonical_text(ColumnType(g["type"]), g["value"]),
    ("values", "larger"): lambda g: larger(ColumnType(g["type"]), g["a"], g["b"]),
    ("values", "add"): lambda g: add(ColumnType(g["type"]), g["hub"], g["from"], g["to"]),
    ("values", "check_columns"): read_check,
    ("values", "wire_form"): read_wire_form,
    ("stamp", "parse_stamp"): read_stamp_text,
    ("stamp", "next_stamp"): read_next_stamp,
    ("stamp", "clamp"): lambda g: str(clamp(parse_stamp(g["stamp"]), now_ms=g["now_ms"])),
    ("stamp", "commit_stamp"): commit_stamp,
    ("stamp", "sorted"): read_order,
    ("merge", "merge_row"): lambda g: read_merge(merge_row, g),
    ("merge", "merge_insert"): lambda g: read_merge(merge_insert, g),
    ("merge", "overlay"): read_overlay,
    ("squash", "squash"): lambda g: squash(msgspec.convert(g, list[Change])),
    ("cursor", "decode_cursor"): read_cursor,
    ("cursor", "view_hash"): view_hash,
    ("digest", "row_digests"): read_row_digests,
    ("digest", "range_sums"): read_range_sums,
    ("digest", "differing_ranges"): lambda g: differing_ranges(
        msgspec.convert(g["ours"], list[RangeSum]), msgspec.convert(g["theirs"], list[RangeSum])
    ),
    ("digest", "split_range"): lambda g: [
        prefix for prefix in prefixes_of(len(g) + 1) if prefix.startswith(g)
    ],
}


def plain(value: Any) -> Any:
    """As JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def filled(expect: Any, got: Any) -> Any:
    """`expect` with the members that `got` leaves out as defaults taken away, at any depth."""
    if isinstance(expect, dict) and isinstance(got, dict):
        return {
            name: filled(member, got.get(name))
            for name, member in expect.items()
            if name in got or member not in (False, None, [])
        }
    if isinstance(expect, list) and isinstance(got, list) and len(expect) == len(got):
        return [filled(one, other) for one, other in zip(expect, got, strict=True)]
    return expect


def without_defaults(change: Any) -> Any:
    if isinstance(change, list):
        return [without_defaults(member) for member in change]
    return {name: member for name, member in change.items() if member not in (None, [])}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vectors_hold(path: Path) -> None:
    """Every case of the file; all that fail are named at once."""
    vectors = msgspec.json.decode(path.read_bytes(), type=VectorFile)
    reader = READERS[path.parent.name, vectors.function]
    failures = [failure for case in vectors.cases if (failure := failure_of(case, reader))]
    assert failures == []
    assert vectors.cases, "a file without cases defines nothing"


def failure_of(case: Case, reader: Callable[[Any], Any]) -> str | None:
    try:
        got = plain(reader(case.given))
    except (ReuniteError, ValueError) as exc:
        if case.error is None:
            return f"{case.name}: {exc!r}"
        expected = dict(case.error)
        if expected.pop("kind", None) == "value":
            return None if isinstance(exc, ValueError) else f"{case.name}: {exc!r}"
        found = {name: getattr(exc, name, None) for name in expected}
        return None if found == expected else f"{case.name}: {found}"
    if case.error is not None:
        return f"{case.name}: not refused, {got!r}"
    expect = case.expect
    if reader is READERS["squash", "squash"]:
        got, expect = without_defaults(got), without_defaults(expect)
    expect = filled(expect, got)
    return None if is_written_alike(got, expect) else f"{case.name}: {got!r}, not {expect!r}"


def test_every_reader_has_vectors() -> None:
    """And every file a reader: `test_vectors_hold` fails on one without."""
    found = {
        (path.parent.name, msgspec.json.decode(path.read_bytes(), type=VectorFile).function)
        for path in FILES
    }
    assert found == set(READERS)
