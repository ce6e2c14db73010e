"""What an SQLite table looks like, read from its pragmas.

    declared type contains            column type
    BOOL                              boolean
    JSON                              json
    UUID, GUID                        uuid
    DATETIME, TIMESTAMP               datetime
    DATE / TIME                       date / time
    DECIMAL, NUMERIC, NUMBER, MONEY   decimal
    INT                               integer
    CHAR, CLOB, TEXT                  text
    BLOB, BINARY, BYTEA               blob
    REAL, FLOA, DOUB                  real
    anything else, or no type         any

The first line that fits decides. A key must have a type, since 5 and '5' are two keys without one.
What SQLite itself makes of a declared type, the column's affinity, it decides by rules of its own;
where that is not the usual one of the column's type, the schema says so.
`TableDetails` holds what a schema does not say, since only this database needs it: what OR REPLACE
may overwrite, and how rows are found.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from reunite.core.schema import (
    AFFINITY_BY_TYPE,
    Affinity,
    Column,
    ColumnType,
    ForeignKey,
    TableSchema,
    Unique,
)
from reunite.errors import UnknownTableError, UntrackableTableError
from reunite.stores.sql.quoting import literal, quoted

_TYPES: tuple[tuple[str, ColumnType], ...] = (
    ("BOOL", ColumnType.BOOLEAN),
    ("JSON", ColumnType.JSON),
    ("UUID", ColumnType.UUID),
    ("GUID", ColumnType.UUID),
    ("DATETIME", ColumnType.DATETIME),
    ("TIMESTAMP", ColumnType.DATETIME),
    ("DATE", ColumnType.DATE),
    ("TIME", ColumnType.TIME),
    ("DECIMAL", ColumnType.DECIMAL),
    ("NUMERIC", ColumnType.DECIMAL),
    ("NUMBER", ColumnType.DECIMAL),
    ("MONEY", ColumnType.DECIMAL),
    ("INT", ColumnType.INTEGER),
    ("CHAR", ColumnType.TEXT),
    ("CLOB", ColumnType.TEXT),
    ("TEXT", ColumnType.TEXT),
    ("BLOB", ColumnType.BLOB),
    ("BINARY", ColumnType.BLOB),
    ("BYTEA", ColumnType.BLOB),
    ("REAL", ColumnType.REAL),
    ("FLOA", ColumnType.REAL),
    ("DOUB", ColumnType.REAL),
)

# SQLite's own rules, in its own order; what fits none is numeric.
_AFFINITIES: tuple[tuple[str, Affinity], ...] = (
    ("INT", Affinity.INTEGER),
    ("CHAR", Affinity.TEXT),
    ("CLOB", Affinity.TEXT),
    ("TEXT", Affinity.TEXT),
    ("BLOB", Affinity.BLOB),
    ("REAL", Affinity.REAL),
    ("FLOA", Affinity.REAL),
    ("DOUB", Affinity.REAL),
)

# Declared types under which SQLite keeps every value as it came.
_NO_TYPE = frozenset({"", "ANY"})


class IndexTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a unique index, or an expression (`column` None, `sql` its text)."""

    column: str | None
    sql: str
    collation: str


class UniqueIndex(msgspec.Struct, frozen=True, kw_only=True):
    """No two rows have equal terms; `predicate` is the WHERE of a partial index."""

    name: str
    terms: tuple[IndexTerm, ...]
    predicate: str | None = None
    origin: str = "c"

    @property
    def columns(self) -> list[str]:
        """The columns it reads, and in any spelling whatever else its expressions name."""
        return [
            name
            for term in self.terms
            for name in ([term.column] if term.column else re.findall(r"\w+", term.sql))
        ]

    @property
    def labels(self) -> list[str]:
        """What errors call its terms."""
        return [term.column or term.sql for term in self.terms]

    @property
    def is_plain(self) -> bool:
        return self.predicate is None and all(term.column is not None for term in self.terms)


class TableDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What SQLite knows of a table beyond its schema.

    all_columns       also the computed ones, which expressions of indexes may name
    rowid_alias       the INTEGER PRIMARY KEY column, if there is one
    rowid_name        a name by which the rowid can be reached; None if there is no such thing
    uniques           every unique index except that of an INTEGER PRIMARY KEY
    required_defaults NOT NULL columns and their default, which OR REPLACE puts in place of NULL
    has_deferred_keys whether a foreign key waits for COMMIT to be checked
    """

    all_columns: tuple[str, ...]
    rowid_alias: str | None
    rowid_name: str | None
    uniques: tuple[UniqueIndex, ...]
    required_defaults: dict[str, str]
    has_deferred_keys: bool

    @property
    def unique_terms(self) -> tuple[UniqueIndex, ...]:
        """What no two rows may share."""
        return self.uniques


def column_type(declared: str) -> ColumnType:
    """What values a column of this declared type means."""
    name = declared.upper()
    return next((kind for part, kind in _TYPES if part in name), ColumnType.ANY)


def affinity(declared: str, *, is_strict: bool = False) -> Affinity:
    """What SQLite makes of values that come into a column of this declared type."""
    name = declared.upper()
    if not name or (is_strict and name == "ANY"):
        return Affinity.BLOB
    return next((kind for part, kind in _AFFINITIES if part in name), Affinity.NUMERIC)


def all_tables(connection: sqlite3.Connection) -> list[str]:
    """The application's own tables, virtual ones left out."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'reunite\\_%' ESCAPE '\\' "
        "ORDER BY name"
    )
    return [name for (name,) in rows]


def trackable_tables(connection: sqlite3.Connection) -> list[str]:
    """The tables with a primary key that are neither SQLite's nor reunite's nor virtual."""
    rows = connection.execute(
        """
        SELECT name FROM pragma_table_list AS t
        WHERE schema = 'main' AND type = 'table'
          AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'reunite\\_%' ESCAPE '\\'
          AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE pk > 0)
        ORDER BY name
        """
    )
    return [name for (name,) in rows]


def reflect(connection: sqlite3.Connection, table: str) -> TableSchema:
    """The schema of a table. Raises UnknownTableError, UntrackableTableError."""
    infos = _infos(connection, table)
    key = tuple(row[1] for row in sorted(infos, key=lambda row: row[5]) if row[5])
    if not key:
        raise UntrackableTableError(
            f"The table {table!r} has no primary key: add one, so that its rows can be told apart."
        )
    for row in infos:
        if row[5] and row[2].upper() in _NO_TYPE:
            raise UntrackableTableError(
                f"The key column {row[1]!r} of {table!r} has no type: declare one, e.g. INTEGER or "
                "TEXT, so that 5 and '5' are not two keys."
            )
        if row[5] and column_type(row[2]) is ColumnType.JSON:
            raise UntrackableTableError(
                f"The key column {row[1]!r} of {table!r} is of type {row[2]}: JSON can be written "
                "in many ways, so it names no row. Make it TEXT."
            )
    is_strict = _is_strict(connection, table)
    stored = [row for row in infos if row[6] == 0]
    columns = tuple(
        Column(
            name=name,
            type=column_type(declared),
            nullable=not not_null and name not in key,
            default=default,
            affinity=_unusual_affinity(declared, is_strict=is_strict),
        )
        for _, name, declared, not_null, default, _, _ in stored
    )
    # Computed columns are not part of what is synced, nor are indexes and references of theirs.
    stored_names: set[str | None] = {column.name for column in columns}
    foreign_keys = tuple(
        foreign_key
        for foreign_key in _foreign_keys(connection, table)
        if stored_names.issuperset(foreign_key.columns)
    )
    return TableSchema(
        name=table,
        columns=columns,
        key=key,
        # A key that names another table's row is that row's: the database makes none.
        generated_key=_rowid_alias(connection, table) is not None
        and not any(each.columns == key and each.parent != table for each in foreign_keys),
        foreign_keys=foreign_keys,
        uniques=tuple(
            Unique(
                columns=tuple(term.column or "" for term in index.terms),
                collations=tuple(term.collation for term in index.terms),
                name=index.name,
            )
            for index in unique_indexes(connection, table)
            if index.is_plain
            and index.origin != "pk"
            and stored_names.issuperset(term.column for term in index.terms)
        ),
    )


def check_keys_have_no_null(connection: sqlite3.Connection, schema: TableSchema) -> None:
    """SQLite lets NULL into most primary keys; such a row has no name. Raises for one."""
    if rows_without_key(connection, schema, limit=1):
        raise UntrackableTableError(
            f"The table {schema.name!r} has a row whose key ({', '.join(schema.key)}) is NULL: "
            "give it a value, or delete the row, and track the table again."
        )


def rows_without_key(
    connection: sqlite3.Connection, schema: TableSchema, *, limit: int = -1
) -> int:
    """How many rows have a NULL in their key, counted up to a limit."""
    if schema.generated_key:
        return 0
    nulls = " OR ".join(f"{quoted(name)} IS NULL" for name in schema.key)
    (count,) = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {quoted(schema.name)} WHERE {nulls} LIMIT ?)",
        (limit,),
    ).fetchone()
    return int(count)


def table_details(connection: sqlite3.Connection, table: str) -> TableDetails:
    """What the triggers and the writer need to know beyond the schema."""
    infos = _infos(connection, table)
    names = {row[1].lower() for row in infos}
    is_rowid_table = not _is_without_rowid(connection, table)
    free = [name for name in ("rowid", "_rowid_", "oid") if name not in names]
    (sql,) = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)
    ).fetchone()
    return TableDetails(
        all_columns=tuple(row[1] for row in infos),
        rowid_alias=_rowid_alias(connection, table),
        rowid_name=free[0] if is_rowid_table and free else None,
        uniques=tuple(unique_indexes(connection, table)),
        required_defaults={
            row[1]: as_expression(row[4])
            for row in infos
            if row[3] and row[4] is not None and row[6] == 0
        },
        has_deferred_keys=re.search(r"INITIALLY\s+DEFERRED", sql, re.IGNORECASE) is not None,
    )


def references(connection: sqlite3.Connection) -> dict[str, list[tuple[str, ForeignKey]]]:
    """By parent table: each table that points to it, and by which foreign key."""
    tables = connection.execute(
        "SELECT DISTINCT m.name FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) "
        "WHERE m.type = 'table'"
    ).fetchall()
    found: dict[str, list[tuple[str, ForeignKey]]] = {}
    for (table,) in tables:
        for foreign_key in _foreign_keys(connection, table):
            found.setdefault(foreign_key.parent, []).append((table, foreign_key))
    return found


def unique_indexes(connection: sqlite3.Connection, table: str) -> Iterator[UniqueIndex]:
    """Every unique index of the table, in the order in which SQLite lists them."""
    indexes = connection.execute(
        'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', (table,)
    ).fetchall()
    for name, is_unique, origin, is_partial in indexes:
        if not is_unique:
            continue
        members = connection.execute(
            "SELECT name, cid, upper(coll) FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno",
            (name,),
        ).fetchall()
        texts: Sequence[str] = [member[0] or "" for member in members]
        predicate = None
        if is_partial or any(cid == -2 for _, cid, _ in members):
            (sql,) = connection.execute(
                "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?", (name,)
            ).fetchone()
            texts, predicate = index_parts(sql)
        yield UniqueIndex(
            name=name,
            origin=origin,
            predicate=predicate,
            terms=tuple(
                IndexTerm(column=column if cid >= 0 else None, sql=text, collation=collation)
                for (column, cid, collation), text in zip(members, texts, strict=True)
            ),
        )


def _infos(
    connection: sqlite3.Connection, table: str
) -> list[tuple[int, str, str, int, str | None, int, int]]:
    """cid, name, declared type, not null, default, place in the key, hidden; of each column."""
    kind = connection.execute(
        "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    if kind is None:
        raise UnknownTableError(
            f"The database has no table {table!r}. Names are taken as they are written, with "
            "capitals and small letters."
        )
    if table.startswith("reunite_"):
        raise UntrackableTableError(f"{table!r} is one of reunite's own tables.")
    if kind[0] != "table":
        raise UntrackableTableError(f"{table!r} is a {kind[0]}; only ordinary tables are tracked.")
    return connection.execute(
        'SELECT cid, name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)',
        (table,),
    ).fetchall()


def as_expression(default: str) -> str:
    """A default as it can stand anywhere: in a DEFAULT clause SQLite takes "x" for a text."""
    if default.startswith('"') and default.endswith('"'):
        return literal(default[1:-1].replace('""', '"'))
    return f"({default})"


def _unusual_affinity(declared: str, *, is_strict: bool) -> Affinity | None:
    found = affinity(declared, is_strict=is_strict)
    return None if found is AFFINITY_BY_TYPE[column_type(declared)] else found


def _is_strict(connection: sqlite3.Connection, table: str) -> bool:
    (found,) = connection.execute(
        "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    return bool(found)


def _is_without_rowid(connection: sqlite3.Connection, table: str) -> bool:
    (found,) = connection.execute(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    return bool(found)


def _rowid_alias(connection: sqlite3.Connection, table: str) -> str | None:
    """The column that is the rowid: a sole key declared INTEGER for which there is no index."""
    rows = connection.execute(
        "SELECT name, upper(type) FROM pragma_table_info(?) WHERE pk > 0", (table,)
    ).fetchall()
    if len(rows) != 1 or rows[0][1] != "INTEGER" or _is_without_rowid(connection, table):
        return None
    # INTEGER PRIMARY KEY DESC is an ordinary column with an index of its own.
    has_index = connection.execute(
        "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)
    ).fetchone()
    return None if has_index else str(rows[0][0])


def _foreign_keys(connection: sqlite3.Connection, table: str) -> tuple[ForeignKey, ...]:
    rows = connection.execute(
        'SELECT id, "table", "from", "to", on_delete, on_update FROM pragma_foreign_key_list(?) '
        "ORDER BY id DESC, seq",  # the last declared has id 0
        (table,),
    ).fetchall()
    found = []
    for number in dict.fromkeys(row[0] for row in rows):
        members = [row for row in rows if row[0] == number]
        parent = _spelled(connection, members[0][1])
        parent_columns: tuple[str, ...] = tuple(row[3] for row in members)
        if None in parent_columns:  # REFERENCES parent, without columns: its primary key
            parent_columns = tuple(
                name
                for (name,) in connection.execute(
                    "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (parent,)
                )
            )
        if len(parent_columns) != len(members):
            continue  # points to a table that is not there, or does not fit it
        found.append(
            ForeignKey(
                columns=tuple(row[2] for row in members),
                parent=parent,
                parent_columns=parent_columns,
                on_delete=members[0][4].lower(),
                on_update=members[0][5].lower(),
            )
        )
    return tuple(found)


def _spelled(connection: sqlite3.Connection, table: str) -> str:
    """The table's own spelling of a name in which capitals do not matter."""
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE", (table,)
    ).fetchone()
    return str(found[0]) if found else table


# --- CREATE INDEX ---------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<word>\w+)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def index_parts(sql: str) -> tuple[list[str], str | None]:
    """The terms and the WHERE of a CREATE INDEX statement, without ASC, DESC and comments."""
    terms: list[list[str]] = [[]]
    predicate: list[str] | None = None
    depth = 0
    is_done = False
    for token in _TOKEN.finditer(sql):
        text = " " if token.lastgroup == "skip" else token.group()
        if predicate is not None:
            predicate.append(text)
        elif is_done:
            predicate = [] if text.upper() == "WHERE" else None
        elif text == "(" and depth == 0:
            depth = 1
        elif depth == 1 and text == ",":
            terms.append([])
        else:
            depth += (text == "(") - (text == ")")
            is_done = depth == 0 and text == ")"
            if depth and not is_done:
                terms[-1].append(text)
    where = None if predicate is None else "".join(predicate).strip()
    return [_without_order(term) for term in terms], where


def _without_order(tokens: list[str]) -> str:
    """The text of a term without COLLATE, ASC and DESC, which stand at its end."""
    words = [token for token in tokens if token != " "]
    tail = [word for word in words[-1:] if word.upper() in {"ASC", "DESC"}]
    rest = words[: len(words) - len(tail)]
    if len(rest) > 2 and rest[-2].upper() == "COLLATE":
        tail = [*rest[-2:], *tail]
    text = "".join(tokens).strip()
    for word in reversed(tail):
        text = text.removesuffix(word).strip()
    return text
