"""What `reunite doctor` looks at, one function a question.

    hub        file sound · own tables · triggers · numbers · log readable · rows as logged ·
               rows without a key · tables left out
    replica    file sound · own tables · cloned · triggers · outbox · what waits · token file

The rule         a check reads and never writes; it works on a file that other checks found broken.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from reunite.cli.content import odd_sentences, tracked_schemas
from reunite.cli.opening import Kind, kind_of
from reunite.cli.screen import counted
from reunite.cli.tracking import tables_of, without_key_sentences
from reunite.core.schema import TableSchema
from reunite.core.withheld import as_tracked
from reunite.errors import CallerError, ReuniteError, StorageFaultError
from reunite.replica.layout import LAYOUT, has_older_layout
from reunite.replica.login import token_file
from reunite.replica.state import load_state
from reunite.stores.sql.capture import trigger_statements
from reunite.stores.sql.database import connect_to_look, error_of
from reunite.stores.sql.dialects.sqlite_log import log_key_to_wire, log_to_wire
from reunite.stores.sql.dialects.sqlite_reflection import check_keys_have_no_null, reflect
from reunite.stores.sql.layout import hub_layout, outbox_layout
from reunite.stores.sql.versions import is_older, statements_by_name

_OLDER = (
    "reunite's own tables are those of an older release: `reunite {}` or --fix brings them up to "
    "date."
)
OLDER = _OLDER.format("serve")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question; `is_well` None is neither good nor bad."""

    is_well: bool | None
    sentence: str


def well(sentence: str) -> Finding:
    """All is as it should be."""
    return Finding(is_well=True, sentence=sentence)


def wrong(sentence: str) -> Finding:
    """Something is wrong; the sentence says what to do."""
    return Finding(is_well=False, sentence=sentence)


def told(sentence: str) -> Finding:
    """Good to know."""
    return Finding(is_well=None, sentence=sentence)


def checks_of(path: Path) -> tuple[Kind, list[Finding]]:
    """Everything there is to say of this file. Raises CallerError for a file without reunite."""
    kind = kind_of(path)
    if kind is Kind.PLAIN:
        raise CallerError(
            f"{path} is neither a hub's database nor a replica: `reunite serve` makes the one, "
            "`reunite clone` the other."
        )
    ask = _of_hub if kind is Kind.HUB else _of_replica
    with closing(connect_to_look(path)) as connection:
        # One snapshot for all questions, while others go on writing.
        connection.execute("begin")
        return kind, list(_as_far_as_can_be_read(ask(connection, path)))


def _as_far_as_can_be_read(findings: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except sqlite3.DatabaseError as exc:
        error = error_of(exc)
        if not isinstance(error, StorageFaultError):
            raise
        yield wrong(f"The rest cannot be examined. {error.message}")


def _of_hub(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    yield _file(connection)
    if is_older(dict(connection.execute("select name, value from reunite_meta"))):
        yield wrong(OLDER)
        return
    missing = _missing(connection, hub_layout())
    if missing:
        yield wrong(f"reunite's own {missing} are missing: restore the database from a backup.")
        return
    yield well("reunite's own tables are there.")
    schemas = tracked_schemas(connection)
    found = list(_triggers(connection, schemas, "`reunite serve` or --fix renews it", outbox=False))
    yield from found
    yield _commits(connection)
    yield _log(connection)
    if all(finding.is_well for finding in found):
        yield from _content(connection, schemas)
        yield from map(wrong, without_key_sentences(connection, schemas))
    yield from _left_out(connection, path, {schema.name for schema in schemas})


def _of_replica(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    yield _file(connection)
    if has_older_layout(connection):
        yield wrong(_OLDER.format("sync"))
        return
    missing = _missing(connection, (*outbox_layout(), *LAYOUT))
    if missing:
        yield wrong(f"reunite's own {missing} are missing: clone again into a new file.")
        return
    yield well("reunite's own tables are there.")
    state = load_state(connection)
    if not state.is_ready:
        yield wrong("The first clone has not finished: run `reunite clone` again.")
        return
    yield well(f"It is a whole clone of {state.url or 'its hub'}.")
    yield from _triggers(connection, state.schemas, "--fix renews it", outbox=True)
    if connection.execute("select max(suspended) from reunite_guard").fetchone()[0]:
        yield wrong("Capture is suspended outside of a sync: `reunite sync` or --fix ends that.")
    yield _outbox(connection)
    yield from _waiting(connection)
    yield from _token(path)


# --- Questions to both ----------------------------------------------------------------------------


def _file(connection: sqlite3.Connection) -> Finding:
    (answer,) = connection.execute("pragma quick_check(1)").fetchone()
    if answer == "ok":
        return well("The database file is sound.")
    said = " ".join(answer.split())
    return wrong(f"The database file is damaged ({said}): restore it from a backup.")


def _missing(connection: sqlite3.Connection, layout: Sequence[str]) -> str:
    there = {name for (name,) in connection.execute("select name from sqlite_schema")}
    return ", ".join(name for name in statements_by_name(layout) if name not in there)


def _triggers(
    connection: sqlite3.Connection, schemas: Iterable[TableSchema], remedy: str, *, outbox: bool
) -> Iterator[Finding]:
    """Whether every write of these tables is captured, in the shape that they have now."""
    captured = []
    for schema in schemas:
        try:
            shape = as_tracked(reflect(connection, schema.name), schema)
            expected = set(trigger_statements(connection, schema, outbox=outbox))
        except CallerError as error:
            yield wrong(f"{schema.name} cannot be captured any more. {error.message}")
            continue
        if shape.column_names != schema.column_names or shape.key != schema.key:
            yield wrong(f"{schema.name} has other columns than when it was tracked: {remedy}.")
        elif expected != _installed(connection, schema.name):
            yield wrong(f"{schema.name} lacks a trigger, or has an old one: {remedy}.")
        else:
            captured.append(schema.name)
    if captured:
        tables = counted(len(captured), "table")
        yield well(f"Every write to {tables} is captured: {', '.join(captured)}.")


def _installed(connection: sqlite3.Connection, table: str) -> set[str]:
    return {
        text
        for (text,) in connection.execute(
            "select sql from sqlite_schema where type = 'trigger' and tbl_name = ?"
            " and name like 'reunite\\_%' escape '\\'",
            (table,),
        )
    }


class _Readers:
    """Reads keys and rows of the log or the outbox, in every version of their tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._by_version = {}
        for table, version, text in connection.execute(
            "select table_name, version, schema from reunite_schema"
        ):
            schema = msgspec.json.decode(text, type=TableSchema)
            self._by_version[table, version] = (
                (log_key_to_wire(schema), len(schema.key)),
                (log_to_wire(schema), len(schema.columns)),
            )

    def can_read(
        self, table: str, version: int, *, keys: Iterable[Any], rows: Iterable[Any]
    ) -> bool:
        """Whether each text is a key, or a row, of this version; None is neither and passes."""
        if (table, version) not in self._by_version:
            return False
        key_form, row_form = self._by_version[table, version]
        try:
            return all(
                len(read(text)) == length
                for (read, length), texts in ((key_form, keys), (row_form, rows))
                for text in texts
                if text is not None
            )
        except (ValueError, TypeError, LookupError, msgspec.MsgspecError):
            return False


# --- Questions to a hub ---------------------------------------------------------------------------


def _commits(connection: sqlite3.Connection) -> Finding:
    """Commits have the numbers 1, 2, 3 …, in the order of their changes and times."""
    gap = connection.execute(
        "select seq from (select seq, first_id, last_id, at_ms,"
        " lag(seq) over w as seq_before, lag(last_id) over w as last_before,"
        " lag(at_ms) over w as at_before from reunite_commit window w as (order by seq))"
        " where first_id > last_id or (seq_before is not null and"
        " (seq <> seq_before + 1 or first_id <= last_before or at_ms < at_before)) limit 1"
    ).fetchone()
    if gap is not None:
        return wrong(f"The log's numbers break at commit {gap[0]}: restore it from a backup.")
    count, head = connection.execute(
        "select count(*), coalesce(max(seq), 0) from reunite_commit"
    ).fetchone()
    if not count:
        return well("The log is empty so far.")
    (fresh,) = connection.execute(
        "select count(*) from reunite_change where id > (select max(last_id) from reunite_commit)"
    ).fetchone()
    waiting = f" {counted(fresh, 'change waits', 'changes wait')} for a number." if fresh else ""
    return well(f"Commits are numbered without a gap up to {head}.{waiting}")


def _log(connection: sqlite3.Connection) -> Finding:
    """Every change can be read in the version of its table's schema."""
    readers = _Readers(connection)
    count = 0
    for change_id, table, version, key, old_key in connection.execute(
        "select id, table_name, schema, key, old_key from reunite_change"
        " where id > (select value from reunite_meta where name = 'trimmed_id')"
    ):
        if not readers.can_read(table, abs(version), keys=(key, old_key), rows=()):
            return wrong(f"Change {change_id} of {table} cannot be read: restore from a backup.")
        count += 1
    return well(f"The log's {counted(count, 'change')} can all be read.")


def _content(connection: sqlite3.Connection, schemas: Sequence[TableSchema]) -> Iterator[Finding]:
    """Rows are there that should be, and none that should not."""
    sentences = list(odd_sentences(connection, schemas))
    yield from map(wrong, sentences)
    if not sentences:
        yield well("Rows are there, and gone, as the log says.")


def _left_out(connection: sqlite3.Connection, path: Path, tracked: set[str]) -> Iterator[Finding]:
    for table in tables_of(path):
        if table in tracked:
            continue
        try:
            check_keys_have_no_null(connection, reflect(connection, table))
        except ReuniteError as error:
            yield told(f"{table} is not tracked. {error.message}")
        else:
            yield told(f"{table} is not tracked: `reunite serve` tracks it when it runs.")


# --- Questions to a replica -----------------------------------------------------------------------


def _outbox(connection: sqlite3.Connection) -> Finding:
    """The outbox's numbers rise in the order of its changes, and all can be read."""
    readers = _Readers(connection)
    last_n = None
    count = 0
    for change_id, n, table, version, key, old_key, old, row in connection.execute(
        "select id, n, table_name, schema, key, old_key, old, row from reunite_outbox order by id"
    ):
        if not readers.can_read(table, version, keys=(key, old_key), rows=(old, row)):
            return wrong(
                f"Change {change_id} of {table} in the outbox cannot be read: clone again into a "
                "new file, and make this change there."
            )
        if n is not None and last_n is not None and n <= last_n:
            return wrong(
                f"The outbox's numbers break at change {change_id}: clone again into a new file, "
                "and make the changes that wait there."
            )
        last_n = n if n is not None else last_n
        count += 1
    if not count:
        return well("The outbox is empty.")
    return well(f"The outbox's {counted(count, 'entry', 'entries')} can all be read.")


def _waiting(connection: sqlite3.Connection) -> Iterator[Finding]:
    questions = (
        ("select count(*) from reunite_parked", "rejected change is", "rejected changes are",
         "parked: see `reunite parked`."),
        ("select count(*) from reunite_conflict where is_open", "conflict waits", "conflicts wait",
         "for your decision: see `reunite conflicts`."),
    )  # fmt: skip
    for question, one, many, rest in questions:
        (count,) = connection.execute(question).fetchone()
        if count:
            yield told(f"{counted(count, one, many)} {rest}")


def _token(path: Path) -> Iterator[Finding]:
    token = token_file(path)
    if not token.exists():
        yield told(f"No token is remembered: `reunite sync {path}` needs --token or REUNITE_TOKEN.")
    elif os.name == "posix" and token.stat().st_mode & 0o077:
        yield wrong(f"Others can read the token in {token}: chmod 600 {token}, or --fix")
    else:
        yield well("The token is remembered, and only you can read it.")
