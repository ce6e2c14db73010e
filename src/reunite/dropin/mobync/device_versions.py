"""Versions of a device's file: what becomes of it when a release has other fields.

    columns                     renamed, added with their default, dropped
    what waits, what was noted  says the new names
    the rows                    are there at once, and read anew by the next sync: what the server
                                has in fields that are new here

The rule         in the transaction that opens the file, so a file is of one version.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from reunite.core.lens import FIRST_VERSION, Add, Lens, Remove, Rename, check_lenses, forward
from reunite.dropin.mobync.diff import as_newest, parse
from reunite.errors import CallerError
from reunite.stores.sql.quoting import quoted

Lenses = Mapping[str, Sequence[Lens]]


def follow_lenses(
    connection: sqlite3.Connection,
    models: Mapping[str, Mapping[str, str]],
    lenses: Lenses,
    version: int,
    *,
    is_new: bool,
) -> None:
    """Make a file's tables those of a version, given the types of the models' fields. A file whose
    version nobody noted has the first one, unless it is new; no triggers of ours may be there.

    Raises CallerError for a file of a later version, and BadRequestError for lenses that are out of
    order.
    """
    (noted,) = connection.execute(
        "SELECT value FROM mobync_state WHERE name = 'version'"
    ).fetchone()
    since = noted or (version if is_new else FIRST_VERSION)
    if since > version:
        raise CallerError(f"This file is of version {since} already, not of {version}.")
    steps: dict[str, list[Lens]] = {}
    for model, known in lenses.items():
        check_lenses(known, path=f"lenses.{model}")
        until = [lens for lens in known if lens.version <= version]
        if any(lens.version > since for lens in until):
            steps[model] = until
    for model in steps.keys() & models.keys():
        for lens in steps[model]:
            if lens.version > since:
                _follow(connection, model, lens, models[model])
    if steps:
        _translate(connection, steps, since)
        connection.execute("UPDATE mobync_state SET value = value + 1 WHERE name = 'dropped'")
    connection.execute("UPDATE mobync_state SET value = ? WHERE name = 'version'", (version,))


def _follow(
    connection: sqlite3.Connection, model: str, lens: Lens, kinds: Mapping[str, str]
) -> None:
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (model,)).fetchall()
    columns = {name for (name,) in found}
    alter = f"ALTER TABLE {quoted(model)}"
    match lens:
        case Rename(old=old, new=new) if old in columns and new not in columns:
            connection.execute(f"{alter} RENAME COLUMN {quoted(old)} TO {quoted(new)}")
        case Remove(name=name) if name in columns:
            connection.execute(f"{alter} DROP COLUMN {quoted(name)}")
        case Add(name=name, default=default) if columns and name not in columns:
            connection.execute(f"{alter} ADD COLUMN {quoted(name)} {kinds.get(name, '')}")
            value = json.dumps(default) if isinstance(default, list | dict) else default
            connection.execute(f"UPDATE {quoted(model)} SET {quoted(name)} = ?", (value,))


def _translate(connection: sqlite3.Connection, steps: Lenses, since: int) -> None:
    for n, text in connection.execute("SELECT n, diff FROM mobync_diff").fetchall():
        newest = as_newest(parse(json.loads(text)), steps, since=since)
        connection.execute(
            "UPDATE mobync_diff SET diff = ? WHERE n = ?", (json.dumps(newest.diff), n)
        )
    noted = connection.execute("SELECT n, model, old, new FROM mobync_change").fetchall()
    for n, model, *images in noted:
        if model in steps:
            texts = [_translated(text, steps[model], since) for text in images]
            connection.execute("UPDATE mobync_change SET old = ?, new = ? WHERE n = ?", (*texts, n))


def _translated(text: str | None, lenses: Sequence[Lens], since: int) -> str | None:
    if text is None:
        return None
    row: dict[str, Any] = json.loads(text)
    return json.dumps(forward(lenses, row, since=since, is_whole=True))
