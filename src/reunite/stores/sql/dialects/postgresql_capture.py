"""PostgreSQL's capture triggers: after each statement, all rows that it touched, in one INSERT.

    INSERT      the keys of the new rows
    UPDATE      the rows as they were, with their new key, and their old one where it moved
    DELETE      the rows as they were
    TRUNCATE    before it: all rows of the table, as deletes

One function a table does it all, with the rights of whoever tracked the table, so that other roles
need none of ours. Partitions have the same triggers, for statements that name one directly.

Names of columns stand in it for the key alone; an old row is logged as `row_to_json` prints it, so
columns may be added, renamed and dropped between two looks of ours without an error in anybody's
statement. Where the hub's role owns the table, triggers fire ALWAYS, also for what logical
replication brings.

The rule         nothing depends on the session: what it could set is set for the function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from reunite.core.change import Op
from reunite.core.schema import TableSchema
from reunite.stores.sql.dialects.postgresql_reflection import PgRelation, PgTable
from reunite.stores.sql.dialects.postgresql_values import wire_sql
from reunite.stores.sql.ports import Session
from reunite.stores.sql.tables import quoted

_SETTINGS = (
    "search_path=pg_catalog, pg_temp",
    "timezone=UTC",
    "datestyle=ISO, YMD",
    "intervalstyle=postgres",
    "extra_float_digits=1",
    "bytea_output=hex",
)
_EVENTS = {
    "reunite_insert": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows",
    "reunite_update": (
        "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
    ),
    "reunite_delete": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows",
    "reunite_truncate": "BEFORE TRUNCATE ON {table}",
}
_NAME_MAX = 40

# How a trigger is switched that fires: in ordinary sessions, always.
_FIRING = ("O", "A")


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def function_name(table: str) -> str:
    """The name of a table's function; PostgreSQL cuts names at 63 bytes."""
    mark = hashlib.blake2b(table.encode(), digest_size=4).hexdigest()
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in table)
    return f"reunite_{plain[:_NAME_MAX]}_{mark}"


def key_sql(schema: TableSchema, details: PgTable, expressions: Sequence[str]) -> str:
    """A key as the log has it: `core.key.key_text`, with a blank after each comma."""
    values = []
    for name, x in zip(schema.key, expressions, strict=True):
        column = details.columns[name]
        if column.base in ("int8", "oid"):
            safe = f"{x}::bigint BETWEEN -9007199254740991 AND 9007199254740991"
            values.append(f"CASE WHEN {safe} THEN to_json({x}::bigint) ELSE to_json({x}::text) END")
        else:
            values.append(wire_sql(column, schema.column[name].type, x))
    return f"json_build_array({', '.join(values)})::text"


def body(schema: TableSchema, details: PgTable, log: str) -> str:
    """The function's text; `log` is the name of `reunite_change`."""
    own = f"tx, {literal(schema.name)}, {schema.version}"

    def key(row: str) -> str:
        return key_sql(schema, details, [f"{row}.{quoted(name)}" for name in schema.key])

    moved = " OR ".join(
        f"(o.r).{quoted(name)} IS DISTINCT FROM (n.r).{quoted(name)}" for name in schema.key
    )
    names = "txid, table_name, schema, op, key"
    truncated = (
        f"INSERT INTO {log} ({names}, old) SELECT pg_current_xact_id()::text::bigint, "
        f"{literal(schema.name)}, {schema.version}, '{Op.DELETE}', {key('o')}, "
        "row_to_json(o)::text FROM ONLY "
    )
    return f"""
DECLARE
    tx bigint := pg_current_xact_id()::text::bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {log} ({names})
        SELECT {own}, '{Op.INSERT}', {key("n")} FROM new_rows AS n;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO {log} ({names}, old_key, old)
        SELECT {own}, '{Op.UPDATE}', {key("(n.r)")},
               CASE WHEN {moved} THEN {key("(o.r)")} END, row_to_json(o.r)::text
        FROM (SELECT row_number() OVER () AS i, r FROM old_rows AS r) AS o
        JOIN (SELECT row_number() OVER () AS i, r FROM new_rows AS r) AS n ON n.i = o.i;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {log} ({names}, old)
        SELECT {own}, '{Op.DELETE}', {key("o")}, row_to_json(o)::text FROM old_rows AS o;
    ELSE
        EXECUTE {literal(truncated)} || quote_ident(TG_TABLE_SCHEMA) || '.'
            || quote_ident(TG_TABLE_NAME) || ' AS o';
    END IF;
    RETURN NULL;
END
"""


def create(session: Session, schema: TableSchema, details: PgTable) -> None:
    """Make the function and the triggers, in place of those of ours that are there."""
    place, log = _place(session)
    function = f"{place}.{quoted(function_name(schema.name))}"
    text = body(schema, details, log)
    settings = " ".join(
        f"SET {name} = {', '.join(literal(word) for word in value.split(', '))}"
        for name, _, value in (setting.partition("=") for setting in _SETTINGS)
    )
    if _function_text(session, schema.name) != text:
        session.execute(
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql "
            f"SECURITY DEFINER {settings} AS {literal(text)}"
        )
    there = _triggers(session, details, schema.name)
    for relation in (details.relation, *details.partitions):
        for name in _wanted(relation):
            enabled = there.get((relation.oid, name))
            if enabled in _FIRING:
                continue
            if enabled is not None:
                session.execute(f"DROP TRIGGER {name} ON {relation.sql}")
            event = _EVENTS[name].format(table=relation.sql)
            session.execute(
                f"CREATE TRIGGER {name} {event} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
            if _is_owned(session, relation):
                session.execute(f"ALTER TABLE {relation.sql} ENABLE ALWAYS TRIGGER {name}")


def is_captured(session: Session, schema: TableSchema, details: PgTable) -> bool:
    """Whether the table and all its partitions have the triggers, and they do what they should."""
    if any(name not in details.columns for name in schema.key):
        return False
    _, log = _place(session)
    if _function_text(session, schema.name) != body(schema, details, log):
        return False
    there = _triggers(session, details, schema.name)
    return all(
        there.get((relation.oid, name)) in _FIRING
        for relation in (details.relation, *details.partitions)
        for name in _wanted(relation)
    )


def drop(session: Session, table: str) -> None:
    """Drop a table's function, and with it every trigger that calls it."""
    place, _ = _place(session)
    session.execute(f"DROP FUNCTION IF EXISTS {place}.{quoted(function_name(table))}() CASCADE")


def _wanted(relation: PgRelation) -> Sequence[str]:
    """A table that has only partitions holds no rows: TRUNCATE fires at each of those."""
    return [name for name in _EVENTS if not (relation.kind == "p" and name == "reunite_truncate")]


def _place(session: Session) -> tuple[str, str]:
    """The schema of reunite's tables, and the name of its log."""
    (place,) = session.execute(
        "SELECT n.nspname::text FROM pg_class AS c JOIN pg_namespace AS n "
        "ON n.oid = c.relnamespace WHERE c.oid = to_regclass('reunite_change')"
    )[0]
    return quoted(place), f"{quoted(place)}.reunite_change"


def _is_owned(session: Session, relation: PgRelation) -> bool:
    """Whether the hub's role may alter a table; to put triggers on it, it need not own it."""
    return bool(
        session.execute(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = ?", (relation.oid,)
        )[0][0]
    )


def _function_text(session: Session, table: str) -> str | None:
    found = session.execute(
        "SELECT p.prosrc FROM pg_proc AS p WHERE p.proname = ? AND p.pronamespace = "
        "(SELECT relnamespace FROM pg_class WHERE oid = to_regclass('reunite_change'))",
        (function_name(table),),
    )
    return found[0][0] if found else None


def _triggers(session: Session, details: PgTable, table: str) -> dict[tuple[int, str], str]:
    """How our triggers on these relations are switched."""
    relations = [relation.oid for relation in (details.relation, *details.partitions)]
    rows = session.execute(
        "SELECT t.tgrelid::bigint, t.tgname::text, t.tgenabled::text FROM pg_trigger AS t "
        "JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE t.tgrelid = ANY (?::bigint[]::oid[]) "
        "AND p.proname = ?",
        (relations, function_name(table)),
    )
    return {(oid, name): enabled for oid, name, enabled in rows}


# --- Migrations -----------------------------------------------------------------------------------


def witness(session: Session, table: str, details: PgTable) -> None:
    """Put a function in the place of the one that logs, which only notes that the table was
    written: it names no column, so that any may be dropped or altered."""
    place, _ = _place(session)
    function = f"{place}.{quoted(function_name(table))}"
    session.execute(f"DROP FUNCTION IF EXISTS {function}() CASCADE")
    session.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS {literal(_witness_text(place, table))}"
    )
    for relation in (details.relation, *details.partitions):
        for event in ("INSERT OR UPDATE OR DELETE", "TRUNCATE"):
            if not (event == "TRUNCATE" and relation.kind == "p"):
                name = f"reunite_written_{event.split()[0].lower()}"
                session.execute(
                    f"CREATE TRIGGER {name} BEFORE {event} ON {relation.sql} "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
                )


def is_witnessed(session: Session, table: str, details: PgTable) -> bool:
    """Whether the witnesses have been there all the time."""
    place, _ = _place(session)
    if _function_text(session, table) != _witness_text(place, table):
        return False
    there = {oid for oid, _ in _triggers(session, details, table)}
    return there.issuperset(part.oid for part in (details.relation, *details.partitions))


def _witness_text(place: str, table: str) -> str:
    return (
        f"BEGIN INSERT INTO {place}.reunite_written (table_name) VALUES ({literal(table)}) "
        "ON CONFLICT DO NOTHING; RETURN NULL; END"
    )
