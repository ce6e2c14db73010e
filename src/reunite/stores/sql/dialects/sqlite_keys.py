"""Foreign keys that were deferred, checked before COMMIT would.

SQLite only counts deferred violations and says at COMMIT that there are some. A step must say at
its own end which group is to blame; the log knows which rows it touched, cascades and triggers
included.
"""

from __future__ import annotations

from collections.abc import Iterable

from reunite.core.key import Key
from reunite.core.schema import ForeignKey
from reunite.errors import ConstraintError
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialects.sqlite import image_column
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import quoted
from reunite.stores.sql.tables import TablePlan


class ForeignKeyCheck:
    """Checks the rows touched between its making and `run`."""

    def __init__(self, session: Session, catalogue: Catalogue) -> None:
        self._session = session
        self._catalogue = catalogue
        (last_id,) = session.execute("SELECT max(id) FROM reunite_change")[0]
        self._after_id = last_id or 0

    def run(self) -> None:
        """Raise ConstraintError for a row that points nowhere."""
        touched = self._session.execute(
            "SELECT DISTINCT table_name FROM reunite_change WHERE id > ?", (self._after_id,)
        )
        plans = [self._catalogue.plan(table) for (table,) in touched]
        for plan in plans:
            keys = self._keys(plan) if plan.schema.foreign_keys else []
            for foreign_key in plan.schema.foreign_keys:
                if self._has_orphans(plan, keys, foreign_key):
                    raise _violation(plan.name, foreign_key)
        references = self._catalogue.references(self._session)
        for plan in plans:
            for child, foreign_key in references.get(plan.name, ()):
                if self._left_orphans(plan, child, foreign_key):
                    raise _violation(child, foreign_key)

    def _keys(self, plan: TablePlan) -> list[Key]:
        rows = self._session.execute(
            "SELECT DISTINCT key FROM reunite_change WHERE id > ? AND table_name = ?",
            (self._after_id, plan.name),
        )
        return [plan.read_key(text) for (text,) in rows]

    def _has_orphans(self, plan: TablePlan, keys: list[Key], foreign_key: ForeignKey) -> bool:
        """Whether one of the rows under these keys names a parent that is not there."""
        columns = [f"t.{quoted(name)}" for name in foreign_key.columns]
        given = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        for source in plan.key_sources(keys):
            rows = self._session.execute(
                f"SELECT 1 FROM {source.sql} CROSS JOIN {plan.sql_name} AS t "
                f"ON {plan.key_equals(source.columns)} "
                f"WHERE {given} AND NOT {_parent_exists(foreign_key, columns)} LIMIT 1",
                source.parameters,
            )
            if rows:
                return True
        return False

    def _left_orphans(self, plan: TablePlan, child: str, foreign_key: ForeignKey) -> bool:
        """Whether a child names what a touched parent was called before and nobody is now."""
        if not set(foreign_key.parent_columns) <= plan.schema.position.keys():
            return self._has_orphan(child, foreign_key)  # the log does not say what it was called
        former = [
            f"l.{image_column(plan.schema.position[name])}" for name in foreign_key.parent_columns
        ]
        is_given = " AND ".join(f"{value} IS NOT NULL" for value in former)
        is_child = " AND ".join(
            f"c.{quoted(name)} = {value}"
            for name, value in zip(foreign_key.columns, former, strict=True)
        )
        rows = self._session.execute(
            f"SELECT 1 FROM reunite_change AS l WHERE l.id > ? AND l.table_name = ? "
            f"AND {is_given} AND NOT {_parent_exists(foreign_key, former)} "
            f"AND EXISTS (SELECT 1 FROM {quoted(child)} AS c WHERE {is_child}) LIMIT 1",
            (self._after_id, plan.name),
        )
        return bool(rows)

    def _has_orphan(self, child: str, foreign_key: ForeignKey) -> bool:
        """Whether any child names a parent that is not there."""
        columns = [f"c.{quoted(name)}" for name in foreign_key.columns]
        given = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        rows = self._session.execute(
            f"SELECT 1 FROM {quoted(child)} AS c "
            f"WHERE {given} AND NOT {_parent_exists(foreign_key, columns)} LIMIT 1"
        )
        return bool(rows)


def _parent_exists(foreign_key: ForeignKey, values: Iterable[str]) -> str:
    is_parent = " AND ".join(
        f"p.{quoted(name)} = {value}"
        for name, value in zip(foreign_key.parent_columns, values, strict=True)
    )
    return f"EXISTS (SELECT 1 FROM {quoted(foreign_key.parent)} AS p WHERE {is_parent})"


def _violation(table: str, foreign_key: ForeignKey) -> ConstraintError:
    columns = ", ".join(foreign_key.columns)
    return ConstraintError(
        f"A row of {table} names by {columns} a row of {foreign_key.parent} that is not there.",
        code="foreign-key",
        table=table,
        columns=foreign_key.columns,
    )
