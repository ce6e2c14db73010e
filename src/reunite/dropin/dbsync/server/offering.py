"""How the server's tables are merged: as dbsync prefers, the node's value wins, and an update wins
over a delete."""

from __future__ import annotations

from sqlalchemy import Table

from reunite.core.merge import MergeFunction
from reunite.core.schema import ColumnMerge, RowMerge
from reunite.hub import Hub


def offer(hub: Hub, table: Table) -> None:
    """Track a table with these policies."""
    key = {column.name for column in table.primary_key}
    wins: dict[str, str | ColumnMerge | MergeFunction] = {
        column.name: ColumnMerge.REPLICA_WINS for column in table.columns if column.name not in key
    }
    hub.track(table, merge=wins, rows=RowMerge.UPDATE_WINS)
