"""Whether a hub's tables on PostgreSQL are what its log says: as `content.py`, in its words.

Ids of one key rise in the order in which it was written, since whoever writes a row waits for who
has it. Only inside a transaction may a trigger of the user's have been logged before what set it
off; so a key that one transaction has both made and deleted is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reunite.cli.content import odd_sentence
from reunite.core.schema import TableSchema
from reunite.stores.sql import following
from reunite.stores.sql.dialects.postgresql_capture import key_sql
from reunite.stores.sql.dialects.postgresql_reflection import table_of
from reunite.stores.sql.ports import Database, Session
from reunite.stores.sql.quoting import quoted

_ODD = """
    WITH logged AS (
        SELECT * FROM reunite_change WHERE table_name = ?1 AND id > coalesce(
            (SELECT value::bigint FROM reunite_meta WHERE name = concat('gap:', ?1::text)), 0)
    ), spoken AS (
        SELECT key, op, id, txid FROM logged
        UNION ALL
        SELECT old_key, 'update', id, txid FROM logged WHERE old_key IS NOT NULL
    ), last AS (
        SELECT DISTINCT ON (key) key, txid FROM spoken ORDER BY key, id DESC
    ), said AS (
        SELECT key, bool_and(op = 'insert') AS is_there, bool_and(op = 'delete') AS is_gone
        FROM spoken JOIN last USING (key, txid) GROUP BY key
    )
    SELECT key, is_there FROM said
    WHERE (is_there OR is_gone) AND is_there <> (key IN (SELECT {key} FROM {table} AS t))
    ORDER BY key
"""


def odd_keys(session: Session, schema: TableSchema) -> list[tuple[str, bool]]:
    """(key, whether its row should be there) of the rows that are not as the log says."""
    details = table_of(session, schema.name)
    own = [f"t.{quoted(name)}" for name in schema.key]
    text = _ODD.format(key=key_sql(schema, details, own), table=details.relation.sql)
    return [(key, is_there) for key, is_there in session.execute(text, (schema.name,))]


def odd_sentences(session: Session, schemas: Iterable[TableSchema]) -> Iterator[str]:
    """What is not as the log says, a sentence a table."""
    for schema in schemas:
        if odd := odd_keys(session, schema):
            yield odd_sentence(schema, odd)


def odd_tables(database: Database) -> list[str]:
    """The tables that are not what the log says; none where others than the columns that are known
    are there, which a hub looks after first."""
    with database.read() as session:
        return [
            schema.name
            for schema in following.tracked_schemas(session)
            if session.dialect.is_captured(session, schema) and odd_keys(session, schema)
        ]
