"""What decides how a table's rows read, beside its columns: what DDL may change past all triggers.

    partitions   one that is detached or dropped takes its rows along
    meanings     the types of its columns, the labels of enums, the attributes of composites
    files        where the rows are stored, and who wrote the columns' entries in the catalogue:
                 ALTER ... TYPE ... USING moves both, VACUUM FULL and SET NOT NULL one of them

It is kept as the comment on the table's capture function, so that nothing reads it but who follows
a migration. Where it says something else than the catalogue, rows have changed without a trigger.

The rule         what only adds (a partition, a label, a column) changes no row that is there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reunite.stores.sql.dialects.postgresql_reflection import PgTable
from reunite.stores.sql.ports import Session

# The types that the columns' values are made of, however deep.
_REACHED = """
    WITH RECURSIVE reached AS (
        SELECT a.atttypid AS type FROM pg_attribute AS a
        WHERE a.attrelid = ?1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        UNION
        SELECT x.type FROM reached JOIN pg_type AS t ON t.oid = reached.type CROSS JOIN LATERAL (
            SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL SELECT t.typelem WHERE t.typcategory = 'A'
            UNION ALL SELECT r.rngsubtype FROM pg_range AS r
            WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
            UNION ALL SELECT a.atttypid FROM pg_attribute AS a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0
            AND NOT a.attisdropped) AS x (type)
    )
"""
_MEANINGS = f"""
    {_REACHED}
    SELECT 'column ' || a.attnum, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
    WHERE a.attrelid = ?1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    UNION ALL
    SELECT 'label ' || e.oid, e.enumlabel::text FROM pg_enum AS e
    WHERE e.enumtypid IN (SELECT type FROM reached)
    UNION ALL
    SELECT 'composite ' || a.attrelid,
           string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                      ORDER BY a.attnum)
    FROM pg_attribute AS a JOIN pg_type AS t ON t.typrelid = a.attrelid
    WHERE t.typtype = 'c' AND t.oid IN (SELECT type FROM reached) AND a.attnum > 0
    AND NOT a.attisdropped GROUP BY a.attrelid
"""
_FILES = """
    SELECT coalesce(sum(pg_relation_filenode(oid)::bigint), 0)::text FROM pg_class
    WHERE oid = ANY (?::bigint[]::oid[]) AND relkind = 'r'
"""
_ENTRIES = """
    SELECT attnum::text, xmin::text FROM pg_attribute
    WHERE attrelid = ? AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`table` is the relation that it is about, `entries` are by the columns' numbers."""

    table: int
    partitions: tuple[int, ...]
    meanings: Mapping[str, str]
    files: str
    entries: Mapping[str, str]

    @property
    def text(self) -> str:
        """As a comment holds it."""
        return msgspec.json.encode(self, order="deterministic").decode()

    def has_moved_from(self, former: Standing) -> bool:
        """Whether rows may read otherwise than then, though nobody wrote them. What is known of
        another table (the database was restored) says nothing of this one."""
        if former.table != self.table:
            return False
        if not set(self.partitions).issuperset(former.partitions):
            return True
        was_rewritten = former.files != self.files and _differ(former.entries, self.entries)
        return was_rewritten or _differ(former.meanings, self.meanings)


def standing_of(session: Session, details: PgTable) -> Standing:
    """How a table stands now; three small reads."""
    oid = details.relation.oid
    partitions = tuple(sorted(part.oid for part in details.partitions))
    ((files,),) = session.execute(_FILES, ([oid, *partitions],))
    return Standing(
        table=oid,
        partitions=partitions,
        meanings=dict(session.execute(_MEANINGS, (oid,))),
        files=files,
        entries=dict(session.execute(_ENTRIES, (oid,))),
    )


def parse_standing(comment: str | None) -> Standing | None:
    """What a comment says; None if it is none of ours."""
    try:
        return msgspec.json.decode(comment or "", type=Standing)
    except msgspec.DecodeError:
        return None


def _differ(former: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether something that is in both is not the same."""
    return any(now.get(name, value) != value for name, value in former.items())
