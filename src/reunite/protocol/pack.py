"""Packs: rows of a first clone as an SQLite database, which SQLite copies without anybody's help.

    body = "reunite-pack" | length of the JSON as 8 hexadecimal digits | JSON page | pack

The page's parts say in `packed` which table of the pack, `t0`, `t1`, …, has their puts; its columns
`c0`, `c1`, … are those of the part, in their order, and hold values as the hub's SQLite stores
them. A hub answers so only who asks for it (`PullRequest.packed`), and where it can: its rows are
in SQLite, in UTF-8, and their texts are text.

What it is not   a format to keep or to exchange: a pack lives as long as its page.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from reunite.errors import BadRequestError
from reunite.protocol.codec import decode, encode
from reunite.protocol.pull import Page

PACK_TYPE = "application/vnd.reunite.pack"

_MAGIC = b"reunite-pack"
_DIGITS = 8
_HEAD_BYTES = len(_MAGIC) + _DIGITS

PageType = TypeVar("PageType", bound=Page)


def table_name(place: int) -> str:
    """What the pack calls its tables, counted from 0."""
    return f"t{place}"


def table_sql(name: str, columns: int) -> str:
    """The statement that makes one, to the letter: without types, so that every value stays what
    it is."""
    return f"CREATE TABLE {name}({','.join(f'c{i}' for i in range(columns))})"


def encode_page(page: Page) -> bytes:
    """A page as the body of an answer."""
    if not page.pack:
        return encode(page)
    text = encode(msgspec.structs.replace(page, pack=b""))
    return b"".join((_MAGIC, b"%08x" % len(text), text, page.pack))


def is_packed(body: bytes) -> bool:
    """Whether the body of an answer has a pack."""
    return body.startswith(_MAGIC)


def decode_page(body: bytes, page_type: type[PageType]) -> PageType:
    """The inverse of `encode_page`. Raises BadRequestError."""
    if not is_packed(body):
        return decode(body, page_type, bytes_max=None)
    try:
        end = _HEAD_BYTES + int(body[len(_MAGIC) : _HEAD_BYTES], 16)
    except ValueError as exc:
        raise BadRequestError("The pack has no length.") from exc
    page = decode(body[_HEAD_BYTES:end], page_type, bytes_max=None)
    return msgspec.structs.replace(page, pack=body[end:])
