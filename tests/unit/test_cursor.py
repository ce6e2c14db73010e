"""Cursors: there and back, and nothing else decodes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.cursor import Cursor, Seen, SnapshotPosition, decode_cursor, encode_cursor
from reunite.core.values import INTEGER_MAX, SAFE_INTEGER_MAX
from reunite.core.view import view_hash
from reunite.errors import BadRequestError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COUNTS = st.integers(0, 3) | st.integers(0, INTEGER_MAX)
KEYS = st.lists(
    st.integers(-SAFE_INTEGER_MAX, SAFE_INTEGER_MAX)
    | TEXTS
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=3,
).map(tuple)
CURSORS = st.builds(
    Cursor,
    epoch=TEXTS,
    seq=COUNTS,
    nonce=TEXTS,
    id=COUNTS,
    checkpoint=COUNTS,
    view=TEXTS,
    snapshot=st.none()
    | st.builds(SnapshotPosition, table=TEXTS, after=st.none() | KEYS, rows_total=COUNTS),
    seen=st.none() | st.builds(Seen, seq=COUNTS, nonce=TEXTS),
    old_view=st.none() | TEXTS,
)


@given(CURSORS)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    text = encode_cursor(cursor)
    assert decode_cursor(text) == cursor
    assert text.isascii()
    assert set(text).isdisjoint("+/= ")


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda blob: base64.urlsafe_b64encode(blob).decode().rstrip("="))
)
def test_any_other_text_is_refused_with_its_path(text: str) -> None:
    refuse(text)


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_refused_or_is_a_cursor(cursor: Cursor, data: st.DataObject) -> None:
    text = encode_cursor(cursor)
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters())
    damaged = text[:place] + character + text[place + data.draw(st.integers(0, 1)) :]
    try:
        decoded = decode_cursor(damaged)
    except BadRequestError:
        return
    assert encode_cursor(decoded) == damaged


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_deep_cursor_is_refused(depth: int) -> None:
    refuse(base64.urlsafe_b64encode(b"[" * depth).decode().rstrip("="))


def test_a_lone_surrogate_is_refused() -> None:
    refuse("\ud800")


def refuse(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        decode_cursor(text)
    assert caught.value.code == "bad-request"
    assert caught.value.path == "cursor"


@given(st.dictionaries(TEXTS, st.integers(1, 5)), st.dictionaries(TEXTS, st.integers(1, 5)))
def test_views_have_one_hash_only_if_they_are_one(a: dict[str, int], b: dict[str, int]) -> None:
    assert (view_hash(a) == view_hash(b)) == (a == b)
    assert view_hash(dict(reversed(a.items()))) == view_hash(a)
