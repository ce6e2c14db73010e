"""A device's SQLite file: the models' tables, triggers that note what is written, what waits.

    mobync_state      name, value: the clock; whether an answer is being applied just now; what
                      makes the next sync read all rows anew
    mobync_model      model, version of its fields, is_behind: whether an answer told of rows of it
                      to a client that does not have it
    mobync_change     n, model, op, row before and after as JSON, time in ms: noted by triggers
    mobync_diff       n, diff: made of changes when a sync began, and not answered yet
    mobync_conflict   n, conflict: what answers said of losses

The rule         triggers rest only inside the transaction that applies an answer.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from reunite.core.change import Op
from reunite.dropin.mobync.device_versions import Lenses, follow_lenses, stored, versions_of
from reunite.dropin.mobync.diff import CREATE, DELETE, Entry, RowId, are_odd
from reunite.errors import CallerError
from reunite.stores.sql.database import connect_sqlite, translated
from reunite.stores.sql.quoting import literal, quoted

_LAYOUT = """
    CREATE TABLE IF NOT EXISTS mobync_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
    INSERT OR IGNORE INTO mobync_state
        VALUES ('clock', 0), ('is_applying', 0), ('dropped', 0);
    CREATE TABLE IF NOT EXISTS mobync_model (
        model TEXT PRIMARY KEY, version INTEGER, is_behind INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS mobync_change (
        n INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, op TEXT NOT NULL,
        old TEXT, new TEXT, at INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS mobync_diff (
        n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, diff TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS mobync_conflict (
        n INTEGER PRIMARY KEY AUTOINCREMENT, conflict TEXT NOT NULL
    );
"""
_NOW_MS = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
# What no diff can say is refused while it is written, so that nothing waits for ever.
_ODD = "an id is an integer or a text that is not empty, and no number is infinite"
_IS_FREE = "(SELECT value FROM mobync_state WHERE name = 'is_applying') = 0"


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A write that a trigger noted; `old` and `new` are whole rows, None where there is none."""

    n: int
    model: str
    op: Op
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    at_ms: int

    @property
    def changed(self) -> dict[str, Any]:
        """What the write set, without the id."""
        old, new = self.old or {}, self.new or {}
        is_new = self.op is Op.INSERT
        return {f: v for f, v in new.items() if f != "id" and (is_new or not _is_same(v, old[f]))}


class DeviceFile:
    """The file at `path`, with a table for each of `models`; those that are missing are made.

    May be used from several threads; other programs may write to the file meanwhile.
    """

    def __init__(
        self,
        path: str | Path,
        models: Mapping[str, Iterable[str] | Mapping[str, str]],
        *,
        lenses: Lenses | None = None,
        version: int | None = None,
    ) -> None:
        declared = {model: _declared(fields) for model, fields in models.items()}
        self.connection = connect_sqlite(path)
        # What other programs write as text that is none must not keep the rest from going.
        self.connection.text_factory = lambda text: text.decode(errors="replace")
        self._mutex = threading.RLock()
        self._kinds: dict[str, dict[str, str]] = {}
        self._versions: dict[str, int] = {}
        with translated():
            self.connection.execute("PRAGMA journal_mode = WAL").fetchall()
            self.connection.executescript(_LAYOUT)
            with self.writing():
                known = {model for model in declared if self._drop_triggers(model)}
                noted = versions_of(self.connection, declared)
                follow_lenses(self.connection, declared, lenses or {}, version, known=known)
                for model, kinds in declared.items():
                    self._make(model, kinds)
                    if not (model in known or model in noted) and self._has_rows(model):
                        # The application's own, of which no server knows: nothing replaces them.
                        self._set_up_to_date(model)
                self._kinds = {model: self._columns(model) for model in declared}
                self._versions = versions_of(self.connection, declared)

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        self.connection.close()

    @contextmanager
    def writing(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """A transaction of the application; the triggers note what it writes.

        Raises CallerError once another release has given the models other fields.
        """
        with self._mutex, translated():
            self.connection.execute(begin)
            try:
                self._check_versions()
                yield self.connection
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    @contextmanager
    def applying(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which triggers note nothing and foreign keys are not asked."""
        with self._mutex, translated():
            self.connection.execute("PRAGMA foreign_keys = OFF")
            try:
                with self.writing() as connection:
                    self.set_state("is_applying", 1)
                    yield connection
                    self.set_state("is_applying", 0)
            finally:
                self.connection.execute("PRAGMA foreign_keys = ON")

    def state(self, name: str) -> int:
        """A number of the file's state."""
        row = self._one("SELECT value FROM mobync_state WHERE name = ?", name)
        return int(row[0])

    def set_state(self, name: str, value: int) -> None:
        """Inside a transaction."""
        self.connection.execute("UPDATE mobync_state SET value = ? WHERE name = ?", (value, name))

    def rows(self, model: str) -> list[dict[str, Any]]:
        """All rows of a model, in the order of their ids."""
        table = quoted(model)
        # SQLite takes a quoted name for a text if no column has it, unless a table stands before.
        names = ", ".join(f"{table}.{quoted(name)}" for name in self._kinds_of(model))
        query = f"SELECT {names} FROM {table} ORDER BY {table}.id"
        with self._mutex:
            is_inside = self.connection.in_transaction
            with translated() if is_inside else self.writing("BEGIN"):
                found = self.connection.execute(query).fetchall()
        return [self._read(model, row) for row in found]

    def has(self, model: str) -> bool:
        """Whether this client has the model; the file may have others."""
        return model in self._kinds

    def noted(self) -> list[Noted]:
        """What was written to this client's models and is in no diff yet, in order."""
        rows = self.connection.execute(
            "SELECT n, model, op, old, new, at FROM mobync_change ORDER BY n"
        ).fetchall()
        return [
            Noted(
                n=n,
                model=model,
                op=Op(op),
                old=self._parse(model, old),
                new=self._parse(model, new),
                at_ms=at,
            )
            for n, model, op, old, new, at in rows
            if self.has(model)
        ]

    def put(self, model: str, row: RowId, values: Mapping[str, Any]) -> None:
        """Insert a row, or set these fields of the one that is there."""
        values = {"id": row, **self._known(model, values)}
        names = ", ".join(map(quoted, values))
        marks = ", ".join("?" * len(values))
        sets = ", ".join(f"{quoted(f)} = excluded.{quoted(f)}" for f in values)
        self.connection.execute(
            f"INSERT INTO {quoted(model)} ({names}) VALUES ({marks}) "
            f"ON CONFLICT (id) DO UPDATE SET {sets}",
            self._stored(model, values),
        )

    def change(self, model: str, row: RowId, values: Mapping[str, Any]) -> None:
        """Set fields of a row, if it is there."""
        values = self._known(model, values)
        if values:
            sets = ", ".join(f"{quoted(field)} = ?" for field in values)
            self.connection.execute(
                f"UPDATE {quoted(model)} SET {sets} WHERE id = ?",
                (*self._stored(model, values), row),
            )

    def remove(self, model: str, row: RowId) -> None:
        """Delete a row, if it is there."""
        self.connection.execute(f"DELETE FROM {quoted(model)} WHERE id = ?", (row,))

    def apply(self, entries: Iterable[Entry]) -> None:
        """Do what diffs say; one of a model that this client does not have is passed over, and
        that is noted for one that has it."""
        passed_over: set[str] = set()
        for entry in entries:
            model, row = entry.key
            if not self.has(model):
                passed_over.add(model)
            elif entry.type == CREATE:
                self.put(model, row, entry.values)
            elif entry.type == DELETE:
                self.remove(model, row)
            else:
                self.change(model, row, entry.values)
        self.connection.executemany(
            "INSERT INTO mobync_model (model, is_behind) VALUES (?, 1) "
            "ON CONFLICT (model) DO UPDATE SET is_behind = 1",
            [(model,) for model in passed_over],
        )

    def is_behind(self) -> bool:
        """Whether answers told of rows of this client's models to one that does not have them."""
        with self._mutex, translated():
            query = "SELECT model FROM mobync_model WHERE is_behind = 1"
            return any(self.has(model) for (model,) in self.connection.execute(query).fetchall())

    def apply_again(self, noted: Sequence[Noted]) -> None:
        """Do once more what was noted, on top of an answer."""
        for one in noted:
            if one.old is not None and (one.new is None or one.new["id"] != one.old["id"]):
                self.remove(one.model, one.old["id"])
            if one.new is not None:
                if one.old is None or one.new["id"] != one.old["id"]:
                    self.put(one.model, one.new["id"], one.new)
                else:
                    self.change(one.model, one.new["id"], one.changed)

    def clear(self) -> None:
        """Delete all rows of the models, which then are behind no more."""
        for model in self._kinds:
            self.connection.execute(f"DELETE FROM {quoted(model)}")
            self._set_up_to_date(model)

    def fields(self, model: str) -> list[str]:
        """The fields of a model beside `id`. Raises CallerError for one that is not there."""
        return [name for name in self._kinds_of(model) if name != "id"]

    def _check_versions(self) -> None:
        found = versions_of(self.connection, self._versions)
        for model, version in self._versions.items():
            if found.get(model) != version:
                raise CallerError(
                    f"Another release has opened this file: its model {model!r} is of version "
                    f"{found.get(model)} now, not of {version}. Close this client, and open the "
                    "file with the newer release."
                )

    def _has_rows(self, model: str) -> bool:
        return self._one(f"SELECT 1 FROM {quoted(model)} LIMIT 1") is not None

    def _set_up_to_date(self, model: str) -> None:
        query = "UPDATE mobync_model SET is_behind = 0 WHERE model = ?"
        self.connection.execute(query, (model,))

    def _drop_triggers(self, model: str) -> bool:
        """Whether there were any."""
        query = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        names = [f"mobync_{op}_{model}" for op in Op]
        found = [self.connection.execute(query, (name,)).fetchone() for name in names]
        for name in names:
            self.connection.execute(f"DROP TRIGGER IF EXISTS {quoted(name)}")
        return any(found)

    def _make(self, model: str, kinds: Mapping[str, str]) -> None:
        columns = ["id NOT NULL PRIMARY KEY"]
        columns += [f"{quoted(name)} {kind}" for name, kind in kinds.items()]
        table = quoted(model)
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")
        names = self._columns(model)
        if "id" not in names:
            raise CallerError(f"The table {model!r} has no column `id`.")
        old, new = (
            "json_object(" + ", ".join(f"{literal(n)}, {row}.{quoted(n)}" for n in names) + ")"
            for row in ("OLD", "NEW")
        )
        is_odd = " OR ".join(
            ["typeof(NEW.id) NOT IN ('text', 'integer')", "NEW.id = ''"]
            + [
                f"typeof(NEW.{name}) = 'real' AND abs(NEW.{name}) > {sys.float_info.max!r}"
                for name in map(quoted, names)
            ]
        )
        for op, before, after in (
            (Op.INSERT, "NULL", new),
            (Op.UPDATE, old, new),
            (Op.DELETE, old, "NULL"),
        ):
            refuse = f"SELECT RAISE(ABORT, {literal(_ODD)}) WHERE {is_odd}; "
            self.connection.execute(
                f"CREATE TRIGGER {_trigger(op, model)} AFTER {op} ON {table} WHEN {_IS_FREE} BEGIN "
                f"{'' if op is Op.DELETE else refuse}"
                "INSERT INTO mobync_change (model, op, old, new, at) "
                f"VALUES ({literal(model)}, '{op}', {before}, {after}, {_NOW_MS}); END"
            )

    def _columns(self, model: str) -> dict[str, str]:
        """The declared types by name, in capitals."""
        found = self.connection.execute("SELECT name, type FROM pragma_table_info(?)", (model,))
        return {name: str(kind).upper() for name, kind in found.fetchall()}

    def _kinds_of(self, model: str) -> dict[str, str]:
        if model not in self._kinds:
            raise CallerError(f"This device has no model {model!r}: name it in `models`.")
        return self._kinds[model]

    def _known(self, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
        kinds = self._kinds_of(model)
        return {field: value for field, value in values.items() if field in kinds}

    def _stored(self, model: str, values: Mapping[str, Any]) -> list[Any]:
        kinds = self._kinds[model]
        return [stored(value, kinds[field]) for field, value in values.items()]

    def _parse(self, model: str, text: str | None) -> dict[str, Any] | None:
        if text is None:
            return None
        row = json.loads(text)
        kinds = self._kinds.get(model, {})
        return {field: _value(kinds.get(field, ""), value) for field, value in row.items()}

    def _read(self, model: str, row: Sequence[Any]) -> dict[str, Any]:
        kinds = self._kinds[model].items()
        pairs = zip(kinds, row, strict=True)
        return {field: _value(kind, value) for (field, kind), value in pairs}

    def _one(self, sql: str, *parameters: Any) -> Any:
        with self._mutex, translated():
            return self.connection.execute(sql, parameters).fetchone()


def _trigger(op: Op, model: str) -> str:
    return quoted(f"mobync_{op}_{model}")


def _declared(fields: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """SQL types by field, without the id's."""
    kinds = dict(fields) if isinstance(fields, Mapping) else dict.fromkeys(fields, "")
    return {field: kind for field, kind in kinds.items() if field != "id"}


def _value(kind: str, stored: Any) -> Any:
    """What a stored value is as JSON, by its column's declared type."""
    if kind in {"BOOLEAN", "BOOL"} and stored in {0, 1}:
        return bool(stored)
    if kind == "JSON" and isinstance(stored, str):
        try:
            value = msgspec.json.decode(stored)
        except (ValueError, RecursionError):
            return stored
        return stored if are_odd({"value": value}) else value
    return stored


def _is_same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b
