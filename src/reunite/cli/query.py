"""`reunite query`: rows straight from the hub, without being a replica."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from reunite.cli.options import JsonOption, TokenOption, UrlArgument
from reunite.cli.screen import counted, emit, note, show_table
from reunite.cli.typed import assignments
from reunite.errors import NotAuthenticatedError, UnknownTableError
from reunite.protocol.codec import decode, encode
from reunite.protocol.limits import QUERY_ROWS_MAX
from reunite.protocol.push import SchemaAnswer
from reunite.protocol.query import QueryAnswer, QueryRequest
from reunite.replica import Transport


def query(
    url: UrlArgument,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help="Only rows with this value; column:=null for NULL. May be given repeatedly.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many rows at most; 0 for all.", min=0)] = 100,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show rows of one table at the hub, ordered by key.

    With --json, one object a line.
    """
    from reunite.replica.http import HttpTransport

    if not token:
        raise NotAuthenticatedError("Give the token with --token or REUNITE_TOKEN.")
    with HttpTransport(url, token=token) as transport:
        columns, rows, has_more = _rows(transport, table, where or [], limit)
    if as_json:
        for row in rows:
            emit(dict(zip(columns, row, strict=True)))
    else:
        show_table(columns, rows)
    if has_more:
        note(f"There are more than {counted(limit, 'row')}: --limit 0 shows all.")


def _rows(
    transport: Transport, table: str, where: list[str], limit: int
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], bool]:
    """The columns, the rows, and whether there are more."""
    schemas = decode(transport.call("schema", b"{}"), SchemaAnswer).tables
    schema = next((schema for schema in schemas if schema.name == table), None)
    if schema is None:
        known = ", ".join(schema.name for schema in schemas)
        raise UnknownTableError(f"This hub tracks no table {table!r}. It has {known}.")
    wanted = assignments(where, schema)
    rows: list[tuple[Any, ...]] = []
    after = None
    while True:
        size = min(QUERY_ROWS_MAX, limit - len(rows)) if limit else None
        request = QueryRequest(table=table, where=wanted, after=after, limit=size)
        answer = decode(transport.call("query", encode(request)), QueryAnswer)
        rows.extend(answer.rows)
        after = answer.next
        if after is None or (limit and len(rows) >= limit):
            return answer.columns, rows, after is not None
