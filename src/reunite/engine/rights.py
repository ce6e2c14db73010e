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
from reunite.core.values import Row
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


class Rights:
    """The rights of one principal in one transaction."""

    def __init__(self, tx: Transaction, access: Access) -> None:
        self._tx = tx
        self._access = access
        self._reach = access.reach = Reaching(tx, access.schemas)

    def begin(self, made: Made | None = None) -> None:
        """Forget rows to which rules lead: the database has others now. What a group is about to
        make of rows, `made`, goes before what the database has."""
        self._reach.begin(*([] if made is None else [made]))

    def prepare(self, table: str, rows: Sequence[Row]) -> None:
        """Read at once all rows to which the rules lead from these."""
        wheres = self._access.steps(table)
        if wheres:
            self._reach.prepare(wheres, self._access.schemas[table].column_names, rows)

    def sees(self, table: str, row: Row) -> bool:
        """Whether the principal may read this row."""
        return self._access.may("read", table, row)

    def may_insert(self, table: str, rows: Sequence[Row]) -> bool:
        """Whether all of these rows may be made."""
        access = self._access
        if not access.limits("insert", table):
            return True
        self.prepare(table, rows)
        return all(access.may("insert", table, row) for row in rows)

    def filled(self, table: str, rows: Sequence[Row]) -> Sequence[Row]:
        """New rows, those without a tenant with the principal's."""
        return self._access.filled(table, rows)

    def check(self, operation: str, change: Change, *rows: Row) -> None:
        """Raises GroupRejectedError unless the principal may do this to the change's row, as it
        was and as it is to be."""
        for row in rows:
            if not self._access.may(operation, change.table, row):
                raise GroupRejectedError(
                    change,
                    "not-allowed",
                    f"The rules of this hub do not let you {operation} this row.",
                )

    def may_restore(self, table: str, image: Row, restored: Row) -> bool:
        """Whether the principal saw this row when it was deleted, and may change it into that."""
        may = self._access.may
        return (
            may("read", table, image)
            and may("update", table, image)
            and may("update", table, restored)
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
