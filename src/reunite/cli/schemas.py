"""The schemas of a replica's tables, for reading what people type."""

from __future__ import annotations

from reunite import BadRequestError, Replica
from reunite.core.schema import TableSchema


def schema_of(replica: Replica, table: str) -> TableSchema:
    """The table's schema. Raises BadRequestError for one that the hub no longer has."""
    schema = replica.schemas.get(table)
    if schema is None:
        raise BadRequestError(f"This replica no longer has a table {table!r}: discard the change.")
    return schema
