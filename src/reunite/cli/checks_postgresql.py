"""What `reunite doctor` looks at in a hub's PostgreSQL database, one function a question.

    server · own tables · triggers · numbers · log readable · rows as logged · tables left out ·
    how streams hear

What it is not   a look at PostgreSQL's own files: that is `pg_amcheck`'s.
The rule         a check reads and never writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from reunite.cli.checks import OLDER, Finding, told, well, wrong
from reunite.cli.content_postgresql import odd_sentences
from reunite.cli.screen import counted
from reunite.core.schema import TableSchema
from reunite.core.withheld import as_tracked
from reunite.errors import CallerError, ReuniteError
from reunite.stores.sql import following
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.dialects import postgresql_capture as capture
from reunite.stores.sql.dialects.postgresql_reflection import table_of
from reunite.stores.sql.ports import Session
from reunite.stores.sql.postgresql import PostgresDatabase
from reunite.stores.sql.reading import SqlTransaction
from reunite.stores.sql.versions import has_tables, is_older, missing_relations, read_meta

VERSION_MIN = 14

# Entries of the log in one read.
_LOG_ENTRIES = 1_000

_BREAK = """
    SELECT seq FROM (
        SELECT seq, at_ms, changes, first_id, last_id,
               lag(seq) OVER w AS seq_before, lag(at_ms) OVER w AS at_before
        FROM reunite_commit WINDOW w AS (ORDER BY seq)) AS c
    WHERE first_id > last_id OR (seq_before IS NOT NULL AND (seq <> seq_before + 1
        OR at_ms < at_before)) ORDER BY seq LIMIT 1
"""


def checks_of_postgresql(url: str) -> list[Finding]:
    """Everything there is to say of the database with this URL. Raises CallerError for one without
    reunite, and StorageUnavailableError for one that cannot be reached."""
    with closing(PostgresDatabase(url)) as database:
        with database.read() as session:
            if not has_tables(session):
                raise CallerError(
                    "The database is no hub's: `reunite serve` with the same URL makes it one."
                )
            found = [_server(session)]
            if is_older(read_meta(session)):
                return [*found, wrong(OLDER)]
            missing = ", ".join(missing_relations(session))
            if missing:
                sentence = f"reunite's own {missing} are missing: restore them from a dump."
                return [*found, wrong(sentence)]
            found.append(well("reunite's own tables are there."))
            schemas = list(following.tracked_schemas(session))
            triggers = list(_triggers(session, schemas))
            found += [*triggers, _commits(session), _log(session)]
            if all(finding.is_well for finding in triggers):
                found += _content(session, schemas)
            found += _left_out(session, {schema.name for schema in schemas})
        return [*found, _line(database)]


def _server(session: Session) -> Finding:
    (number, text), *_ = session.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
    )
    if number // 10_000 < VERSION_MIN:
        return wrong(f"PostgreSQL {text} is too old: reunite needs {VERSION_MIN} or later.")
    return well(f"PostgreSQL {text} answers.")


def _triggers(session: Session, schemas: Sequence[TableSchema]) -> Iterator[Finding]:
    """Whether every write of these tables is captured, in the shape that they have now."""
    captured = []
    for schema in schemas:
        try:
            shape = as_tracked(session.dialect.reflect(session, schema.name), schema)
            is_captured = session.dialect.is_captured(session, schema)
        except CallerError as error:
            yield wrong(f"{schema.name} cannot be captured any more. {error.message}")
            continue
        remedy = "`reunite serve` or --fix renews it"
        if shape.column_names != schema.column_names or shape.key != schema.key:
            yield wrong(f"{schema.name} has other columns than when it was tracked: {remedy}.")
        elif not is_captured:
            sentence = f"{schema.name} lacks a trigger, or one is old or switched off: {remedy}."
            beyond = capture.out_of_reach(session, table_of(session, schema.name).partitions)
            if beyond:
                names = ", ".join(relation.sql for relation in beyond)
                sentence = (
                    f"{schema.name} is not captured where a statement names {names}: grant select, "
                    f"trigger on {names} to {capture.role(session)}."
                )
            yield wrong(sentence)
        else:
            captured.append(schema.name)
    if captured:
        tables = counted(len(captured), "table")
        yield well(f"Every write to {tables} is captured: {', '.join(captured)}.")


def _commits(session: Session) -> Finding:
    """Commits have the numbers 1, 2, 3 …, in the order of their times."""
    broken = session.execute(_BREAK)
    if broken:
        return wrong(f"The log's numbers break at commit {broken[0][0]}: restore it from a dump.")
    (count, head), *_ = session.execute(
        "SELECT count(*), coalesce(max(seq), 0) FROM reunite_commit"
    )
    waiting = (
        " Some changes wait for a number." if session.dialect.log.state(session).has_news else ""
    )
    if not count:
        return well(f"The log is empty so far.{waiting}")
    return well(f"Commits are numbered without a gap up to {head}.{waiting}")


def _content(session: Session, schemas: Sequence[TableSchema]) -> Iterator[Finding]:
    """Rows are there that should be, and none that should not."""
    sentences = list(odd_sentences(session, schemas))
    yield from map(wrong, sentences)
    if not sentences:
        yield well("Rows are there, and gone, as the log says.")


def _left_out(session: Session, tracked: set[str]) -> Iterator[Finding]:
    for table in session.dialect.all_tables(session):
        if table in tracked:
            continue
        try:
            schema = session.dialect.reflect(session, table)
            session.dialect.check_trackable(session, schema)
        except ReuniteError as error:
            yield told(f"{table} is not tracked. {error.message}")
        else:
            yield told(f"{table} is not tracked: `reunite serve` tracks it when it runs.")


def _log(session: Session) -> Finding:
    """Every change can be read in the version of its table's schema."""
    # Not the store's: that one mends what it finds.
    meta = read_meta(session)
    tx = SqlTransaction(session, Catalogue.load(session, meta["edition"]), meta)
    count = after_id = 0
    while True:
        try:
            entries = tx.log(after_id=after_id, until_id=tx.last_change_id(), limit=_LOG_ENTRIES)
        except (ReuniteError, ValueError, LookupError) as error:
            return wrong(
                f"A change after {after_id} cannot be read ({error}): restore the database from a "
                "dump."
            )
        if not entries:
            return well(f"The log's {counted(count, 'change')} can all be read.")
        count, after_id = count + len(entries), entries[-1].id


def _line(database: PostgresDatabase) -> Finding:
    """How hub processes would hear of each other's commits over this URL."""
    line = database.lines.open()
    if line is None:
        return told("A pooler stands in between: each hub process looks for news by itself.")
    line.close()
    return well("Hub processes hear of each other's commits by LISTEN.")
