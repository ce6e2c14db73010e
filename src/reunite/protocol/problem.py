"""Problem details (RFC 9457): how an error travels.

`code` is stable and what programs compare; `detail` is for people and says the next step;
`path` points into the request; `limit` names the limit that was passed.
"""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    type: str
    title: str
    status: int
    code: str
    detail: str
    path: str | None = None
    limit: str | None = None
    incident: str | None = None
