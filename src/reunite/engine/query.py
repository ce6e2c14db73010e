"""Query: rows of one table straight from the hub, for who is no replica."""

from __future__ import annotations

from reunite.core.checks import check_columns
from reunite.core.principal import Principal
from reunite.core.rules import Access
from reunite.core.schema import projected
from reunite.engine.ports import Store, Transaction
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError
from reunite.protocol.limits import QUERY_ROWS_MAX
from reunite.protocol.query import QueryAnswer, QueryRequest


def query(store: Store, tables: Tables, principal: Principal, request: QueryRequest) -> QueryAnswer:
    """The next rows by key whose columns equal `where`, of those that the principal may read.

    Raises UnknownTableError, BadRequestError.
    """
    with store.read() as tx:
        tables = tables.at(tx)
        return _query(tx, tables, tables.access(principal), request)


def _query(tx: Transaction, tables: Tables, access: Access, request: QueryRequest) -> QueryAnswer:
    whole = tables.schema(request.table, path="table")
    schema = access.shown().get(request.table, whole)
    unknown = [name for name in request.where if name not in schema.column]
    if unknown:
        raise BadRequestError(
            f"The table {request.table!r} has no column {unknown[0]!r}.",
            path=f"where.{unknown[0]}",
        )
    columns = [schema.column[name] for name in request.where]
    check_columns(columns, [tuple(request.where.values())], path="where", is_loose=True)
    if request.after is not None:
        key_columns = [schema.column[name] for name in schema.key]
        check_columns(key_columns, [request.after], path="after", is_loose=True)
    if request.limit is not None and request.limit < 1:
        raise BadRequestError(
            f"A query asks for 1 row or more, not for {request.limit}.", path="limit"
        )
    limit = min(request.limit or QUERY_ROWS_MAX, QUERY_ROWS_MAX)
    rows = list(
        tx.find(
            request.table,
            request.where,
            after=request.after,
            limit=limit + 1,
            only=access.of(request.table).read,
        )
    )
    has_more = len(rows) > limit
    return QueryAnswer(
        columns=schema.column_names,
        rows=list(projected(rows[:limit], whole, schema)),
        next=whole.key_of(rows[limit - 1]) if has_more else None,
    )
