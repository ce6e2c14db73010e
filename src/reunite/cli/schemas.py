"""The schemas of a replica's tables, for reading what people type."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from reunite.cli.opening import read_only
from reunite.core.schema import TableSchema
from reunite.replica.state import load_state


def replica_schemas(file: Path) -> Mapping[str, TableSchema]:
    """The tables of this replica by name."""
    with closing(read_only(file)) as connection:
        return {schema.name: schema for schema in load_state(connection).schemas}
