"""The limits of one server process, by name. Those of a single request are in `protocol.limits`.

What is over a limit on how much happens at a time is answered 429 with Retry-After: it may come
again. The memory that requests hold is at most `BODIES_BYTES_MAX`, and `BODY_BYTES_MAX` for each
of `WORKERS_MAX` while it is decompressed, before what a use case needs itself.
"""

from __future__ import annotations

import msgspec

from reunite.protocol.limits import BODY_BYTES_MAX, BODY_DEPTH_MAX, BODY_VALUES_MAX

# Bytes of a request's line and headers (413).
HEAD_BYTES_MAX = 64 * 1024

# Seconds from a connection's beginning, or a request's first byte, until the request's head is
# there; then the connection is closed.
HEAD_S_MAX = 20

# Seconds after which a connection is cut whose client takes nothing of an answer.
ANSWER_IDLE_S_MAX = 60

# Use cases that run at the same time, each in a thread of its own. Others wait for their turn.
WORKERS_MAX = 8

# Requests under way, those that wait for a worker, for their body or for their reader included.
REQUESTS_MAX = 512

# Bytes of bodies and answers held by all requests under way.
BODIES_BYTES_MAX = 256 * 1024 * 1024

# Requests of one principal under way, and bytes of their bodies and answers.
PRINCIPAL_REQUESTS_MAX = 64
PRINCIPAL_BYTES_MAX = 128 * 1024 * 1024

# Requests a second that one principal may make for long, and how many more at a time after a rest.
PRINCIPAL_RATE_MAX = 200
PRINCIPAL_BURST_MAX = 2_000

# Live streams and waiting pulls of one principal.
PRINCIPAL_STREAMS_MAX = 1_000

# Seconds in which nothing of a body arrives before the request is given up (408).
BODY_IDLE_S_MAX = 30

# Bytes of a body that arrive in a second, on average and after BODY_IDLE_S_MAX; slower ones are
# given up too (408).
BODY_RATE_MIN = 1_000

# Live streams of one server process. Replicas that come later pull, and try again (429).
STREAMS_MAX = 5_000

# Seconds after which a stream that had nothing to say gives a sign of life.
HEARTBEAT_S = 15


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that one application enforces; `hub.asgi(requests_max=50)` sets one of them."""

    body_bytes_max: int = BODY_BYTES_MAX
    body_depth_max: int = BODY_DEPTH_MAX
    body_values_max: int = BODY_VALUES_MAX
    workers_max: int = WORKERS_MAX
    requests_max: int = REQUESTS_MAX
    bodies_bytes_max: int = BODIES_BYTES_MAX
    principal_requests_max: int = PRINCIPAL_REQUESTS_MAX
    principal_bytes_max: int = PRINCIPAL_BYTES_MAX
    principal_rate_max: int = PRINCIPAL_RATE_MAX
    principal_burst_max: int = PRINCIPAL_BURST_MAX
    principal_streams_max: int = PRINCIPAL_STREAMS_MAX
    body_idle_s_max: int = BODY_IDLE_S_MAX
    body_rate_min: int = BODY_RATE_MIN
    streams_max: int = STREAMS_MAX
    heartbeat_s: int = HEARTBEAT_S
