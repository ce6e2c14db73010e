"""What a store knows of the tables it tracks, kept between transactions.

The rule         a catalogue belongs to one edition of `reunite_schema`; every track, untrack and
                 migration, in whatever process, starts the next one. It may be shared by threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec

from reunite.core.key import Key, parse_key
from reunite.core.schema import ForeignKey, TableSchema
from reunite.errors import UnknownTableError
from reunite.stores.sql.dialect import Details
from reunite.stores.sql.ports import Session
from reunite.stores.sql.tables import TablePlan

_decode_schema = msgspec.json.Decoder(TableSchema).decode


class Catalogue:
    """The tracked tables of one edition, and readers for all their former versions."""

    def __init__(
        self,
        edition: int,
        schemas: dict[str, TableSchema],
        plans: dict[str, TablePlan] | None = None,
    ) -> None:
        self.edition = edition
        self.schemas = schemas
        self.plans = plans or {}
        for plan in self.plans.values():
            plan.others = self.plans
        self._former: dict[tuple[str, int], TablePlan | None] = {}
        self._details: dict[str, Details] = {}
        self._has_deferred_keys: bool | None = None
        self._references: dict[str, list[tuple[str, ForeignKey]]] | None = None

    @staticmethod
    def load(session: Session, edition: int) -> Catalogue:
        """The catalogue as it is in this transaction."""
        rows = session.execute(
            "SELECT table_name, schema FROM reunite_schema WHERE is_tracked ORDER BY table_name"
        )
        schemas = {name: _decode_schema(text) for name, text in rows}
        return Catalogue(edition, schemas, session.dialect.plans(session, schemas.values()))

    def plan(self, table: str) -> TablePlan:
        """The plan of a tracked table. Raises UnknownTableError."""
        try:
            return self.plans[table]
        except KeyError:
            raise UnknownTableError(f"The table {table!r} is not tracked.") from None

    def last(self, session: Session, table: str) -> TablePlan | None:
        """A table's plan, or one that reads what was logged of it while it was tracked; None if it
        never was."""
        if table in self.plans:
            return self.plans[table]
        ((version,),) = session.execute(
            "SELECT max(version) FROM reunite_schema WHERE table_name = ?", (table,)
        )
        return None if version is None else self.version(session, table, version)

    def version(self, session: Session, table: str, version: int) -> TablePlan:
        """A table as it was when something was logged."""
        plan = self.plans.get(table)
        if plan is not None and plan.schema.version == version:
            return plan
        if (table, version) not in self._former:
            rows = session.execute(
                "SELECT schema FROM reunite_schema WHERE table_name = ? AND version = ?",
                (table, version),
            )
            self._former[table, version] = (
                session.dialect.former_plan(_decode_schema(rows[0][0])) if rows else None
            )
        found = self._former[table, version]
        if found is None:
            raise UnknownTableError(f"The log names version {version} of {table!r}, unknown here.")
        return found

    def key_reader(self, session: Session, table: str, version: int) -> Callable[[str], Key]:
        """What reads the table's keys from the log."""
        try:
            return self.version(session, table, version).read_key
        except UnknownTableError:
            return parse_key

    def details(self, session: Session, table: str) -> Details:
        """What the database knows of a table beyond its schema."""
        if table not in self._details:
            self._details[table] = session.dialect.details(session, table)
        return self._details[table]

    def has_deferred_keys(self, session: Session) -> bool:
        """Whether foreign keys of any tracked table wait for COMMIT."""
        if self._has_deferred_keys is None:
            self._has_deferred_keys = any(
                self.details(session, table).has_deferred_keys for table in self.plans
            )
        return self._has_deferred_keys

    def references(self, session: Session) -> dict[str, list[tuple[str, ForeignKey]]]:
        """By parent table: the tables that point to it, tracked or not, and by which key."""
        if self._references is None:
            self._references = session.dialect.references(session)
        return self._references

    @cached_property
    def order(self) -> dict[str, int]:
        """A place for each table, parents before children; cycles are cut somewhere."""
        places: dict[str, int] = {}
        visiting: set[str] = set()

        def visit(name: str) -> None:
            if name in places or name in visiting or name not in self.schemas:
                return
            visiting.add(name)
            for foreign_key in self.schemas[name].foreign_keys:
                visit(foreign_key.parent)
            places[name] = len(places)

        for name in self.schemas:
            visit(name)
        return places
