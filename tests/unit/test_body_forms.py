"""What protects the door: bounded decompression, encoding negotiation, and nesting depth."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.errors import BadRequestError, LimitExceededError
from reunite.protocol.depth import refuse_deep, refuse_many
from reunite.protocol.encoding import ENCODINGS, accepted, compress, decompress

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
bracketed_text = st.text(alphabet='[]{}"\\ab')
bracketed_values = st.recursive(
    bracketed_text,
    lambda inner: st.lists(inner) | st.dictionaries(bracketed_text, inner),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, list | dict):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inside), default=0)
    return 0


@given(json_values | bracketed_values, st.booleans())
def test_depth_is_exact_whatever_the_strings_hold(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode()
    depth = depth_of(value)
    refuse_deep(body, depth_max=depth)
    if depth:
        with pytest.raises(LimitExceededError) as caught:
            refuse_deep(body, depth_max=depth - 1)
        assert caught.value.limit == "BODY_DEPTH_MAX"


def separators_of(value: Any) -> int:
    if isinstance(value, list | dict):
        inside = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(0, len(inside) - 1) + sum(map(separators_of, inside))
    return 0


@given(json_values | bracketed_values, st.booleans())
def test_values_are_counted_whatever_the_strings_hold(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":")).encode()
    count = separators_of(value)
    refuse_many(body, values_max=count)
    if count:
        with pytest.raises(LimitExceededError) as caught:
            refuse_many(body, values_max=count - 1)
        assert caught.value.limit == "BODY_VALUES_MAX"


@given(st.binary())
def test_depth_of_no_json_is_nobodys_error(body: bytes) -> None:
    refuse_deep(body, depth_max=len(body))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(body=st.binary(max_size=2_000))
def test_what_was_compressed_comes_back(encoding: str, body: bytes) -> None:
    assert decompress(compress(body, encoding), encoding, bytes_max=len(body)) == body


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_refused_by_name(encoding: str) -> None:
    bomb = compress(bytes(10_000_001), encoding)
    assert len(bomb) < 50_000
    with pytest.raises(LimitExceededError) as caught:
        decompress(bomb, encoding, bytes_max=10_000_000)
    assert caught.value.limit == "BODY_BYTES_MAX"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("spoil", ["empty", "cut", "longer", "twice", "other"])
def test_a_spoilt_body_is_a_bad_request(encoding: str, spoil: str) -> None:
    whole = compress(b'{"protocol":1}' * 9, encoding)
    spoilt = {
        "empty": b"",
        "cut": whole[:-5],
        "longer": whole + b"x",
        "twice": whole + whole,
        "other": b'{"protocol":1}',
    }[spoil]
    with pytest.raises(BadRequestError):
        decompress(spoilt, encoding, bytes_max=1_000)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br, deflate", None),
        ("gzip", "gzip"),
        ("GZIP;Q=0.1", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=nonsense", None),
        ("*", ENCODINGS[0]),
        ("gzip, zstd", ENCODINGS[0]),
        ("zstd;q=0.5, gzip;q=0.9", "gzip"),
        ("zstd;q=0, *;q=0.2", "gzip"),
    ],
)
def test_the_answers_encoding_is_one_that_is_welcome(
    header: str | None, encoding: str | None
) -> None:
    assert accepted(header) == encoding
