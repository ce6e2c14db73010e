"""Repair: tell a replica where its table differs from the hub's, and what the hub has there.

    sums of ranges ─► keys and hashes of the rows in those that differ ─► the rows that differ
                  └─► or all rows, where most differ

What it is       four reads, each in one snapshot and bounded; `next` leads on from the key where
                 one ended. Nothing is kept between them.
What it is not   a second way into a replica: its answers gather in the inbox and are shown by the
                 next checkpoint.
The rule         key hashes have no index, so a question that is about ranges reads the table once,
                 in parts; one about keys reads only their rows.

Why answers of different moments are right together: each says of a key what the hub had under it at
some moment after the cursor. Whatever touches the key after that moment is in the log behind the
cursor, and the pull that follows, from that cursor, brings the key again. What nothing touches is
at the checkpoint as it was at that moment. So each row is right at the checkpoint, whatever went on
meanwhile, and a repair that breaks off half-way has done its half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from reunite.core.checks import check_columns
from reunite.core.cursor import Cursor, decode_cursor, encode_cursor
from reunite.core.digest import SumsByRange, digests_of, key_hashes
from reunite.core.expression import Expression
from reunite.core.key import Key
from reunite.core.matching import row_judge
from reunite.core.principal import Principal
from reunite.core.schema import TableSchema, projected
from reunite.core.stamp import commit_stamp
from reunite.core.values import Row
from reunite.engine.numbered import NumberedStore
from reunite.engine.ports import Transaction
from reunite.engine.reaching import Reaching
from reunite.engine.reading_on import is_ours
from reunite.engine.register import check_protocol, own_replica
from reunite.engine.steps import Steps
from reunite.engine.tables import Tables
from reunite.engine.view import view_of
from reunite.errors import BadRequestError, LimitExceededError, UnknownTableError
from reunite.protocol.limits import (
    PAGE_BYTES_MAX,
    PAGE_ROWS_MAX,
    REPAIR_BYTES_MAX,
    REPAIR_DIGITS_MAX,
    REPAIR_KEYS_MAX,
    REPAIR_LIST_MAX,
    REPAIR_ROWS_MAX,
)
from reunite.protocol.pull import TablePage
from reunite.protocol.repair import Ask, RepairAnswer, RepairRequest

# Digits of hashes and sums on the wire: enough that no two rows of a range are mixed up by chance.
DIGITS_SENT = 16

_encode = msgspec.json.Encoder().encode


def repair(
    store: NumberedStore,
    tables: Tables,
    principal: Principal,
    request: RepairRequest,
) -> RepairAnswer:
    """Answer one question about a table.

    Raises UnknownReplicaError, UnknownTableError, BadRequestError, LimitExceededError,
    UpgradeRequiredError. Reads at most REPAIR_ROWS_MAX rows or about REPAIR_BYTES_MAX bytes, and
    keeps a step of them in memory.
    """
    check_protocol(request.protocol)
    cursor = decode_cursor(request.cursor)
    with store.read() as tx:
        now_ms = store.clock.now_ms()
        tables = tables.at(tx)
        schemas = tables.readable(request.tables)
        view = view_of(schemas, request.tables, request.where, tables.access(principal))
        schema = view.shown.get(request.table)
        if schema is None:
            raise UnknownTableError(f"This hub offers no table {request.table!r}.", path="table")
        _check(request, schema)
        own_replica(tx, principal, request.replica)
        head = tx.head()
        stamp = commit_stamp(max(now_ms, head.at_ms))
        if not is_ours(tx, head, cursor, view.hash):
            return RepairAnswer(cursor=request.cursor, stamp=stamp, is_stale=True)
        here = Cursor(
            epoch=head.epoch,
            seq=head.seq,
            nonce=head.nonce,
            id=0,
            checkpoint=cursor.checkpoint,
            view=view.hash,
        )
        blank = RepairAnswer(cursor=encode_cursor(here), stamp=stamp)
        whole = schemas[request.table]
        rows = VisibleRows(tx, whole, schema, view.tables[request.table].where)
        return _ANSWERS[request.ask](rows, request, blank)


def _check(request: RepairRequest, schema: TableSchema) -> None:
    """Raises BadRequestError, LimitExceededError."""
    columns = [schema.column[name] for name in schema.key]
    if request.after is not None:
        check_columns(columns, [request.after], path="after", is_loose=True)
    if not 0 <= request.digits <= REPAIR_DIGITS_MAX:
        raise BadRequestError(f"A prefix has up to {REPAIR_DIGITS_MAX} digits.", path="digits")
    if len(request.keys) > REPAIR_KEYS_MAX:
        raise LimitExceededError(
            f"A repair names up to {REPAIR_KEYS_MAX} keys at a time.",
            limit="REPAIR_KEYS_MAX",
            path="keys",
        )
    check_columns(columns, request.keys, path="keys", is_loose=True)
    lengths = {len(prefix) for prefix in request.prefixes}
    if len(lengths) > 1 or max(lengths, default=0) > REPAIR_DIGITS_MAX:
        raise BadRequestError(
            f"Prefixes are of one length, up to {REPAIR_DIGITS_MAX}.", path="prefixes"
        )


class VisibleRows:
    """The rows of one table that are in a view, in one snapshot, as `schema` shows them."""

    def __init__(
        self,
        tx: Transaction,
        whole: TableSchema,
        schema: TableSchema,
        where: Expression | None,
    ) -> None:
        self.schema = schema
        self._whole = whole
        self.where = where
        self._tx = tx
        self._reach = Reaching(tx, tx.schemas())
        self._judge = None if where is None else row_judge(where, whole, self._reach)

    def scan(self, after: Key | None, limit: int) -> Sequence[Row]:
        """The next rows by key."""
        rows = self._tx.scan(self.schema.name, after=after, limit=limit, where=self.where)
        return projected(rows, self._whole, self.schema)

    def scan_keys(self, after: Key | None, limit: int) -> Sequence[Key]:
        """The keys of those that `scan` would give, without reading them whole."""
        return self._tx.scan_keys(self.schema.name, after=after, limit=limit, where=self.where)

    def of(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """The rows of these keys that are there and in the view."""
        rows = self._tx.rows(self.schema.name, keys)
        judge = self._judge
        if self.where is not None:
            self._reach.prepare([self.where], self._whole.column_names, list(rows.values()))
        found = {key: row for key, row in rows.items() if judge is None or judge(row)}
        shown = projected(list(found.values()), self._whole, self.schema)
        return dict(zip(found, shown, strict=True))


# -- the four answers -----------------------------------------------------------------------------


def _sums(table: VisibleRows, request: RepairRequest, blank: RepairAnswer) -> RepairAnswer:
    sums = SumsByRange(request.digits)

    def take(rows: Sequence[Row]) -> int:
        digests = digests_of(table.schema, rows)
        sums.add(digests)
        return digests.size

    following = _read(table, request.after, take)
    ranges = sums.ranges()
    return msgspec.structs.replace(
        blank,
        rows=[found.rows for found in ranges],
        sums=[found.sum[-DIGITS_SENT:] for found in ranges],
        next=following,
    )


def _list(table: VisibleRows, request: RepairRequest, blank: RepairAnswer) -> RepairAnswer:
    prefixes = set(request.prefixes)
    length = len(next(iter(prefixes), ""))
    found: list[Key] = []
    hashes: list[str] = []
    after, read, size = request.after, 0, 0
    while read < REPAIR_ROWS_MAX and size < REPAIR_BYTES_MAX and len(found) < REPAIR_LIST_MAX:
        keys = table.scan_keys(after, _KEYS_STEP)
        if not keys:
            after = None
            break
        wanted = [
            key
            for key, digest in zip(keys, key_hashes(table.schema, keys), strict=True)
            if digest.hex()[:length] in prefixes
        ]
        steps = Steps(len(wanted))
        while wanted:
            part = wanted[: steps.next(len(wanted))]
            wanted = wanted[len(part) :]
            rows = list(table.of(part).values())
            digests = digests_of(table.schema, rows)
            found += [table.schema.key_of(row) for row in rows]
            hashes += [digest.hex()[:DIGITS_SENT] for digest in digests.rows]
            size += digests.size
            steps.took(digests.size)
        read += len(keys)
        after = keys[-1] if len(keys) == _KEYS_STEP else None
        if after is None:
            break
    return msgspec.structs.replace(blank, keys=found, hashes=hashes, next=after)


def _rows(table: VisibleRows, request: RepairRequest, blank: RepairAnswer) -> RepairAnswer:
    puts: list[Row] = []
    gone: list[Key] = []
    size = taken = 0
    steps = Steps(len(request.keys))
    while taken < len(request.keys) and size < PAGE_BYTES_MAX:
        part = request.keys[taken : taken + steps.next(len(request.keys) - taken)]
        rows = table.of(part)
        puts += rows.values()
        gone += [key for key in part if key not in rows]
        step_size = len(_encode(list(rows.values())))
        steps.took(step_size)
        size += step_size
        taken += len(part)
    schema = table.schema
    page = TablePage(table=schema.name, columns=schema.column_names, puts=puts)
    # Under an expression nobody is told whether a row is gone, or hidden.
    if table.where is None:
        page = msgspec.structs.replace(page, deletes=gone)
    else:
        page = msgspec.structs.replace(page, evicts=gone)
    return msgspec.structs.replace(blank, page=page, taken=taken)


def _all(table: VisibleRows, request: RepairRequest, blank: RepairAnswer) -> RepairAnswer:
    puts: list[Row] = []

    def take(rows: Sequence[Row]) -> int:
        puts.extend(rows)
        return len(_encode(rows))

    following = _read(table, request.after, take, rows_max=PAGE_ROWS_MAX, bytes_max=PAGE_BYTES_MAX)
    page = TablePage(table=table.schema.name, columns=table.schema.column_names, puts=puts)
    return msgspec.structs.replace(blank, page=page, next=following)


_ANSWERS = {Ask.SUMS: _sums, Ask.LIST: _list, Ask.ROWS: _rows, Ask.ALL: _all}

# Keys that are read at a time; they are small, and most are not wanted.
_KEYS_STEP = 5_000


def _read(
    table: VisibleRows,
    after: Key | None,
    take: Callable[[Sequence[Row]], int],
    *,
    rows_max: int = REPAIR_ROWS_MAX,
    bytes_max: int = REPAIR_BYTES_MAX,
) -> Key | None:
    """Give rows to `take`, which says their size, until a limit is met; the key to go on after,
    None at the end of the table."""
    steps = Steps(rows_max)
    left, size = rows_max, 0
    while left > 0 and size < bytes_max:
        limit = steps.next(left)
        rows = table.scan(after, limit)
        if rows:
            step_size = take(rows)
            steps.took(step_size)
            size += step_size
            left -= len(rows)
            after = table.schema.key_of(rows[-1])
        if len(rows) < limit:
            return None
    return after
