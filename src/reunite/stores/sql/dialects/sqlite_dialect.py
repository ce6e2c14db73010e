"""SQLite as a kind of database: the port `Dialect`, over the modules that know its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reunite.core.schema import ForeignKey, TableSchema
from reunite.engine.pack import Pack
from reunite.stores.sql import capture, layout
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialects import sqlite, sqlite_reflection
from reunite.stores.sql.dialects.sqlite_history import SqliteLog
from reunite.stores.sql.dialects.sqlite_keys import ForeignKeyCheck
from reunite.stores.sql.dialects.sqlite_pack import begin_pack
from reunite.stores.sql.dialects.sqlite_plan import SqlitePlan
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import literal, quoted
from reunite.stores.sql.tables import TablePlan

_EVENTS = ("INSERT", "UPDATE", "DELETE")
_OUR_TRIGGERS = "type = 'trigger' AND name LIKE 'reunite\\_%' ESCAPE '\\'"


class SqliteDialect:
    """SQLite."""

    name = "sqlite"
    joined = "CROSS JOIN"
    greatest = "max"
    position = "instr"
    numbers = "json_each(?1) AS k"
    number = "k.value"
    locking = ""

    def __init__(self) -> None:
        self.log = SqliteLog()

    # --- reunite's own tables ---------------------------------------------------------------------

    def layout(self) -> Sequence[str]:
        return layout.hub_layout()

    def missing(self, session: Session, names: Iterable[str]) -> list[str]:
        there = {name for (name,) in session.execute("SELECT name FROM sqlite_schema")}
        return [name for name in names if name not in there]

    def lock_layout(self, session: Session) -> None:
        """Whoever writes is alone."""

    def remove_all(self, session: Session) -> None:
        names = session.execute(
            "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'table') "
            "AND name LIKE 'reunite\\_%' ESCAPE '\\' ORDER BY type DESC"
        )
        for kind, name in names:
            session.execute(f"DROP {kind} {quoted(name)}")

    def meta_value(self, value: Any) -> Any:
        return value

    def identity(self, session: Session) -> str:
        return ""

    def renew(self, session: Session) -> None:
        """The log says nothing that another place would change."""

    def sizes(self, session: Session) -> tuple[int | None, int | None]:
        return sqlite.sizes(session)

    def size(self, session: Session) -> int | None:
        return sqlite.size(session)

    # --- The user's tables ------------------------------------------------------------------------

    def ddl(self, session: Session) -> int | str:
        return int(session.execute("PRAGMA schema_version")[0][0])

    def meta(self, session: Session) -> tuple[Iterable[tuple[str, Any]], int | str]:
        return session.execute("SELECT name, value FROM reunite_meta"), self.ddl(session)

    def reflect(self, session: Session, table: str) -> TableSchema:
        return sqlite_reflection.reflect(session.handle, table)

    def all_tables(self, session: Session) -> list[str]:
        return sqlite_reflection.all_tables(session.handle)

    def trackable_tables(self, session: Session) -> list[str]:
        return sqlite_reflection.trackable_tables(session.handle)

    def check_trackable(self, session: Session, schema: TableSchema) -> None:
        sqlite_reflection.check_keys_have_no_null(session.handle, schema)

    def details(self, session: Session, table: str) -> sqlite_reflection.TableDetails:
        return sqlite_reflection.table_details(session.handle, table)

    def references(self, session: Session) -> dict[str, list[tuple[str, ForeignKey]]]:
        return sqlite_reflection.references(session.handle)

    def plans(self, session: Session, schemas: Iterable[TableSchema]) -> dict[str, TablePlan]:
        return {schema.name: SqlitePlan(schema, self) for schema in schemas}

    def former_plan(self, schema: TableSchema) -> TablePlan:
        return SqlitePlan(schema, self)

    def pack(self, session: Session, catalogue: Catalogue) -> Pack | None:
        return begin_pack(session, catalogue)

    # --- Capture ----------------------------------------------------------------------------------

    def create_triggers(self, session: Session, schema: TableSchema) -> None:
        capture.create_triggers(session.handle, schema, outbox=False)

    def drop_triggers(self, session: Session, table: str) -> None:
        capture.drop_triggers(session.handle, table)

    def is_captured(self, session: Session, schema: TableSchema) -> bool:
        return capture.is_captured(session.handle, schema)

    def suspend_capture(self, session: Session, tables: Sequence[str]) -> None:
        _drop_all_triggers(session)
        session.execute("CREATE TABLE IF NOT EXISTS reunite_written (table_name TEXT PRIMARY KEY)")
        session.execute("DELETE FROM reunite_written")
        for table in tables:
            for statement in _witnesses(table):
                session.execute(statement)

    def end_suspension(self, session: Session, tables: Sequence[str]) -> set[str]:
        written = {table for table in tables if not _is_untouched(session, table)}
        _drop_all_triggers(session)
        session.execute("DROP TABLE IF EXISTS reunite_written")
        return written

    # --- Steps ------------------------------------------------------------------------------------

    @contextmanager
    def deferred(self, session: Session, catalogue: Catalogue) -> Iterator[None]:
        check = ForeignKeyCheck(session, catalogue)
        session.execute("PRAGMA defer_foreign_keys = ON")
        try:
            yield
            check.run()
        finally:
            session.execute("PRAGMA defer_foreign_keys = OFF")

    @contextmanager
    def unchecked(self, session: Session) -> Iterator[None]:
        session.execute("PRAGMA ignore_check_constraints = ON")
        try:
            yield
        finally:
            session.execute("PRAGMA ignore_check_constraints = OFF")


def _witnesses(table: str) -> list[str]:
    """The triggers that note that a table was written, whatever its columns are called."""
    return [
        f"CREATE TRIGGER {quoted(f'reunite_{table}_written_{event.lower()}')} "
        f"BEFORE {event} ON {quoted(table)} BEGIN "
        f"INSERT OR IGNORE INTO reunite_written (table_name) VALUES ({literal(table)}); END"
        for event in _EVENTS
    ]


def _is_untouched(session: Session, table: str) -> bool:
    """Whether a table's witnesses have been there all the time and have seen nothing."""
    if session.execute("SELECT 1 FROM reunite_written WHERE table_name = ?", (table,)):
        return False
    there = session.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?", (table,)
    )
    return {sql for (sql,) in there}.issuperset(_witnesses(table))


def _drop_all_triggers(session: Session) -> None:
    for (name,) in session.execute(f"SELECT name FROM sqlite_schema WHERE {_OUR_TRIGGERS}"):
        session.execute(f"DROP TRIGGER {quoted(name)}")


SQLITE = SqliteDialect()
