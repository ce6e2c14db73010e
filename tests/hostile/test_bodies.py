"""Bodies that are too large, too deep, packed to burst, or no JSON at all; and values in them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from reunite.protocol.encoding import ENCODINGS, compress
from reunite.protocol.limits import BODY_BYTES_MAX, BODY_DEPTH_MAX
from tests.hostile.conftest import JSON, Somebody, insert, rows_of, update, watch

OPERATIONS = ("register", "push", "pull", "repair")


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"  \n\t ",
    "null": b"null",
    "a number": b"1",
    "a string": b'"x"',
    "a list": b"[]",
    "two values": b"{}{}",
    "a trailing comma": b'{"protocol":1,}',
    "an open string": b'{"protocol":"',
    "an open object": b'{"protocol":',
    "a comment": b'{"protocol":1/*x*/}',
    "single quotes": b"{'protocol':1}",
    "NaN": b'{"protocol":NaN}',
    "Infinity": b'{"protocol":-Infinity}',
    "hexadecimal": b'{"protocol":0x1}',
    "a float for a number": b'{"protocol":1.5}',
    "true for a number": b'{"protocol":true}',
    "a text for a number": b'{"protocol":"1"}',
    "a huge number": b'{"protocol":' + b"9" * 5_000 + b"}",
    "a huge exponent": b'{"protocol":1e999999999}',
    "not UTF-8": b'{"protocol":1,"name":"\xff\xfe"}',
    "overlong UTF-8": b'{"protocol":1,"name":"\xc0\xaf"}',
    "UTF-16": '{"protocol":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"protocol":1}',
    "a lone surrogate": b'{"protocol":1,"name":"\\ud800"}',
    "NUL bytes": b'{"protocol":1}\x00\x00',
    "a control character": b'{"protocol":1,"name":"a\x01b"}',
    "deep lists": nested(100_000),
    "deep objects": nested(100_000, '{"a":', "}"),
    "deep lists inside": b'{"protocol":' + nested(BODY_DEPTH_MAX + 1) + b"}",
    "deep and never closed": b"[" * 1_000_000,
    "closed and never opened": b"]" * 1_000_000,
    "quotes and backslashes": b'"\\' * 200_000,
    "a field of nobody": b'{"protocol":1,"__proto__":{"admin":true},"constructor":1}',
    "many fields": json.dumps({f"field{n}": n for n in range(20_000)}).encode(),
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.",
    "a form": b"protocol=1&name=x",
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_is_no_message_is_refused(mallory: Somebody, operation: str, body: bytes) -> None:
    told = mallory.send(operation, body)
    assert told.status_code in (400, 413), told.text
    assert told.json()["code"] in ("bad-request", "limit-exceeded")
    assert len(told.content) < 2_000  # what came is not repeated


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_does_not_burst(mallory: Somebody, encoding: str) -> None:
    bomb = compress(b"[" + b" " * (BODY_BYTES_MAX + 1), encoding)
    assert len(bomb) < 500_000
    headers = {**JSON, "Content-Encoding": encoding}
    told = watch(mallory.client.post("v1/push", content=bomb, headers=headers))
    assert (told.status_code, told.json()["limit"]) == (413, "BODY_BYTES_MAX")


@pytest.mark.parametrize(
    ("encoding", "status"),
    [
        ("gzip, gzip", 415), ("gzip,identity", 415), ("br", 415), ("deflate", 415), ("x", 415),
        ("", 415), ("GZIP", 400), ("gzip", 400), ("chunked", 415),
    ],
)  # fmt: skip
def test_an_encoding_that_lies_is_refused(mallory: Somebody, encoding: str, status: int) -> None:
    body = gzip.compress(gzip.compress(b"{}"))
    headers = {**JSON, "Content-Encoding": encoding}
    told = watch(mallory.client.post("v1/pull", content=body, headers=headers))
    assert told.status_code == status


@pytest.mark.parametrize("filler", [b"[]", b"{}", b"0", b'""', b'"ab"', b"1.5"], ids=repr)
def test_many_small_values_are_refused_before_they_fill_the_memory(
    mallory: Somebody, filler: bytes
) -> None:
    """Two bytes of JSON may stand for a hundred in memory."""
    values = (filler + b",") * (40_000_000 // (len(filler) + 1))
    body = b'{"protocol":1,"groups":[' + values + b"0]}"
    tracemalloc.start()
    try:
        told = mallory.send("push", body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (told.status_code, told.json()["limit"]) == (413, "BODY_VALUES_MAX")
    assert peak < 8 * len(body)


def test_a_text_full_of_commas_is_one_value(database: Path, mallory: Somebody) -> None:
    text = ',"[{\\' * 2_000_000
    assert mallory.push(insert("k-1", title=text)) == []
    assert text in [found[4] for found in rows_of(database)]


VALUES: list[Any] = [
    None, True, 0, -1, 2**53, 2**63, 2**64, 10**400, 1.5, 1e308, -0.0, "", "x", "\x00", "\ufeff",
    "'; drop table task; --", "%", "_", "\\", '"', "\u202e", "a" * 100_000, [], {}, [1], {"a": 1},
    {"$type": "blob"}, {"blob": "AA=="}, "AA==", "=", "\U0001f600" * 1_000, {"": ""}, [[[]]],
]  # fmt: skip


@pytest.mark.parametrize("column", ["title", "size", "extra", "photo", "owner", "organization"])
def test_a_strange_value_is_stored_as_it_is_or_refused_by_name(
    database: Path, mallory: Somebody, column: str
) -> None:
    """One bad value never keeps the others from being judged, and a good one comes back as it was
    sent."""
    for place, value in enumerate(VALUES):
        key = f"k-{place}"
        outcomes = mallory.push(insert(key, **{column: value}))
        kept = [put for put in rows_of(database) if put[0] == key]
        if outcomes:
            assert outcomes[0]["code"] in ("bad-value", "not-allowed"), (value, outcomes)
            assert kept == []
        else:
            assert len(kept) == 1
            found = mallory.get("v1/query/task", params={"where": json.dumps({"id": key})}).json()
            (shown,) = found["rows"]
            sent = (
                value
                if column not in ("owner", "organization")
                else shown[found["columns"].index(column)]
            )
            assert same(shown[found["columns"].index(column)], sent), (value, shown)


def same(found: Any, sent: Any) -> bool:
    """As JSON: 2^63 may come back as text."""
    return bool(found == sent or str(found) == str(sent))


@pytest.mark.parametrize("value", [{"a": "b"}, [1], 7, True, None], ids=str)
def test_a_change_that_names_strange_keys_is_refused_or_finds_nothing(
    database: Path, mallory: Somebody, value: Any
) -> None:
    before = rows_of(database)
    run = update("k-ann", {"title": "Paint"}, {"title": "x"}) | {"keys": [[value]]}
    told = mallory.send("push", mallory.push_message(run))
    assert told.status_code in (200, 400)
    assert rows_of(database) == before
