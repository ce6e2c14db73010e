"""Versions of a device's file: what becomes of its models when a release has other fields.

    columns                     renamed, added with their default, dropped
    what waits, what was noted  says the new names
    the rows                    are there at once, and read anew by the next sync: what the server
                                has in fields that are new here

The rule         in the transaction that opens the file, so a model is of one version. Each has its
                 own: one that a client does not name stays as it is, until another client does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.lens import FIRST_VERSION, Add, Lens, Remove, Rename, check_lenses, forward
from reunite.dropin.mobync.diff import as_newest, parse
from reunite.errors import CallerError
from reunite.stores.sql.database import error_of
from reunite.stores.sql.quoting import literal, quoted

Lenses = Mapping[str, Sequence[Lens]]


def versions_of(connection: sqlite3.Connection, models: Iterable[str]) -> dict[str, int]:
    """The versions of these models in the file, as far as they were noted."""
    query = "SELECT model, version FROM mobync_model WHERE version IS NOT NULL"
    noted = dict(connection.execute(query).fetchall())
    return {model: noted[model] for model in models if model in noted}


def follow_lenses(
    connection: sqlite3.Connection,
    models: Mapping[str, Mapping[str, str]],
    lenses: Lenses,
    version: int | None,
    *,
    known: set[str],
) -> None:
    """Make the models' tables those of a version, given the types of their fields, and note it.

    version      None if nobody says it: then a model stays what it is
    known        models that the file had before, in versions that were perhaps never noted: then
                 it is the first one

    No triggers of ours may be there. Raises CallerError for a model of a later version, and for a
    lens that SQLite cannot follow; BadRequestError for lenses that are out of order.
    """
    noted = versions_of(connection, models)
    steps: dict[str, list[Lens]] = {}
    for model in models:
        first = FIRST_VERSION if version is None or model in known else version
        since = noted.setdefault(model, first)
        if version is None:
            continue
        if since > version:
            raise CallerError(f"This file is of version {since} already, not of {version}.")
        declared = lenses.get(model, ())
        check_lenses(declared, path=f"lenses.{model}")
        until = [lens for lens in declared if lens.version <= version]
        if any(lens.version > since for lens in until):
            steps[model] = until
    for model, until in steps.items():
        for index, lens in enumerate(until):
            if lens.version > noted[model]:
                _follow(connection, model, lens, _kind(until[index:], models[model]))
        _translate_diffs(connection, model, until, noted[model])
        _translate_noted(connection, model, until, noted[model], models[model])
    if steps:
        connection.execute("UPDATE mobync_state SET value = value + 1 WHERE name = 'dropped'")
    connection.executemany(
        "INSERT INTO mobync_model (model, version) VALUES (?, ?) "
        "ON CONFLICT (model) DO UPDATE SET version = excluded.version",
        [(model, since if version is None else version) for model, since in noted.items()],
    )


def stored(value: Any, kind: str) -> Any:
    """What a column of this type, in capitals, has for a value."""
    is_json = isinstance(value, list | dict) or (kind == "JSON" and value is not None)
    return json.dumps(value) if is_json else value


def _follow(connection: sqlite3.Connection, model: str, lens: Lens, kind: str) -> None:
    """`kind` is the type of the field that the lens adds."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (model,)).fetchall()
    columns = {name for (name,) in found}
    alter = f"ALTER TABLE {quoted(model)}"
    try:
        match lens:
            case Rename(old=old, new=new) if old in columns and new not in columns:
                connection.execute(f"{alter} RENAME COLUMN {quoted(old)} TO {quoted(new)}")
            case Remove(name=name) if name in columns:
                connection.execute(f"{alter} DROP COLUMN {quoted(name)}")
            case Add(name=name) if columns and name not in columns:
                value = _default(lens, kind)
                connection.execute(f"{alter} ADD COLUMN {quoted(name)} {_filled(kind, value)}")
                connection.execute(f"UPDATE {quoted(model)} SET {quoted(name)} = ?", (value,))
    except sqlite3.OperationalError as exc:
        if error_of(exc) is not exc:
            raise
        raise CallerError(
            f"SQLite cannot change the table {model!r} as {lens!r} says: {exc}. Nothing was "
            "changed. Drop the index or view that names the field before this release opens the "
            "file, declare a new field without UNIQUE, or make the table anew with your own SQL."
        ) from exc


def _kind(lenses: Sequence[Lens], kinds: Mapping[str, str]) -> str:
    """The type of the field that the first lens adds, by the name that it has in the end."""
    first, *later = lenses
    name = first.name if isinstance(first, Add) else ""
    for lens in later:
        if isinstance(lens, Rename) and lens.old == name:
            name = lens.new
    return kinds.get(name, "")


def _default(lens: Add, kind: str) -> Any:
    """A default as its column has it."""
    return stored(lens.default, kind.partition(" ")[0].upper())


def _filled(kind: str, value: Any) -> str:
    """A column's type; rows that are there already have the value in one that may not be NULL."""
    words = kind.upper().split()
    if "NULL" not in words or "DEFAULT" in words or value is None:
        return kind
    told = literal(value) if isinstance(value, str) else repr(+value)
    return f"{kind} DEFAULT {told}"


def _translate_diffs(
    connection: sqlite3.Connection, model: str, lenses: Sequence[Lens], since: int
) -> None:
    for n, text in connection.execute("SELECT n, diff FROM mobync_diff").fetchall():
        newest = as_newest(parse(json.loads(text)), {model: lenses}, since=since)
        connection.execute(
            "UPDATE mobync_diff SET diff = ? WHERE n = ?", (json.dumps(newest.diff), n)
        )


def _translate_noted(
    connection: sqlite3.Connection,
    model: str,
    lenses: Sequence[Lens],
    since: int,
    kinds: Mapping[str, str],
) -> None:
    # Triggers note what columns have, so that is what is added here.
    lenses = [
        msgspec.structs.replace(lens, default=_default(lens, _kind(lenses[index:], kinds)))
        if isinstance(lens, Add)
        else lens
        for index, lens in enumerate(lenses)
    ]
    query = "SELECT n, old, new FROM mobync_change WHERE model = ?"
    for n, *images in connection.execute(query, (model,)).fetchall():
        texts = [_translated(text, lenses, since) for text in images]
        connection.execute("UPDATE mobync_change SET old = ?, new = ? WHERE n = ?", (*texts, n))


def _translated(text: str | None, lenses: Sequence[Lens], since: int) -> str | None:
    if text is None:
        return None
    row: dict[str, Any] = json.loads(text)
    return json.dumps(forward(lenses, row, since=since, is_whole=True))
