"""Query: read rows straight from the hub, page by page, without being a replica."""

from __future__ import annotations

from typing import Any

import msgspec


class QueryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of `table` whose columns equal `where`, by key, after the key `after`."""

    table: str
    where: dict[str, Any] = {}
    after: tuple[Any, ...] | None = None
    limit: int | None = None


class QueryAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`next` is the `after` of the following page; None when this was the last."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    next: tuple[Any, ...] | None = None
