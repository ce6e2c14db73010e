"""Every limit of the wire, by name. What happens at each is said beside it.

A request over a limit is answered 413 or 429 with a problem whose `limit` is the name here.
"""

from __future__ import annotations

from reunite.core.expression import (
    EXPRESSION_DEPTH_MAX,
    EXPRESSION_TERMS_MAX,
    EXPRESSION_VALUES_MAX,
)
from reunite.core.sizes import FIELD_BYTES_MAX, ROW_BYTES_MAX

__all__ = [
    "EXPRESSION_DEPTH_MAX",
    "EXPRESSION_TERMS_MAX",
    "EXPRESSION_VALUES_MAX",
    "FIELD_BYTES_MAX",
    "ROW_BYTES_MAX",
]

# A request's body, before and after decompression. Replicas send smaller pushes.
BODY_BYTES_MAX = 64 * 1024 * 1024

# Nested arrays and objects in a request: a JSON value of 64 levels, and what a push puts around it.
BODY_DEPTH_MAX = 80

# Values in a request, however small: a few bytes of JSON may need a hundred of memory.
BODY_VALUES_MAX = 5_000_000

# Changes in one push. A group of more than half as many goes in parts.
PUSH_CHANGES_MAX = 100_000

# Changes a replica aims for in one push; a larger group travels alone.
PUSH_CHANGES_AIM = 2_000

# Bytes of row images a replica aims for in one push; a larger group travels alone.
PUSH_BYTES_AIM = 8 * 1024 * 1024

# Changes in one part of a group that is pushed in parts; the replica cuts where it, or
# PUSH_BYTES_AIM, is reached.
PART_CHANGES_AIM = 20_000

# Changes and bytes that the hub holds of a group whose parts are coming; of each replica one group.
GROUP_CHANGES_MAX = 1_000_000
GROUP_BYTES_MAX = 512 * 1024 * 1024

# Seconds after which parts whose rest has not come are forgotten. The replica begins again.
STAGED_AGE_S_MAX = 24 * 60 * 60

# Rows in one page; the hub cuts where it is reached. A request may ask for fewer.
PAGE_ROWS_MAX = 5_000

# Bytes in one page. A page of a single row may pass it, since a row is never cut.
PAGE_BYTES_MAX = 8 * 1024 * 1024

# Bytes in one page of a live stream: the hub sends another. A step of rows may pass it.
LIVE_PAGE_BYTES = 256 * 1024

# Bytes of pages that a stream is sent at a time; if there is more, the replica pulls instead.
LIVE_BYTES_MAX = 4 * 1024 * 1024

# Seconds that a pull may wait for news, whatever it asks for.
WAIT_S_MAX = 60

# Rows that one answer of `repair` reads; `next` leads on.
REPAIR_ROWS_MAX = 250_000

# Bytes of rows that one answer of `repair` reads; `next` leads on.
REPAIR_BYTES_MAX = 128 * 1024 * 1024

# Rows that one answer of `repair` lists; `next` leads on. A few more end a step.
REPAIR_LIST_MAX = 20_000

# Digits of the prefixes by which `repair` divides a table: 16 to the power of this many ranges.
REPAIR_DIGITS_MAX = 3

# Keys that one request of `repair` may name; the hub may answer for fewer.
REPAIR_KEYS_MAX = 5_000

# Rows in one answer of `query`.
QUERY_ROWS_MAX = 1_000

# Keys in one leased block of generated keys, if the replica does not ask for more.
KEY_BLOCK_SIZE = 1_000

# Keys in the largest block that a replica gets, whatever it asks for.
KEY_BLOCK_MAX = 1_000_000

# Characters of the name that a replica gives itself. Every file's name fits.
NAME_LENGTH_MAX = 255

# Earlier identities that a push may name. A file that was forked more often forgets the oldest.
FORMERS_MAX = 20

# Attempts to log in that may fail in a minute, for one name and from one address.
LOGIN_RATE_MAX = 10
