"""The log on SQLite: one writer at a time, so ids are in the order of commits.

Numbering closes all new changes into one commit, a union of whole transactions; commits, pushes
and trims are runs of ids, and a mark is an id.

The index by key is filled when changes are numbered, or before a writer of ours looks into it, not
by the triggers: `layout.py` says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from reunite.engine.ports import Head
from reunite.stores.sql.dialect import LogState, LogWords, TouchRecord
from reunite.stores.sql.outcomes import PushRecord
from reunite.stores.sql.ports import Session

_RANGE = """
    {part}.last_id >= c.id AND {part}.{name} = (
        SELECT {name} FROM {table} WHERE first_id <= c.id ORDER BY first_id DESC LIMIT 1)
"""

_STATE = """
    SELECT coalesce(h.seq, 0), coalesce(h.nonce, ''), coalesce(h.last_id, 0), coalesce(h.at_ms, 0),
        coalesce(c.last_id, 0), e.value
    FROM (SELECT max(id) AS last_id FROM reunite_change) AS c
    JOIN reunite_meta AS e ON e.name = 'epoch'
    LEFT JOIN (SELECT * FROM reunite_commit ORDER BY seq DESC LIMIT 1) AS h
"""
_PUSHES = """
    SELECT max(p.id), r.id, r.last_n FROM reunite_push AS p
    JOIN reunite_replica AS r ON r.number = p.replica
    WHERE p.id > ? GROUP BY r.number, r.id, r.last_n
"""


_IMAGE_COLUMN = re.compile(r"c[0-9]+")


class SqliteLog:
    """Changes and commits as runs of ids."""

    words = LogWords(
        entry="c.*",
        place="c.id",
        # A change belongs to the commit and the push with the largest first id that is not above
        # its own, if that one reaches so far.
        in_commit=_RANGE.format(part="m", name="seq", table="reunite_commit"),
        in_push=_RANGE.format(part="p", name="id", table="reunite_push"),
        # One writer at a time gives ids without a gap.
        changes="last_id - first_id + 1",
        after_keys=(
            """(
            SELECT i.id AS id FROM json_each(?1) AS k CROSS JOIN reunite_change_key AS i
            ON i.key = k.value AND i.table_name = ?2 AND i.id > ?3
            UNION
            SELECT id FROM reunite_change
            WHERE id > max(?3, (SELECT value FROM reunite_meta WHERE name = 'indexed_id'))
            AND table_name = ?2
            AND (key IN (SELECT value FROM json_each(?1))
                 OR old_key IN (SELECT value FROM json_each(?1)))
            ) AS found CROSS JOIN reunite_change AS c ON c.id = found.id""",
            "",
        ),
        in_range="WHERE c.id > ?1 AND c.id <= ?2",
    )

    def state(self, session: Session) -> LogState:
        seq, nonce, last_id, at_ms, last_change_id, epoch = session.execute(_STATE)[0]
        return LogState(
            head=Head(epoch=epoch, seq=seq, nonce=nonce, last_id=last_id, at_ms=at_ms),
            last_change_id=last_change_id,
            mark=last_change_id,
            has_news=last_change_id > last_id,
        )

    def lock_numbering(self, session: Session) -> None:
        """Whoever writes is alone."""

    def number(self, session: Session, *, now_ms: int, new_nonce: Callable[[], str]) -> Head | None:
        state = self.state(session)
        if not state.has_news:
            return None
        head = Head(
            epoch=state.head.epoch,
            seq=state.head.seq + 1,
            nonce=new_nonce(),
            last_id=state.last_change_id,
            at_ms=max(now_ms, state.head.at_ms),
        )
        session.execute(
            "INSERT INTO reunite_commit (seq, first_id, last_id, at_ms, nonce) "
            "SELECT ?1, min(id), ?2, ?3, ?4 FROM reunite_change WHERE id > ?5",
            (head.seq, head.last_id, head.at_ms, head.nonce, state.head.last_id),
        )
        self.index(session)
        return head

    def touched(
        self,
        session: Session,
        *,
        seq: int,
        after_id: int,
        trimmed_seq: int,
        trimmed_id: int,
        limit: int,
        has_news: bool,
    ) -> list[TouchRecord]:
        found = (
            []
            if seq < trimmed_seq
            else session.execute("SELECT last_id FROM reunite_commit WHERE seq = ?", (seq,))
        )
        after_id = max(after_id, found[0][0] if found else 0, trimmed_id)
        records = session.execute(
            "SELECT NULL, id, table_name, key, old_key, schema FROM reunite_change "
            "WHERE id > ? ORDER BY id LIMIT ?",
            (after_id, limit),
        )
        # Each commit has a change, so this many reach as far as the changes do; one more, because
        # the position may stand at the end of the first.
        commits = iter(
            session.execute(
                "SELECT seq, last_id FROM reunite_commit WHERE seq > ? ORDER BY seq LIMIT ?",
                (max(seq, trimmed_seq), len(records) + 1),
            )
        )
        commit_seq, last_id = next(commits, (None, 0))
        numbered: list[TouchRecord] = []
        for _, *record in records:
            while commit_seq is not None and last_id < record[0]:
                commit_seq, last_id = next(commits, (None, 0))
            if commit_seq is None:
                break
            numbered.append((commit_seq, *record))
        return numbered + records[len(numbered) :]

    def fresh(self, session: Session, *, after_id: int) -> list[TouchRecord]:
        return session.execute(
            "SELECT NULL, id, table_name, key, old_key, schema FROM reunite_change "
            "WHERE id > ? ORDER BY id",
            (after_id,),
        )

    def fresh_run(self, session: Session, *, table: str, after_id: int) -> tuple[int, int, int]:
        count, first_id, last_id = session.execute(
            "SELECT count(*) FILTER (WHERE table_name = ? AND op = 'insert' AND old_key IS NULL), "
            "coalesce(min(id), 0), coalesce(max(id), 0) FROM reunite_change WHERE id > ?",
            (table, after_id),
        )[0]
        return count, first_id, last_id

    def add_push(self, session: Session, push: PushRecord, *, after_id: int) -> None:
        session.execute(
            "UPDATE reunite_replica SET last_n = max(last_n, ?), known_n = max(known_n, ?), "
            "seen_ms = max(seen_ms, ?) WHERE number = ?",
            (push.last_n, push.known_n, push.at_ms, push.replica),
        )
        session.execute(
            "INSERT INTO reunite_push (replica, principal, last_n, at_ms, first_id, last_id) "
            "SELECT ?, ?, ?, ?, min(id), max(id) FROM reunite_change WHERE id > ?",
            (push.replica, push.principal, push.last_n, push.at_ms, after_id),
        )
        session.executemany(
            "INSERT INTO reunite_origin (first_id, last_id, first_n, op, stamp) "
            "VALUES (?, ?, ?, ?, ?)",
            map(msgspec.structs.astuple, push.origins),
        )
        (last,) = session.execute("SELECT coalesce(max(id), 0) FROM reunite_outcome")[0]
        parts = list(enumerate(push.outcomes, last + 1))
        session.executemany(
            "INSERT INTO reunite_outcome (id, replica, last_n, outcomes) VALUES (?, ?, ?, ?)",
            [(id_, push.replica, part.last_n, part.text) for id_, part in parts],
        )
        session.executemany(
            "INSERT INTO reunite_outcome_slot (slot, outcome) VALUES (?, ?) ON CONFLICT DO NOTHING",
            sorted((slot, id_) for id_, part in parts for slot in part.slots),
        )

    def add_runs(
        self, session: Session, record: tuple[Any, ...], runs: Sequence[tuple[int, int]]
    ) -> None:
        session.executemany(
            "INSERT INTO reunite_push (replica, principal, last_n, at_ms, first_id, last_id) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [(*record, *run) for run in runs],
        )

    def runs(self, session: Session, *, after_id: int) -> list[tuple[int, int]]:
        found: list[Any] = session.execute(
            "SELECT first_id, last_id FROM reunite_push WHERE first_id > ? ORDER BY first_id",
            (after_id,),
        )
        return found

    def blank(self, session: Session, ids: Sequence[int]) -> None:
        columns = session.execute("SELECT name FROM pragma_table_info('reunite_change')")
        images = [name for (name,) in columns if _IMAGE_COLUMN.fullmatch(name)]
        blanks = "".join(f", {name} = NULL" for name in images)
        session.execute(
            f"UPDATE reunite_change SET schema = -abs(schema){blanks} "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )

    def add_erased(self, session: Session, rows: Sequence[tuple[str, str, int]]) -> None:
        session.executemany(
            "INSERT INTO reunite_change (table_name, key, op, schema) "
            "VALUES (?, ?, 'update', -abs(?))",
            rows,
        )

    def pushes(self, session: Session, after: int | None) -> tuple[int, dict[str, int]]:
        if after is None:
            mark = session.execute("SELECT coalesce(max(id), 0) FROM reunite_push")[0][0]
            return mark, {}
        found = session.execute(_PUSHES, (after,))
        mark = max((row[0] for row in found), default=after)
        return mark, {replica: last_n for _, replica, last_n in found}

    def keys_parameters(
        self, keys: str, table: str, *, after_id: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return keys, table, max(after_id, trimmed_id)

    def range_parameters(
        self, *, after_id: int, until_id: int, limit: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        return max(after_id, trimmed_id), until_id, limit

    def index(self, session: Session) -> None:
        indexed_id, last_id = session.execute(
            "SELECT value, (SELECT max(id) FROM reunite_change) FROM reunite_meta "
            "WHERE name = 'indexed_id'"
        )[0]
        if last_id is None or last_id <= indexed_id:
            return
        session.execute(
            "INSERT INTO reunite_change_key (key, table_name, id) "
            "SELECT key, table_name, id FROM reunite_change WHERE id > ?1 UNION ALL "
            "SELECT old_key, table_name, id FROM reunite_change "
            "WHERE id > ?1 AND old_key IS NOT NULL ORDER BY 1, 2, 3",
            (indexed_id,),
        )
        session.execute("UPDATE reunite_meta SET value = ? WHERE name = 'indexed_id'", (last_id,))

    def changes_by_table(
        self, session: Session, *, trimmed_seq: int, trimmed_id: int
    ) -> Mapping[str, int]:
        rows = session.execute(
            "SELECT table_name, count(*) FROM reunite_change WHERE id > ? GROUP BY table_name",
            (trimmed_id,),
        )
        return dict(rows)

    def trimmed_by(self, session: Session, *, after_seq: int, until_seq: int) -> tuple[int, int]:
        # Ids have no gaps: SQLite gives the largest plus one, and nothing but a sweep deletes.
        before, last_id = session.execute(
            "SELECT coalesce((SELECT last_id FROM reunite_commit WHERE seq = ?), 0), "
            "(SELECT last_id FROM reunite_commit WHERE seq = ?)",
            (after_seq, until_seq),
        )[0]
        return last_id - before, last_id

    def sweep(self, session: Session, *, trimmed_seq: int, trimmed_id: int, limit: int) -> int:
        execute = session.execute
        count, last_id = execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM reunite_change WHERE id <= ?1 "
            # The mark that an earlier sweep has left, while nothing came after it.
            "AND NOT (table_name = '' AND id = (SELECT max(id) FROM reunite_change)) "
            "ORDER BY id LIMIT ?2)",
            (trimmed_id, limit),
        )[0]
        if last_id is None:
            return 0
        self.index(session)
        execute(
            "DELETE FROM reunite_change_key WHERE (key, table_name, id) IN ("
            "SELECT key, table_name, id FROM reunite_change WHERE id <= ?1 UNION ALL "
            "SELECT old_key, table_name, id FROM reunite_change "
            "WHERE id <= ?1 AND old_key IS NOT NULL)",
            (last_id,),
        )
        execute("DELETE FROM reunite_change WHERE id <= ?", (last_id,))
        # The largest id stays, as a mark without content: SQLite gives the next one after it.
        execute(
            "INSERT INTO reunite_change (id, table_name, key, op, schema) "
            "SELECT ?, '', '', 'update', 0 WHERE NOT EXISTS (SELECT 1 FROM reunite_change)",
            (last_id,),
        )
        execute("DELETE FROM reunite_origin WHERE first_id <= ?1 AND last_id <= ?1", (last_id,))
        execute(
            "DELETE FROM reunite_commit WHERE seq < ?2 AND first_id <= ?1 AND last_id <= ?1",
            (last_id, trimmed_seq),
        )
        # Pushes that changed nothing go with their neighbours.
        execute(
            "DELETE FROM reunite_push WHERE id <= (SELECT id FROM reunite_push "
            "WHERE first_id <= ?1 AND last_id <= ?1 ORDER BY first_id DESC LIMIT 1) "
            "AND id < (SELECT max(id) FROM reunite_push)",
            (last_id,),
        )
        return int(count)
