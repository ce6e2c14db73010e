"""The texts of SQLite's capture triggers.

    BEFORE INSERT   rows that OR REPLACE would overwrite: logged as updates, with what they are
    AFTER INSERT    the new row's key; in an outbox also the row, read from the table
    BEFORE UPDATE   the row as it is, and its old key where that changes
    BEFORE UPDATE   (another one) rows that UPDATE OR REPLACE would overwrite
    BEFORE DELETE   the row as it is

Before rather than after, so that what user's triggers do in turn is logged behind us. Entries of
rows that could be overwritten are *touches*: SQLite fires no delete trigger for such rows, and
whether it overwrites, ignores or fails is not known yet. One entry too many costs a read.

The rule         no function of ours and no pragma: these run in whatever program writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from reunite.core.change import Op
from reunite.core.schema import TableSchema
from reunite.stores.sql.dialects.sqlite import image_column
from reunite.stores.sql.dialects.sqlite_log import image, key_image
from reunite.stores.sql.dialects.sqlite_reflection import IndexTerm, TableDetails, UniqueIndex
from reunite.stores.sql.quoting import literal, quoted

_NOT_SUSPENDED = "(SELECT suspended FROM reunite_guard) = 0"

# What NEW.rowid is in a BEFORE INSERT trigger when SQLite has yet to choose it.
_ROWID_UNKNOWN = -1


def trigger_name(table: str, event: str) -> str:
    """The name of one of our triggers; all begin with `reunite_`."""
    return f"reunite_{table}_{event.lower().replace(' ', '_')}"


def trigger_names(table: str) -> list[str]:
    """The names of all triggers that a table of this name may have from us."""
    events = ("BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "BEFORE DELETE")
    return [*(trigger_name(table, event) for event in events), _touches_name(table)]


def _touches_name(table: str) -> str:
    return trigger_name(table, "BEFORE UPDATE") + "_touches"


def trigger_statements(schema: TableSchema, details: TableDetails, *, outbox: bool) -> list[str]:
    """The CREATE TRIGGER statements of a table, for a hub's log or a replica's outbox."""
    writer = _TriggerWriter(schema, details, outbox=outbox)
    return [
        statement
        for statement in (
            writer.before_insert(),
            writer.after_insert(),
            writer.before_update(),
            writer.before_update_touches(),
            writer.before_delete(),
        )
        if statement
    ]


def touch_statement(schema: TableSchema, source: str, condition: str, *, outbox: bool) -> str:
    """Log rows of `source`, in which the table is called t, as they are."""
    values = _entry(schema, Op.UPDATE, key_image(schema, "t")) | _old_image(
        schema, "t", outbox=outbox
    )
    names, expressions = ", ".join(values), ", ".join(values.values())
    return (
        f"INSERT INTO reunite_change ({names}) SELECT {expressions} FROM {source} WHERE {condition}"
    )


def _entry(schema: TableSchema, op: Op, key: str) -> dict[str, str]:
    """What every entry has."""
    return {
        "table_name": literal(schema.name),
        "schema": str(schema.version),
        "key": key,
        "op": f"'{op}'",
    }


def _old_image(schema: TableSchema, alias: str, *, outbox: bool) -> dict[str, str]:
    """The whole row as it is: value by value in a log, as one JSON text in an outbox."""
    if outbox:
        return {"old": image(schema, alias)}
    return {
        image_column(place): f"{alias}.{quoted(name)}"
        for place, name in enumerate(schema.column_names)
    }


def _insert(values: dict[str, str]) -> str:
    names, expressions = ", ".join(values), ", ".join(values.values())
    return f"INSERT INTO reunite_change ({names}) VALUES ({expressions})"


class _TriggerWriter:
    """The triggers of one table."""

    def __init__(self, schema: TableSchema, details: TableDetails, *, outbox: bool) -> None:
        self._schema = schema
        self._details = details
        self._outbox = outbox
        self._table = quoted(schema.name)

    def before_insert(self) -> str:
        conditions = [
            self._same_terms(index, "NEW") for index in self._details.uniques
        ] + self._same_rowids()
        exists = " OR ".join(
            f"EXISTS (SELECT 1 FROM {self._table} AS t WHERE {condition})"
            for condition in conditions
        )
        return self._trigger("BEFORE INSERT", self._touches(conditions), when=f"({exists})")

    def after_insert(self) -> str:
        values = _entry(self._schema, Op.INSERT, self._key("NEW"))
        if self._outbox:
            # By rowid where there is one: a user's trigger may have changed the row, or removed it.
            place = (
                f"t.{self._details.rowid_name} = NEW.{self._details.rowid_name}"
                if self._details.rowid_name
                else self._same_key("NEW")
            )
            values["row"] = (
                f"(SELECT {image(self._schema, 't')} FROM {self._table} AS t WHERE {place})"
            )
        return self._trigger("AFTER INSERT", [_insert(values)])

    def before_update(self) -> str:
        moved = " OR ".join(self._differs(name) for name in self._schema.key)
        values = _entry(self._schema, Op.UPDATE, self._key("NEW"))
        values["old_key"] = f"CASE WHEN {moved} THEN {self._key('OLD')} END"
        values |= _old_image(self._schema, "OLD", outbox=self._outbox)
        if self._outbox:
            values["row"] = image(self._schema, "NEW", self._details.required_defaults)
        return self._trigger("BEFORE UPDATE", [_insert(values)])

    def before_update_touches(self) -> str:
        """Only where a unique value changes; the row itself is logged by `before_update`."""
        conditions = [
            f"({self._changes(index)}) AND {self._same_terms(index, 'NEW')} "
            f"AND NOT ({self._is_old()})"
            for index in self._details.uniques
        ]
        conditions += [
            f"{condition} AND NOT ({self._is_old()})" for condition in self._same_rowids()
        ]
        changes = [f"({self._changes(index)})" for index in self._details.uniques]
        rowid = self._details.rowid_alias or self._details.rowid_name
        if rowid:
            changes.append(f"NEW.{quoted(rowid)} <> OLD.{quoted(rowid)}")
        return self._trigger(
            "BEFORE UPDATE",
            self._touches(conditions),
            when=f"({' OR '.join(changes)})",
            suffix="_touches",
        )

    def before_delete(self) -> str:
        values = _entry(self._schema, Op.DELETE, self._key("OLD"))
        values |= _old_image(self._schema, "OLD", outbox=self._outbox)
        return self._trigger("BEFORE DELETE", [_insert(values)])

    # --- Pieces -----------------------------------------------------------------------------------

    def _trigger(
        self, event: str, statements: Sequence[str], *, when: str = "", suffix: str = ""
    ) -> str:
        guards = [guard for guard in (_NOT_SUSPENDED if self._outbox else "", when) if guard]
        condition = f" WHEN {' AND '.join(guards)}" if guards else ""
        name = quoted(trigger_name(self._schema.name, event) + suffix)
        body = " ".join(f"{statement};" for statement in statements)
        return f"CREATE TRIGGER {name} {event} ON {self._table}{condition} BEGIN {body} END"

    def _key(self, side: str) -> str:
        return key_image(self._schema, side, rowid=self._details.rowid_alias)

    def _touches(self, conditions: Sequence[str]) -> list[str]:
        """Log the rows that meet one of the conditions, each of which is looked up in an index."""
        names = [self._details.rowid_name] if self._details.rowid_name else self._schema.key
        place = ", ".join(f"t.{quoted(name)}" for name in names)
        found = " UNION ".join(
            f"SELECT {place} FROM {self._table} AS t WHERE {condition}" for condition in conditions
        )
        source = f"{self._table} AS t"
        condition = f"({place}) IN ({found})"
        return [touch_statement(self._schema, source, condition, outbox=self._outbox)]

    def _same_rowids(self) -> list[str]:
        """Another row with the rowid of the new one. Without an INTEGER PRIMARY KEY programs
        seldom choose the rowid, but they may."""
        if self._details.rowid_alias is not None:
            name = quoted(self._details.rowid_alias)
            return [f"t.{name} = NEW.{name}"]
        name = self._details.rowid_name or ""
        return [f"NEW.{name} <> {_ROWID_UNKNOWN} AND t.{name} = NEW.{name}"] if name else []

    def _same_terms(self, index: UniqueIndex, side: str) -> str:
        """The rows t that hold the unique values of the row `side`, found by the index."""
        equal = [
            f"{self._own(term)} = {self._of(term, side)} COLLATE {quoted(term.collation)}"
            for term in index.terms
        ]
        # Without the predicate SQLite would not use a partial index; rows outside it do not count.
        predicate = [f"({index.predicate})"] if index.predicate else []
        return " AND ".join(equal + predicate)

    def _changes(self, index: UniqueIndex) -> str:
        changes = [
            f"{self._of(term, 'NEW')} IS NOT {self._of(term, 'OLD')} COLLATE BINARY"
            for term in index.terms
        ]
        if index.predicate:
            changes.append(
                f"{self._elsewhere(index.predicate, 'NEW')} "
                f"IS NOT {self._elsewhere(index.predicate, 'OLD')}"
            )
        return " OR ".join(changes)

    @staticmethod
    def _own(term: IndexTerm) -> str:
        return f"t.{quoted(term.column)}" if term.column is not None else f"({term.sql})"

    def _of(self, term: IndexTerm, side: str) -> str:
        """The term's value in NEW or OLD."""
        if term.column is None:
            return self._elsewhere(term.sql, side)
        value = f"{side}.{quoted(term.column)}"
        # OR REPLACE puts the default in place of NULL, after this trigger has run.
        default = self._details.required_defaults.get(term.column)
        if side == "NEW" and default is not None:
            return f"coalesce({value}, {default})"
        return value

    def _elsewhere(self, expression: str, side: str) -> str:
        """An expression over the table's columns, evaluated for NEW or OLD."""
        columns = ", ".join(f"{side}.{quoted(n)} AS {quoted(n)}" for n in self._details.all_columns)
        return f"(SELECT {expression} FROM (SELECT {columns}))"

    def _differs(self, name: str) -> str:
        return f"OLD.{quoted(name)} IS NOT NEW.{quoted(name)} COLLATE BINARY"

    def _is_old(self) -> str:
        if self._details.rowid_name:
            return f"t.{self._details.rowid_name} = OLD.{self._details.rowid_name}"
        return self._same_key("OLD")

    def _same_key(self, side: str) -> str:
        return " AND ".join(
            f"t.{quoted(name)} = {side}.{quoted(name)}" for name in self._schema.key
        )
