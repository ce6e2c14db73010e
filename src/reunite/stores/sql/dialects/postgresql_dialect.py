"""PostgreSQL as a kind of database: the port `Dialect`, over the modules that know its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reunite.core.schema import ForeignKey, TableSchema
from reunite.errors import UnknownTableError, UntrackableTableError
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialects import postgresql_capture as capture
from reunite.stores.sql.dialects import postgresql_reflection as reflection
from reunite.stores.sql.dialects.postgresql_history import PostgresLog
from reunite.stores.sql.dialects.postgresql_layout import POSTGRESQL_LAYOUT, TABLES
from reunite.stores.sql.dialects.postgresql_plan import FormerPlan, PostgresPlan
from reunite.stores.sql.ports import Session
from reunite.stores.sql.tables import TablePlan

# The lock of those who change tables, triggers or versions.
_LAYOUT_LOCK = "SELECT pg_advisory_xact_lock(x'7265756e'::int, x'6c61796f'::int)"

# A sum over what the catalogue says of the user's tables: who they are and whose, who may do what
# with them, their columns, triggers, constraints, unique indexes and partitions. `xmin` changes
# with every change of an entry.
_DDL = f"""
    WITH t AS MATERIALIZED (
        SELECT c.oid, c.relnamespace, c.relname, c.relkind, c.relowner, c.relacl
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE ({reflection.USER_TABLES}) OR (c.relispartition AND c.relkind IN ('r', 'p'))
            OR (c.relkind = 'c' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')
    )
    SELECT concat_ws(' ',
        (SELECT sum(hashtextextended(concat_ws(' ', oid, relnamespace, relname, relkind, relowner,
             hash_array_extended(relacl, 0)), 0))
         FROM t),
        (SELECT sum(hashtextextended(concat_ws(' ', attrelid, attnum, a.xmin), 1))
         FROM t CROSS JOIN LATERAL (
             SELECT attrelid, attnum, xmin FROM pg_attribute
             WHERE attrelid = t.oid AND attnum > 0 OFFSET 0) AS a),
        (SELECT sum(hashtextextended(concat_ws(' ', g.oid, g.xmin), 2))
         FROM pg_trigger AS g JOIN t ON t.oid = g.tgrelid),
        (SELECT sum(hashtextextended(concat_ws(' ', k.oid, k.xmin), 3))
         FROM pg_constraint AS k JOIN t ON t.oid = k.conrelid),
        (SELECT sum(hashtextextended(concat_ws(' ', x.indexrelid, x.xmin), 4))
         FROM pg_index AS x JOIN t ON t.oid = x.indrelid WHERE x.indisunique),
        (SELECT sum(hashtextextended(concat_ws(' ', d.oid, d.xmin), 5))
         FROM pg_attrdef AS d JOIN t ON t.oid = d.adrelid),
        (SELECT sum(hashtextextended(concat_ws(' ', e.oid, e.xmin), 6)) FROM pg_enum AS e))
"""
_META = f"SELECT '', ({_DDL}) UNION ALL SELECT name, value FROM reunite_meta"


class PostgresDialect:
    """PostgreSQL."""

    name = "postgresql"
    joined = "JOIN"
    greatest = "greatest"
    position = "strpos"
    numbers = "json_array_elements_text(?1::json) AS k(value)"
    number = "k.value::bigint"
    locking = "FOR NO KEY UPDATE"

    def __init__(self) -> None:
        self.log = PostgresLog()

    def table_of(self, schema: str | None, name: str | None) -> str | None:
        """A table's name from what an error says."""
        return name if schema in (None, "public") else f"{schema}.{name}"

    # --- reunite's own tables ---------------------------------------------------------------------

    def layout(self) -> Sequence[str]:
        return POSTGRESQL_LAYOUT

    def missing(self, session: Session, names: Iterable[str]) -> list[str]:
        found = session.execute(
            "SELECT name FROM unnest(?::text[]) WITH ORDINALITY AS u(name, place) "
            "WHERE to_regclass(name) IS NULL ORDER BY place",
            (list(names),),
        )
        return [name for (name,) in found]

    def lock_layout(self, session: Session) -> None:
        session.execute(_LAYOUT_LOCK)

    def remove_all(self, session: Session) -> None:
        for (table,) in session.execute("SELECT DISTINCT table_name FROM reunite_schema"):
            capture.drop(session, table)
        for table in TABLES:
            session.execute(f"DROP TABLE IF EXISTS {table}")

    def meta_value(self, value: Any) -> Any:
        return str(value)

    def identity(self, session: Session) -> str:
        ((found,),) = session.execute(
            "SELECT system_identifier || ' ' || (SELECT oid FROM pg_database "
            "WHERE datname = current_database()) FROM pg_control_system()"
        )
        return str(found)

    def renew(self, session: Session) -> None:
        self.log.renew(session)

    def pack(self, session: Session, catalogue: Catalogue) -> None:
        return None

    def sizes(self, session: Session) -> tuple[int | None, int | None]:
        total, own = session.execute(
            "SELECT pg_database_size(current_database()), coalesce(sum(pg_total_relation_size("
            "to_regclass(name))), 0)::bigint FROM unnest(?::text[]) AS u(name)",
            (list(TABLES),),
        )[0]
        return total, own

    def size(self, session: Session) -> int | None:
        return int(session.execute("SELECT pg_database_size(current_database())")[0][0])

    # --- The user's tables ------------------------------------------------------------------------

    def ddl(self, session: Session) -> int | str:
        return str(session.execute_again(_DDL)[0][0])

    def meta(self, session: Session) -> tuple[Iterable[tuple[str, Any]], int | str]:
        (_, ddl), *found = session.execute_again(_META)
        return found, str(ddl)

    def reflect(self, session: Session, table: str) -> TableSchema:
        return reflection.reflect(session, table)

    def all_tables(self, session: Session) -> list[str]:
        return reflection.all_tables(session)

    def trackable_tables(self, session: Session) -> list[str]:
        return reflection.trackable_tables(session)

    def check_trackable(self, session: Session, schema: TableSchema) -> None:
        """PostgreSQL's primary keys have no NULL; rights may be missing."""
        details = reflection.table_of(session, schema.name)
        if capture.out_of_reach(session, (details.relation,)):
            raise UntrackableTableError(
                f"The hub's role may not read {schema.name!r} or put triggers on it: "
                "grant select, insert, update, delete, trigger on "
                f"{details.relation.sql} to {capture.role(session)}."
            )

    def details(self, session: Session, table: str) -> reflection.PgTable:
        return reflection.table_of(session, table)

    def references(self, session: Session) -> dict[str, list[tuple[str, ForeignKey]]]:
        return reflection.references(session)

    def plans(self, session: Session, schemas: Iterable[TableSchema]) -> dict[str, TablePlan]:
        return {
            schema.name: PostgresPlan(schema, self, reflection.table_of(session, schema.name))
            for schema in schemas
        }

    def former_plan(self, schema: TableSchema) -> TablePlan:
        return FormerPlan(schema, self)

    # --- Capture ----------------------------------------------------------------------------------

    def create_triggers(self, session: Session, schema: TableSchema) -> None:
        capture.create(session, schema, reflection.table_of(session, schema.name))

    def drop_triggers(self, session: Session, table: str) -> None:
        capture.drop(session, table)

    def is_captured(self, session: Session, schema: TableSchema) -> bool:
        try:
            details = reflection.table_of(session, schema.name)
        except (UnknownTableError, UntrackableTableError):
            return False
        return capture.is_captured(session, schema, details)

    def suspend_capture(self, session: Session, tables: Sequence[str]) -> None:
        session.execute("CREATE TABLE IF NOT EXISTS reunite_written (table_name text PRIMARY KEY)")
        session.execute("DELETE FROM reunite_written")
        for table in tables:
            capture.witness(session, table, reflection.table_of(session, table))

    def end_suspension(self, session: Session, tables: Sequence[str]) -> set[str]:
        written = {name for (name,) in session.execute("SELECT table_name FROM reunite_written")}
        for table in tables:
            if not self._is_witnessed(session, table):
                written.add(table)
            capture.drop(session, table)
        session.execute("DROP TABLE reunite_written")
        return written & set(tables)

    @staticmethod
    def _is_witnessed(session: Session, table: str) -> bool:
        try:
            return capture.is_witnessed(session, table, reflection.table_of(session, table))
        except (UnknownTableError, UntrackableTableError):
            return False

    # --- Steps ------------------------------------------------------------------------------------

    @contextmanager
    def deferred(self, session: Session, catalogue: Catalogue) -> Iterator[None]:
        session.execute("SET CONSTRAINTS ALL DEFERRED")
        yield
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")

    @contextmanager
    def unchecked(self, session: Session) -> Iterator[None]:
        """PostgreSQL checks always."""
        yield


POSTGRESQL = PostgresDialect()
