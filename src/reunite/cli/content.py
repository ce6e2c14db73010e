"""Whether a hub's tables are what its log says, as far as the log can tell.

The log has what rows were, not what they became: of a row that was changed past the triggers only a
replica that has the former values can tell (`reunite doctor` on the replica). But the log does say
of a key whether its row should be there, and that is asked here.

    last entry of the key    the row should be
    insert                   there
    delete                   gone
    update                   either: rows that INSERT OR REPLACE overwrites are noted like this

What was logged before the table's last gap in capture does not count: replicas have compared or
read the table since.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from reunite.cli.screen import KEY_LENGTH_MAX, readable
from reunite.core.schema import TableSchema
from reunite.stores.sql.database import connect_to_look
from reunite.stores.sql.dialects.sqlite_log import key_image
from reunite.stores.sql.quoting import quoted

_ODD = """
    with logged as (
        select * from reunite_change where table_name = ?1
        and id > coalesce((select value from reunite_meta where name = 'gap:' || ?1), 0)
    ), spoken as (
        select key, case op when 'insert' then 1 when 'delete' then 0 end as is_there, id
        from logged
        union all
        select old_key, null, id from logged where old_key is not null
    ), last as (select key, is_there, max(id) from spoken group by key)
    select key, is_there from last
    where is_there is not null and is_there <> (key in (select {key} from {table} as t))
"""


def odd_keys(connection: sqlite3.Connection, schema: TableSchema) -> list[tuple[str, bool]]:
    """(key, whether its row should be there) of the rows that are not as the log says."""
    text = _ODD.format(key=key_image(schema, "t"), table=quoted(schema.name))
    found = connection.execute(text, (schema.name,))
    return [(key, bool(is_there)) for key, is_there in found]


def odd_sentences(connection: sqlite3.Connection, schemas: Iterable[TableSchema]) -> Iterator[str]:
    """What is not as the log says, a sentence a table."""
    for schema in schemas:
        if odd := odd_keys(connection, schema):
            yield odd_sentence(schema, odd)


def odd_sentence(schema: TableSchema, odd: Sequence[tuple[str, bool]]) -> str:
    """What to say of a table with such rows."""
    key, should_be = odd[0]
    is_how = "is gone and was not deleted" if should_be else "is there and was deleted"
    more = f", and {len(odd) - 1:,} more are like it" if len(odd) > 1 else ""
    row = readable(key, length_max=KEY_LENGTH_MAX)
    return (
        f"{schema.name} was written to past its triggers: by the log the row {row} {is_how}{more}. "
        "--fix has replicas read the table anew."
    )


def tracked_schemas(connection: sqlite3.Connection) -> list[TableSchema]:
    """The tables that a hub's database tracks, by name."""
    return [
        msgspec.json.decode(text, type=TableSchema)
        for (text,) in connection.execute(
            "select schema from reunite_schema where is_tracked order by table_name"
        )
    ]


def odd_tables(path: Path) -> list[str]:
    """The tables of a hub's database that are not what the log says."""
    with closing(connect_to_look(path)) as connection:
        connection.execute("begin")
        there = {name for (name,) in connection.execute("select name from sqlite_schema")}
        return [
            schema.name
            for schema in tracked_schemas(connection)
            if schema.name in there and odd_keys(connection, schema)
        ]
