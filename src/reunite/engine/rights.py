"""Rights: what the principal of a push may do, asked for its changes.

The rule         a row that the principal may not read is, for all its changes, a row that is not
                 there: with the same answer, from the same number of statements. What it may read
                 and not change is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reunite.core.change import Change
from reunite.core.key import Key
from reunite.core.rules import Access
from reunite.core.values import Row, same
from reunite.engine.ports import Transaction
from reunite.engine.reaching import Made, Reaching

MISSING_PARENT = "The row that it points to is not at the hub."


class GroupRejectedError(Exception):
    """The group cannot take effect; `change` is the one that is to blame."""

    def __init__(
        self,
        change: Change,
        code: str,
        reason: str,
        *,
        columns: Sequence[str] = (),
        is_temporary: bool = False,
    ) -> None:
        super().__init__(reason)
        self.change = change
        self.code = code
        self.reason = reason
        self.columns = tuple(columns)
        self.is_temporary = is_temporary


def _column_refused(change: Change, column: str) -> GroupRejectedError:
    return GroupRejectedError(
        change,
        "column-not-allowed",
        f"The rules of this hub do not let you write {column!r} of this row.",
        columns=(column,),
    )


class Rights:
    """The rights of one principal in one transaction."""

    def __init__(self, tx: Transaction, access: Access) -> None:
        self._tx = tx
        self._access = access
        self._defaults: dict[str, Row] = {}
        self._reach = access.reach = Reaching(tx, access.schemas, holds=True)

    def begin(self, made: Made | None = None) -> None:
        """Forget rows to which rules lead: the database has others now. What a group is about to
        make of rows, `made`, goes before what the database has."""
        self._reach.begin(*([] if made is None else [made]))

    def prepare(self, table: str, rows: Sequence[Row]) -> None:
        """Read at once all rows to which the rules lead from these."""
        wheres = self._access.steps(table)
        if wheres:
            self._reach.prepare(wheres, self._access.schemas[table].column_names, rows)

    def limits_reading(self, table: str) -> bool:
        """Whether there may be rows of the table that the principal may not read."""
        return self._access.limits("read", table)

    def sees(self, table: str, row: Row) -> bool:
        """Whether the principal may read this row."""
        return self._access.may("read", table, row)

    def may_insert(self, table: str, rows: Sequence[Row]) -> bool:
        """Whether all of these rows may be made."""
        access = self._access
        if not access.limits("insert", table):
            return True
        self.prepare(table, rows)
        return all(
            access.may("insert", table, row) and access.policy_allows("insert", table, row)
            for row in rows
        )

    def default(self, table: str) -> Row:
        """A row of a table's defaults. Those that are another value each time cost a statement
        a row."""
        if table not in self._defaults:
            row = self._tx.defaults(table)
            if not all(column.has_plain_default for column in self._access.schemas[table].columns):
                return row
            self._defaults[table] = row
        return self._defaults[table]

    def made(self, table: str, rows: Sequence[Row]) -> Sequence[Row] | None:
        """New rows: those without a tenant get the principal's, and a column that the principal may
        not write gets its default. None if one of them has another value there."""
        rows = self._access.filled(table, rows)
        if not self._access.of(table).writes:
            return rows
        self.prepare(table, rows)
        made = []
        for row in rows:
            filled, refused = self._with_defaults(table, row)
            if refused is not None:
                return None
            made.append(filled)
        return made

    def made_by(self, change: Change, row: Row) -> Row:
        """The same for one insert. Raises GroupRejectedError where the other is None."""
        (row,) = self._access.filled(change.table, [row])
        self.prepare(change.table, [row])
        filled, refused = self._with_defaults(change.table, row)
        if refused is not None:
            raise _column_refused(change, refused)
        return filled

    def _with_defaults(self, table: str, row: Row) -> tuple[Row, str | None]:
        """A new row with defaults where the principal may not write; and the first column in which
        something else stands there."""
        access = self._access
        schema, bound = access.schemas[table], access.of(table)
        values = list(row)
        for name in bound.writes:
            if name in bound.hidden or access.may_write(table, name, row):
                continue
            column, place = schema.column[name], schema.position[name]
            default = self.default(table)[place]
            is_given = row[place] is not None and not same(column.type, row[place], default)
            # A replica's clock has filled in what its table says, which nobody could know here.
            if is_given and not column.has_clock_default:
                return row, name
            values[place] = default
        return tuple(values), None

    def writable(self, change: Change, columns: Sequence[str], *rows: Row) -> list[str]:
        """Those of these columns that the principal may write in the row as it was and is to be."""
        may_write = self._access.may_write
        return [name for name in columns if all(may_write(change.table, name, row) for row in rows)]

    def check_columns(self, change: Change, columns: Sequence[str], *rows: Row) -> None:
        """Raises GroupRejectedError unless the principal may write all of these columns."""
        if not self._access.limited_columns(change.table):
            return
        kept = set(self.writable(change, columns, *rows))
        for name in columns:
            if name not in kept:
                raise _column_refused(change, name)

    def check(self, operation: str, change: Change, *rows: Row) -> None:
        """Raises GroupRejectedError unless the principal may do this to the change's row, as it
        was and as it is to be."""
        access, table = self._access, change.table
        may = all(access.may(operation, table, row) for row in rows)
        if not may or not access.policy_allows(operation, table, *rows):
            raise GroupRejectedError(
                change,
                "not-allowed",
                f"The rules of this hub do not let you {operation} this row.",
            )

    def may_restore(
        self, table: str, image: Row, restored: Row, columns: Sequence[str] = ()
    ) -> bool:
        """Whether the principal saw this row when it was deleted, and may change it into that, by
        writing these columns."""
        may, may_write = self._access.may, self._access.may_write
        return (
            may("read", table, image)
            and may("update", table, image)
            and may("update", table, restored)
            and self._access.policy_allows("update", table, image, restored)
            and all(may_write(table, name, row) for name in columns for row in (image, restored))
        )

    def seen(self, table: str, keys: Collection[Key]) -> set[Key]:
        """Those of these keys under which there are rows that the principal may read."""
        rows = self._tx.rows(table, keys)
        self._reach.remember(table, keys, rows)
        self.prepare(table, list(rows.values()))
        return {key for key, row in rows.items() if self._access.may("read", table, row)}

    def unseen(self, table: str, keys: Collection[Key]) -> set[Key]:
        """Those of these keys under which the principal sees no row, be it hidden or not there;
        none where it sees all rows of the table, and the database may judge."""
        if not keys or not self._access.limits("read", table):
            return set()
        return set(keys) - self.seen(table, keys)
