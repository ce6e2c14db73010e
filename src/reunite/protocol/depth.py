"""How deeply a JSON body is nested and how many values it has, found out before it is parsed.

A value of a `json` column may hold anything, so the message types alone do not bound its depth; and
three bytes such as `{},` become a hundred in memory.
"""

from __future__ import annotations

import re
from itertools import accumulate

from reunite.errors import LimitExceededError

# Only brackets and quotes matter; an opening bracket becomes the byte +1, a closing one -1.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_NEITHER_SEPARATOR_NOR_QUOTE = bytes(set(range(256)) - set(b',[{"'))
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


def refuse_many(body: bytes, *, values_max: int) -> None:
    """Raise LimitExceededError (`BODY_VALUES_MAX`) if the body has more values.

    What stands in strings does not count. Costs nothing below two bytes a value, and about 10 ms a
    megabyte at most.
    """
    if len(body) <= 2 * values_max or _separators(body) <= values_max:
        return
    if _separators(_without_strings(body, _NEITHER_SEPARATOR_NOR_QUOTE)) > values_max:
        raise LimitExceededError(
            f"The body has more than {values_max} values: send less at a time.",
            limit="BODY_VALUES_MAX",
        )


def _separators(body: bytes) -> int:
    """All values but one follow one of these."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _steps(body: bytes) -> bytes:
    """A step down or up for each bracket that is not inside a string."""
    return _without_strings(body, _NEITHER_BRACKET_NOR_QUOTE, _STEPS)


def _without_strings(body: bytes, unwanted: bytes, table: bytes | None = None) -> bytes:
    """The bytes outside strings that are not `unwanted`, translated by `table`."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(table, unwanted)
    # Strings without such bytes are pairs of quotes now. A run of quotes keeps its parity when
    # pairs are taken out, so what is left still opens and closes the strings that do hold some.
    marks = marks.replace(b'""', b"")
    return _STRING.sub(b"", marks).replace(b'"', b"") if b'"' in marks else marks
