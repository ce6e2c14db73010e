"""Cursors: how far a replica has read, of what view, of which epoch.

What it is       a value, and its spelling as text that replicas store and hand back.
What it is not   a secret or a proof: the text comes back from outside, so the engine compares
                 nonce and view, and takes nothing in it as a right to read.
The rule         text that we did not write ourselves does not decode.

    base64url of the JSON array
    [format, epoch, seq, nonce, id, checkpoint, view, null or [table, null or key, rows_total],
     null or [seq, nonce] of the head that the last page was read at,
     the hash of the old view: only while a change of view is under way,
     [step, null or key]: only between pages of rows that one change concerns]
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec

from reunite.core.key import Key
from reunite.core.values import INTEGER_MAX, SAFE_INTEGER_MAX
from reunite.errors import BadRequestError

FORMAT_VERSION = 1


class SnapshotPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Inside a snapshot: rows of `table` up to the key `after` have been sent (None: none)."""

    table: str
    after: Key | None
    rows_total: int


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """Inside what one change concerns: the rows of the view that reach the changed one by its step
    number `step` have been sent up to the key `after` (None: none), those of lesser steps all."""

    step: int
    after: Key | None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The newest commit at the moment a page was read."""

    seq: int
    nonce: str


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """All commits up to `seq` (whose nonce is `nonce`) are read, and of the next one the changes
    up to `id` (0: none).

    `checkpoint` is the seq of the replica's last checkpoint, `view` the hash of the view that was
    read, `snapshot` the position inside a snapshot that is under way. `old_view` is the hash of
    the view of that checkpoint, while rows are sent because the view is another one now; then
    `snapshot` is the position among those rows.

    Pages hold rows as they are when the page is read, which may be later than `seq`; `seen` is the
    head at that moment, and None where the cursor stands at it. A log without either commit is not
    the one that was read.

    `expansion` is about the next change: it concerns more rows than one page holds.
    """

    epoch: str
    seq: int
    nonce: str
    id: int
    checkpoint: int
    view: str
    snapshot: SnapshotPosition | None = None
    seen: Seen | None = None
    old_view: str | None = None
    expansion: Expansion | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
_KeyInteger = Annotated[int, msgspec.Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
_KeyValue = bool | _KeyInteger | float | str


class _SnapshotArray(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    table: str
    after: tuple[_KeyValue, ...] | None
    rows_total: _Count


class _ExpansionArray(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    step: _Count
    after: tuple[_KeyValue, ...] | None


class _SeenArray(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    seq: _Count
    nonce: str


class _CursorArray(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format_version: Annotated[int, msgspec.Meta(ge=FORMAT_VERSION, le=FORMAT_VERSION)]
    epoch: str
    seq: _Count
    nonce: str
    id: _Count
    checkpoint: _Count
    view: str
    snapshot: _SnapshotArray | None
    seen: _SeenArray | None
    old_view: str | None = None
    expansion: _ExpansionArray | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_CursorArray)


def encode_cursor(cursor: Cursor) -> str:
    """The cursor as text; the same cursor always gives the same text."""
    position, expansion = cursor.snapshot, cursor.expansion
    rest: tuple[Any, ...] = ()
    if expansion is not None:
        rest = (cursor.old_view, (expansion.step, expansion.after))
    elif cursor.old_view is not None:
        rest = (cursor.old_view,)
    array = (
        FORMAT_VERSION,
        cursor.epoch,
        cursor.seq,
        cursor.nonce,
        cursor.id,
        cursor.checkpoint,
        cursor.view,
        None if position is None else (position.table, position.after, position.rows_total),
        None if cursor.seen is None else (cursor.seen.seq, cursor.seen.nonce),
        *rest,
    )
    return base64.urlsafe_b64encode(_encoder.encode(array)).decode().rstrip("=")


def decode_cursor(text: str, *, path: str = "cursor") -> Cursor:
    """The inverse of `encode_cursor`. Raises BadRequestError for any other text, with the path.

    The key in a snapshot position is one of JSON scalars; whether it fits its table is for those
    to check who know the table.
    """
    try:
        padded = text.translate(_TO_BASE64) + "=" * (-len(text) % 4)
        array = _decoder.decode(binascii.a2b_base64(padded, strict_mode=True))
        position = array.snapshot
        cursor = Cursor(
            epoch=array.epoch,
            seq=array.seq,
            nonce=array.nonce,
            id=array.id,
            checkpoint=array.checkpoint,
            view=array.view,
            snapshot=None
            if position is None
            else SnapshotPosition(
                table=position.table, after=position.after, rows_total=position.rows_total
            ),
            seen=None if array.seen is None else Seen(seq=array.seen.seq, nonce=array.seen.nonce),
            old_view=array.old_view,
            expansion=None
            if array.expansion is None
            else Expansion(step=array.expansion.step, after=array.expansion.after),
        )
    except (ValueError, msgspec.MsgspecError) as exc:
        raise _malformed(path) from exc
    # One spelling a cursor: stray bits, spaces and other base64 alphabets are not ours.
    if encode_cursor(cursor) != text:
        raise _malformed(path)
    return cursor


_TO_BASE64 = str.maketrans("-_", "+/")


def _malformed(path: str) -> BadRequestError:
    return BadRequestError("The cursor was not made by a hub: pull without one.", path=path)
