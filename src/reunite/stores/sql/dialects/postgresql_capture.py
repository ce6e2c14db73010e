"""PostgreSQL's capture triggers: after each statement, all rows that it touched, in one INSERT.

    INSERT      the keys of the new rows
    UPDATE      the rows as they were, with their new key, and their old one where it moved
    DELETE      the rows as they were
    TRUNCATE    before it: all rows of the table, as deletes; a transaction whose snapshot is older
                than the lock may not see all, and says so

One function a table does it all, with the rights of whoever tracked the table, so that other roles
need none of ours. Partitions have the same triggers, for statements that name one directly.

Names of columns stand in it for the key alone, and as texts for secrets that stay out of the log;
an old row is logged as `row_to_json` prints it, so columns may be added, renamed and dropped
between two looks of ours without an error in anybody's statement. Where the hub's role owns the
table, triggers fire ALWAYS, also for what logical replication brings.

What JSON looks like may depend on what a session has set; for columns of such types, and no others,
the function sets it (each setting is a fiftieth of a small statement's time).

The rule         nothing depends on the session, least of all on the path it searches: every name in
                 the function says its schema, for it runs with more rights than who sets it off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from reunite.core.change import Op
from reunite.core.schema import TableSchema
from reunite.core.withheld import looks_secret
from reunite.stores.sql.dialects.postgresql_reflection import PgRelation, PgTable
from reunite.stores.sql.dialects.postgresql_standing import parse_standing, standing_of
from reunite.stores.sql.dialects.postgresql_values import wire_sql
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import literal, quoted

_SETTINGS = {
    "timezone": "'UTC'",
    "datestyle": "'ISO', 'YMD'",
    "intervalstyle": "'postgres'",
    "extra_float_digits": "1",
    "bytea_output": "'hex'",
}
# Which of them matter for a type; all of them for one that is not here.
_NEEDED: dict[str, tuple[str, ...]] = {
    "float4": ("extra_float_digits",),
    "float8": ("extra_float_digits",),
    "bytea": ("bytea_output",),
    "timestamptz": ("timezone",),
    "interval": ("intervalstyle",),
    **dict.fromkeys(
        (
            "int2", "int4", "int8", "oid", "numeric", "bool", "uuid", "text", "varchar", "bpchar",
            "date", "time", "timetz", "timestamp", "json", "jsonb",
        ),
        (),
    ),
}  # fmt: skip
_EVENTS = {
    "reunite_insert": "AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows",
    "reunite_update": (
        "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"
    ),
    "reunite_delete": "AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows",
    "reunite_truncate": "BEFORE TRUNCATE ON {table}",
}
_NAME_MAX = 40

# Types of which equal values are printed alike.
_PRINTED_ONE_WAY = frozenset(
    {"int2", "int4", "int8", "oid", "bool", "uuid", "date", "time", "timestamp", "timestamptz"}
)

# The aliases in the function are no names of columns: those would be meant then.
_IMAGE = "pg_catalog.row_to_json(reunite_old)::pg_catalog.text"
_TXID = "pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8"

# The comment on a function after rows have gone that the log may not have.
UNSEEN = "truncated"

# How a trigger is switched that fires: in ordinary sessions, always.
_FIRING = ("O", "A")


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
            number, end = f"{x}::pg_catalog.int8", "9007199254740991"
            values.append(
                f"CASE WHEN {number} OPERATOR(pg_catalog.>=) -{end} AND "
                f"{number} OPERATOR(pg_catalog.<=) {end} THEN pg_catalog.to_json({number}) "
                f"ELSE pg_catalog.to_json({x}::pg_catalog.text) END"
            )
        else:
            values.append(wire_sql(column, schema.column[name].type, x))
    return f"pg_catalog.json_build_array({', '.join(values)})::pg_catalog.text"


def _settings(details: PgTable) -> list[str]:
    """What has to be set so that rows of a table are printed alike in every session."""
    needed = {
        name
        for column in details.columns.values()
        if column.kind != "e"
        for name in _NEEDED.get(column.base, _SETTINGS)
    }
    return [name for name in _SETTINGS if name in needed]


def _image_of(schema: TableSchema, details: PgTable) -> str:
    """An old row as the log has it: without the secrets that the table is tracked without."""
    withheld = [
        name for name in details.columns if name not in schema.column and looks_secret(name)
    ]
    if not withheld:
        return _IMAGE
    names = ", ".join(map(literal, withheld))
    return (
        "(SELECT pg_catalog.json_object_agg(reunite_each.key, reunite_each.value)"
        "::pg_catalog.text FROM pg_catalog.json_each(pg_catalog.row_to_json(reunite_old)) "
        f"AS reunite_each WHERE reunite_each.key OPERATOR(pg_catalog.<>) ALL (ARRAY[{names}]))"
    )


def body(schema: TableSchema, details: PgTable, place: str) -> str:
    """The function's text; `place` is the schema of reunite's tables."""
    log = f"{place}.reunite_change"
    image = _image_of(schema, details)
    own = f"reunite_txid, {literal(schema.name)}, {schema.version}"

    def key(row: str) -> str:
        return key_sql(schema, details, [f"{row}.{quoted(name)}" for name in schema.key])

    names = "txid, table_name, schema, op, key"
    function = f"{place}.{quoted(function_name(schema.name))}"
    truncated = (
        f"INSERT INTO {log} ({names}, old) SELECT {_TXID}, {literal(schema.name)}, "
        f"{schema.version}, '{Op.DELETE}', {key('reunite_old')}, {image} FROM ONLY "
    )
    paired = f"""
        INSERT INTO {log} ({names}, old_key, old)
        SELECT {own}, '{Op.UPDATE}', p.key,
               CASE WHEN p.key OPERATOR(pg_catalog.<>) p.old_key THEN p.old_key END, p.old
        FROM (
            SELECT {key("(n.reunite_new)")} AS key, {key("(o.reunite_old)")} AS old_key,
                   {image.replace("reunite_old", "o.reunite_old")} AS old
            FROM (SELECT pg_catalog.row_number() OVER () AS i, reunite_old
                  FROM old_rows AS reunite_old) AS o
            JOIN (SELECT pg_catalog.row_number() OVER () AS i, reunite_new
                  FROM new_rows AS reunite_new) AS n ON n.i OPERATOR(pg_catalog.=) o.i
        ) AS p;"""
    # What the function sets is no part of its text: named here, so that another need shows.
    return f"""
-- Sets: {", ".join(_settings(details)) or "nothing"}.
#variable_conflict use_variable
DECLARE
    reunite_txid pg_catalog.int8 := {_TXID};
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
        INSERT INTO {log} ({names})
        SELECT {own}, '{Op.INSERT}', {key("reunite_new")} FROM new_rows AS reunite_new;
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
        INSERT INTO {log} ({names}, old)
        SELECT {own}, '{Op.DELETE}', {key("reunite_old")}, {image} FROM old_rows AS reunite_old;
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
        EXECUTE {literal(truncated)} OPERATOR(pg_catalog.||) pg_catalog.format(
            '%I.%I AS reunite_old', TG_TABLE_SCHEMA, TG_TABLE_NAME);
        -- TRUNCATE also takes rows that an older snapshot does not see: replicas compare.
        IF pg_catalog.current_setting('transaction_isolation')
            OPERATOR(pg_catalog.<>) 'read committed' THEN
            COMMENT ON FUNCTION {function}() IS {literal(UNSEEN)};
            UPDATE {place}.reunite_meta SET value = '' WHERE name OPERATOR(pg_catalog.=) 'ddl';
        END IF;
    ELSIF {_keys_have_moved(schema, details)} THEN{paired}
    ELSE
        INSERT INTO {log} ({names}, old)
        SELECT {own}, '{Op.UPDATE}', {key("reunite_old")}, {image} FROM old_rows AS reunite_old;
    END IF;
    RETURN NULL;
END
"""


def _keys_have_moved(schema: TableSchema, details: PgTable) -> str:
    """The condition that an UPDATE has set other keys than there were. Rows of one statement can
    exchange their keys only where the primary key is not checked at once."""
    if details.has_deferrable_key:
        return "true"
    old, new = (
        ", ".join(
            _told_apart(details.columns[name].base, f"{row}.{quoted(name)}") for name in schema.key
        )
        for row in ("reunite_old", "reunite_new")
    )
    return (
        f"EXISTS (SELECT {new} FROM new_rows AS reunite_new "
        f"EXCEPT SELECT {old} FROM old_rows AS reunite_old)"
    )


def _told_apart(base: str, x: str) -> str:
    """A value that is another one whenever `x` is printed otherwise: 1.0 equals 1.00."""
    if base in _PRINTED_ONE_WAY:
        return x
    return f'{x}::pg_catalog.text COLLATE pg_catalog."C"'


def create(session: Session, schema: TableSchema, details: PgTable) -> None:
    """Make the function and the triggers, in place of those of ours that are there. A partition
    that the hub's role may put no triggers on stays without; then `is_captured` says no."""
    place = _place(session)
    function = f"{place}.{quoted(function_name(schema.name))}"
    text = body(schema, details, place)
    sets = " ".join(f"SET {name} = {_SETTINGS[name]}" for name in _settings(details))
    if _function_text(session, schema.name) != text:
        session.execute(
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql "
            f"SECURITY DEFINER {sets} AS {literal(text)}"
        )
    there = _triggers(session, details, schema.name)
    beyond = {relation.oid for relation in out_of_reach(session, details.partitions)}
    for relation in (details.relation, *details.partitions):
        for name in _wanted(relation):
            if there.get((relation.oid, name)) in _FIRING or relation.oid in beyond:
                continue
            event = _EVENTS[name].format(table=relation.sql)
            # Only an owner may drop a trigger or enable it; replaced, it fires again.
            session.execute(
                f"CREATE OR REPLACE TRIGGER {name} {event} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
            if _is_owned(session, relation):
                session.execute(f"ALTER TABLE {relation.sql} ENABLE ALWAYS TRIGGER {name}")
    now = standing_of(session, details)
    # A role that may not note it has replicas compare again after the next migration.
    if now != parse_standing(_comment(session, schema.name)) and _may_note(session, schema.name):
        _note(session, schema.name, now.text)


def is_captured(session: Session, schema: TableSchema, details: PgTable) -> bool:
    """Whether the table and all its partitions have the triggers, they do what they should, and no
    DDL has changed rows past them."""
    if any(name not in details.columns for name in schema.key):
        return False
    if _function_text(session, schema.name) != body(schema, details, _place(session)):
        return False
    if _has_moved(session, schema.name, details):
        return False
    there = _triggers(session, details, schema.name)
    return all(
        there.get((relation.oid, name)) in _FIRING
        for relation in (details.relation, *details.partitions)
        for name in _wanted(relation)
    )


def drop(session: Session, table: str) -> None:
    """Drop a table's function, and with it every trigger that calls it."""
    place = _place(session)
    session.execute(f"DROP FUNCTION IF EXISTS {place}.{quoted(function_name(table))}() CASCADE")


def _wanted(relation: PgRelation) -> Sequence[str]:
    """A table that has only partitions holds no rows: TRUNCATE fires at each of those."""
    return [name for name in _EVENTS if not (relation.kind == "p" and name == "reunite_truncate")]


def _place(session: Session) -> str:
    """The schema of reunite's tables."""
    (place,) = session.execute(
        "SELECT n.nspname::text FROM pg_class AS c JOIN pg_namespace AS n "
        "ON n.oid = c.relnamespace WHERE c.oid = to_regclass('reunite_change')"
    )[0]
    return quoted(place)


def _is_owned(session: Session, relation: PgRelation) -> bool:
    """Whether the hub's role may alter a table; to put triggers on it, it need not own it."""
    return bool(
        session.execute(
            "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = ?", (relation.oid,)
        )[0][0]
    )


def out_of_reach(session: Session, relations: Sequence[PgRelation]) -> list[PgRelation]:
    """Those that the hub's role may not read, or put no triggers on."""
    return [
        relation
        for relation in relations
        if not session.execute(
            "SELECT has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'TRIGGER') "
            "AND has_schema_privilege(c.relnamespace, 'USAGE') FROM pg_class AS c WHERE c.oid = ?",
            (relation.oid,),
        )[0][0]
    ]


def role(session: Session) -> str:
    """The hub's role, as a statement names it."""
    return str(session.execute("SELECT quote_ident(current_user)")[0][0])


def _function_text(session: Session, table: str) -> str | None:
    text: str | None = _of_function(session, table, "p.prosrc")
    return text


def _comment(session: Session, table: str) -> str | None:
    """How the table stood when its triggers were last right; or `UNSEEN`."""
    text: str | None = _of_function(session, table, "obj_description(p.oid, 'pg_proc')")
    return text


def _may_note(session: Session, table: str) -> bool:
    """Whether the hub's role may comment on the function, which another may have made."""
    return bool(_of_function(session, table, "pg_has_role(p.proowner, 'USAGE')"))


def _note(session: Session, table: str, comment: str) -> None:
    place = _place(session)
    session.execute(
        f"COMMENT ON FUNCTION {place}.{quoted(function_name(table))}() IS {literal(comment)}"
    )


def _has_moved(session: Session, table: str, details: PgTable) -> bool:
    """Whether DDL, or TRUNCATE, may have changed unseen rows since the triggers were last right."""
    comment = _comment(session, table)
    if comment == UNSEEN:
        return True
    former = parse_standing(comment)
    return former is not None and standing_of(session, details).has_moved_from(former)


def _of_function(session: Session, table: str, what: str) -> Any:
    found = session.execute(
        f"SELECT {what} FROM pg_proc AS p WHERE p.proname = ? AND p.pronamespace = "
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
    place = _place(session)
    function = f"{place}.{quoted(function_name(table))}"
    comment = _comment(session, table)
    session.execute(f"DROP FUNCTION IF EXISTS {function}() CASCADE")
    session.execute(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = pg_catalog, pg_temp AS {literal(_witness_text(place, table))}"
    )
    if comment is not None:
        _note(session, table, comment)
    beyond = {relation.oid for relation in out_of_reach(session, details.partitions)}
    for relation in (details.relation, *details.partitions):
        if relation.oid in beyond:
            continue
        for event in ("INSERT OR UPDATE OR DELETE", "TRUNCATE"):
            if not (event == "TRUNCATE" and relation.kind == "p"):
                name = f"reunite_written_{event.split()[0].lower()}"
                session.execute(
                    f"CREATE TRIGGER {name} BEFORE {event} ON {relation.sql} "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
                )


def is_witnessed(session: Session, table: str, details: PgTable) -> bool:
    """Whether the witnesses have been there all the time, and no DDL has changed rows."""
    place = _place(session)
    if _function_text(session, table) != _witness_text(place, table):
        return False
    if _has_moved(session, table, details):
        return False
    there = {oid for oid, _ in _triggers(session, details, table)}
    return there.issuperset(part.oid for part in (details.relation, *details.partitions))


def _witness_text(place: str, table: str) -> str:
    return (
        f"BEGIN INSERT INTO {place}.reunite_written (table_name) VALUES ({literal(table)}) "
        "ON CONFLICT DO NOTHING; RETURN NULL; END"
    )
