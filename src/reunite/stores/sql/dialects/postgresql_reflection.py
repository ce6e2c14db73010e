"""What a PostgreSQL table looks like, read from the catalogue.

    PostgreSQL type                               column type
    smallint, integer, bigint, oid                integer
    real, double precision                        real
    numeric                                       decimal
    boolean, bytea, uuid                          boolean, blob, uuid
    date; time; timestamp, with zone or without   date; time; datetime
    json, jsonb, arrays, ranges, composites       json
    text, enums, and everything else              text, as PostgreSQL prints it

Domains count as what they are made of. A table outside of the schema that is searched first is
called `schema.table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from reunite.core.schema import Column, ColumnType, ForeignKey, TableSchema, Unique
from reunite.errors import UnknownTableError, UntrackableTableError
from reunite.stores.sql.ports import Session
from reunite.stores.sql.quoting import quoted

_TYPES: Mapping[str, ColumnType] = {
    "int2": ColumnType.INTEGER,
    "int4": ColumnType.INTEGER,
    "int8": ColumnType.INTEGER,
    "oid": ColumnType.INTEGER,
    "float4": ColumnType.REAL,
    "float8": ColumnType.REAL,
    "numeric": ColumnType.DECIMAL,
    "bool": ColumnType.BOOLEAN,
    "bytea": ColumnType.BLOB,
    "uuid": ColumnType.UUID,
    "date": ColumnType.DATE,
    "time": ColumnType.TIME,
    "timetz": ColumnType.TIME,
    "timestamp": ColumnType.DATETIME,
    "timestamptz": ColumnType.DATETIME,
    "json": ColumnType.JSON,
    "jsonb": ColumnType.JSON,
}
_GENERATED_BITS = {"int2": 16, "int4": 32, "int8": 64}
_ACTIONS = {
    "a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default",
}  # fmt: skip

# The name of a relation, as this module writes it.
_NAME = (
    "CASE WHEN n.nspname = current_schema() THEN c.relname::text "
    "ELSE n.nspname || '.' || c.relname END"
)
# The user's tables: ordinary and partitioned ones, not the partitions.
USER_TABLES = """
    c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relname !~ '^reunite_'
"""
_FIND = f"""
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition,
           NOT (c.relrowsecurity OR c.relhasrules), EXISTS (SELECT FROM pg_index AS x
               WHERE x.indrelid = c.oid AND x.indisprimary AND NOT x.indimmediate),
           c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits AS i
               WHERE c.oid IN (i.inhrelid, i.inhparent))
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE {_NAME} = ? AND n.nspname !~ '^pg_' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
    WITH RECURSIVE types AS (
        SELECT a.attnum, a.atttypid AS type FROM pg_attribute AS a
        WHERE a.attrelid = ?1 AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT types.attnum, t.typbasetype FROM types JOIN pg_type AS t ON t.oid = types.type
        WHERE t.typtype = 'd'
    )
    SELECT a.attname::text, b.typname::text, b.typtype::text, b.typcategory::text,
           format_type(a.atttypid, -1), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attidentity::text, a.attgenerated::text, a.attnum,
           ARRAY (SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = b.oid)
    FROM pg_attribute AS a
    JOIN types ON types.attnum = a.attnum
    JOIN pg_type AS b ON b.oid = types.type AND b.typtype <> 'd'
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = ?1 ORDER BY a.attnum
"""
_INDEXES = """
    SELECT i.relname::text, x.indisprimary, x.indpred IS NOT NULL,
           ARRAY (SELECT k FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u(k, place)
                  WHERE place <= x.indnkeyatts ORDER BY place)::int[],
           ARRAY (SELECT pg_get_indexdef(x.indexrelid, place, true)
                  FROM generate_series(1, x.indnkeyatts) AS place),
           x.indnullsnotdistinct
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE x.indrelid = ? AND x.indisunique AND x.indisvalid ORDER BY i.relname
"""
_FOREIGN_KEYS = f"""
    SELECT k.conrelid::bigint, child.name, {_NAME}, k.confdeltype::text, k.confupdtype::text,
           ARRAY (SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, place)
                  JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.n
                  ORDER BY place),
           ARRAY (SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, place)
                  JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.n
                  ORDER BY place),
           k.condeferred
    FROM pg_constraint AS k
    JOIN (SELECT c.oid, {_NAME} AS name FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace) AS child ON child.oid = k.conrelid
    JOIN pg_class AS c ON c.oid = k.confrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND (?1::bigint IS NULL OR k.conrelid = ?1)
    ORDER BY k.conname
"""
_PARTITIONS = """
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text
    FROM pg_partition_tree(?::bigint::regclass) AS p JOIN pg_class AS c ON c.oid = p.relid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE p.parentrelid IS NOT NULL
"""


class PgColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A stored column. `base` is the type's own name, that of its base for a domain; `kind` and
    `category` are pg_type's; `sql` names the type in a statement; `labels` are those of an enum."""

    name: str
    base: str
    kind: str
    category: str
    sql: str
    not_null: bool
    default: str | None
    identity: str
    labels: tuple[str, ...]

    @property
    def type(self) -> ColumnType:
        """What its values mean."""
        if self.category == "A" or self.kind in ("r", "m", "c"):
            return ColumnType.JSON
        return _TYPES.get(self.base, ColumnType.TEXT)


class PgUnique(msgspec.Struct, frozen=True, kw_only=True):
    """A unique index. `columns` are those that it reads, `labels` its terms as text."""

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    is_primary: bool
    is_plain: bool


class PgRelation(msgspec.Struct, frozen=True, kw_only=True):
    """A table or a partition of one; `kind` is pg_class's: `p` has partitions and no rows."""

    oid: int
    schema: str
    name: str
    kind: str

    @property
    def sql(self) -> str:
        """Its name in a statement, whatever path is searched."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class PgTable(msgspec.Struct, frozen=True, kw_only=True):
    """What PostgreSQL knows of a table beyond its schema. `partitions` are all below it;
    `takes_copy` unless policies or rewriting rules say what becomes of an INSERT;
    `has_deferrable_key` if the primary key need not be checked at once."""

    relation: PgRelation
    columns: Mapping[str, PgColumn]
    unique_terms: tuple[PgUnique, ...]
    has_deferred_keys: bool
    partitions: tuple[PgRelation, ...]
    takes_copy: bool
    has_deferrable_key: bool


def trackable_tables(session: Session) -> list[str]:
    """The tables with a primary key that are not reunite's, nor partitions of others."""
    rows = session.execute(
        f"SELECT {_NAME} FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE {USER_TABLES} AND EXISTS (SELECT FROM pg_index AS x "
        "WHERE x.indrelid = c.oid AND x.indisprimary) ORDER BY 1"
    )
    return [name for (name,) in rows]


def all_tables(session: Session) -> list[str]:
    """The user's tables, with a primary key or without."""
    rows = session.execute(
        f"SELECT {_NAME} FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE {USER_TABLES} ORDER BY 1"
    )
    return [name for (name,) in rows]


def table_of(session: Session, table: str) -> PgTable:
    """What the catalogue says of a table. Raises UnknownTableError, UntrackableTableError."""
    found = session.execute(_FIND, (table,))
    if not found:
        raise UnknownTableError(
            f"The database has no table {table!r}. Names are taken as they are written, with "
            "capitals and small letters; one in another schema is called schema.table."
        )
    oid, schema, name, kind, is_partition, takes_copy, has_deferrable_key, inherits = found[0]
    if name.startswith("reunite_"):
        raise UntrackableTableError(f"{table!r} is one of reunite's own tables.")
    if kind not in ("r", "p"):
        raise UntrackableTableError(f"{table!r} is no ordinary table; only those are tracked.")
    if is_partition:
        raise UntrackableTableError(f"{table!r} is a partition: track the table that it is of.")
    if inherits:
        raise UntrackableTableError(
            f"{table!r} inherits from another table, or is inherited from: a statement that names "
            "the parent changes rows of both. Make it a table of its own, or a partitioned one."
        )
    relation = PgRelation(oid=oid, schema=schema, name=name, kind=kind)
    names: dict[int, str] = {}
    columns = {}
    for (
        column,
        base,
        type_kind,
        category,
        sql,
        not_null,
        default,
        identity,
        computed,
        number,
        labels,
    ) in session.execute(_COLUMNS, (oid,)):
        names[number] = column
        if not computed:
            columns[column] = PgColumn(
                name=column,
                base=base,
                kind=type_kind,
                category=category,
                sql=sql,
                not_null=not_null,
                default=default,
                identity=identity,
                labels=tuple(labels),
            )
    return PgTable(
        relation=relation,
        columns=columns,
        unique_terms=tuple(_uniques(session, oid, names)),
        has_deferred_keys=any(row[7] for row in session.execute(_FOREIGN_KEYS, (oid,))),
        partitions=tuple(
            PgRelation(oid=part, schema=part_schema, name=part_name, kind=part_kind)
            for part, part_schema, part_name, part_kind in session.execute(_PARTITIONS, (oid,))
        )
        if kind == "p"
        else (),
        takes_copy=takes_copy,
        has_deferrable_key=has_deferrable_key,
    )


def _uniques(session: Session, oid: int, names: Mapping[int, str]) -> Sequence[PgUnique]:
    return [
        PgUnique(
            name=name,
            # An index of expressions may read any column.
            columns=tuple(names.values()) if 0 in places else tuple(names[n] for n in places),
            labels=tuple(texts),
            is_primary=is_primary,
            is_plain=not is_partial and 0 not in places and not nulls_are_equal,
        )
        for name, is_primary, is_partial, places, texts, nulls_are_equal in session.execute(
            _INDEXES, (oid,)
        )
    ]


def reflect(session: Session, table: str) -> TableSchema:
    """The schema of a table. Raises UnknownTableError, UntrackableTableError."""
    details = table_of(session, table)
    primary = next((unique for unique in details.unique_terms if unique.is_primary), None)
    if primary is None:
        raise UntrackableTableError(
            f"The table {table!r} has no primary key: add one, so that its rows can be told apart."
        )
    key = primary.columns
    stored = details.columns
    for name in key:
        if name not in stored:
            raise UntrackableTableError(
                f"The key column {name!r} of {table!r} is computed: only stored columns can be "
                "sent. Make it an ordinary column."
            )
        if stored[name].type is ColumnType.JSON:
            raise UntrackableTableError(
                f"The key column {name!r} of {table!r} is of type {stored[name].sql}, which can be "
                "written in many ways, so it names no row. Make it text."
            )
    first = stored[key[0]]
    is_generated = (
        len(key) == 1
        and first.base in _GENERATED_BITS
        and (bool(first.identity) or "nextval(" in (first.default or ""))
    )
    return TableSchema(
        name=table,
        columns=tuple(
            Column(
                name=column.name,
                type=column.type,
                nullable=not column.not_null,
                default=_portable(column),
            )
            for column in stored.values()
        ),
        key=key,
        generated_key=is_generated,
        key_bits=_GENERATED_BITS[first.base] if is_generated else 64,
        foreign_keys=tuple(
            foreign_key
            for oid, _, foreign_key in _foreign_keys(session, details.relation.oid)
            if set(stored).issuperset(foreign_key.columns)
        ),
        uniques=tuple(
            Unique(columns=unique.columns, name=unique.name)
            for unique in details.unique_terms
            if unique.is_plain and not unique.is_primary and set(stored).issuperset(unique.columns)
        ),
    )


def _portable(column: PgColumn) -> str | None:
    """A default without PostgreSQL's casts, so that other databases can read it too."""
    if column.default is None or column.identity or "nextval(" in column.default:
        return None
    text, _, cast = column.default.rpartition("::")
    is_plain = text.startswith("'") and text.endswith("'") and "'" not in cast
    return text if is_plain else column.default


def references(session: Session) -> dict[str, list[tuple[str, ForeignKey]]]:
    """By parent table: each table that points to it, and by which foreign key."""
    found: dict[str, list[tuple[str, ForeignKey]]] = {}
    for _, child, foreign_key in _foreign_keys(session, None):
        found.setdefault(foreign_key.parent, []).append((child, foreign_key))
    return found


def _foreign_keys(session: Session, oid: int | None) -> list[tuple[int, str, ForeignKey]]:
    return [
        (
            child_oid,
            child,
            ForeignKey(
                columns=tuple(columns),
                parent=parent,
                parent_columns=tuple(parent_columns),
                on_delete=_ACTIONS[on_delete],
                on_update=_ACTIONS[on_update],
            ),
        )
        for child_oid, child, parent, on_delete, on_update, columns, parent_columns, _ in (
            session.execute(_FOREIGN_KEYS, (oid,))
        )
    ]
