"""What must hold of the hub's tables and log after every transaction, whoever made it.

I2    no ident stands twice: no insert took effect twice
I3    commits are numbered 1, 2, 3 … without gaps, and cover every change once
I5    twins are equal, the accounts' sum is 0: no transaction was torn
I11   each changed row has a log entry that says what it was
I12   an ident that went never comes back
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from reunite.engine.ports import Commit, LogEntry
from reunite.testing.simulator.book import InvariantBroken
from reunite.testing.simulator.tables import FACTS, TABLES, Key, Row, Scalar, Tables


def idents_of(tables: Tables, table: str) -> dict[Scalar, Key]:
    """Where each ident stands. Raises InvariantBroken (I2) if one stands twice."""
    position = FACTS[table].columns.index("ident")
    found: dict[Scalar, Key] = {}
    for key, row in tables[table].items():
        if row[position] in found:
            raise InvariantBroken(
                "I2", f"{row[position]} stands twice: {table}{list(found[row[position]])}, {key}"
            )
        found[row[position]] = key
    return found


def check_whole(tables: Tables, where: str) -> None:
    """I5: what is only ever written in one transaction is seen whole."""
    left, right = tables["twin_left"], tables["twin_right"]
    if left != right:
        raise InvariantBroken("I5", f"The twins differ {where}: {left} {right}")
    balances = {row[0]: row[1] for row in tables["account"].values()}
    if sum(int(balance or 0) for balance in balances.values()) != 0:
        raise InvariantBroken("I5", f"A transfer is torn {where}: {balances}")


def strays(tables: Tables) -> Iterator[tuple[Scalar, Scalar, Scalar]]:
    """Children that point to another row than the one they were born to: the idents of the child,
    of the row it was born to and of the one it points to, None if there is none."""
    for facts in FACTS.values():
        parent = facts.parent
        if parent is None:
            continue
        for row in tables[facts.name].values():
            value = facts.at(row, parent.column)
            if value is None:
                continue
            parent_row = tables[parent.table].get((value,))
            found = None if parent_row is None else FACTS[parent.table].at(parent_row, "ident")
            born_to = facts.at(row, parent.ident_column)
            if found != born_to:
                yield facts.at(row, "ident"), born_to, found


class HubCheck:
    """Follows the hub from one transaction to the next.

    `restored` are the idents that a change brought back, where update wins over delete.

    No child changes its parent, however keys were moved or given again; but for those `led_astray`
    by a program that gave a key again in its own file, with foreign keys off.

    With `is_concurrent`, transactions draw ids side by side: commits may overlap, and whether they
    cover every change is asked of the database.
    """

    def __init__(self, tables: Tables, last_change_id: int, *, is_concurrent: bool = False) -> None:
        self._is_concurrent = is_concurrent
        self.tables = tables
        self.last_change_id = last_change_id
        self.led_astray: set[Scalar] = set()
        self.restored: set[Scalar] = set()
        self._gone: set[tuple[str, Scalar]] = set()
        self._last_commit: Commit | None = None

    def moved(self, tables: Tables, entries: Sequence[LogEntry]) -> None:
        """A transaction has committed: `entries` are what it added to the log."""
        before, self.tables = self.tables, tables
        if entries:
            self.last_change_id = max(self.last_change_id, entries[-1].id)
        if tables == before and not entries:
            return
        self._check_identities(before, tables)
        for ident, born_to, found in strays(tables):
            if ident not in self.led_astray:
                raise InvariantBroken(
                    "parents", f"At the hub {ident} was born to {born_to}, and points to {found}."
                )
        check_whole(tables, "at the hub")
        _check_log(before, tables, entries)

    def _check_identities(self, before: Tables, after: Tables) -> None:
        for facts in FACTS.values():
            if not facts.has_ident or before[facts.name] == after[facts.name]:
                continue
            old, new = idents_of(before, facts.name), idents_of(after, facts.name)
            for ident in new.keys() - old.keys():
                if (facts.name, ident) in self._gone:
                    self.restored.add(ident)
                    if facts.update_wins:
                        continue
                    raise InvariantBroken("I12", f"{ident} had been deleted and is back.")
            self._gone.update((facts.name, ident) for ident in old.keys() - new.keys())

    def numbered(
        self, commits: Iterable[Commit], last_change_id: int, *, unnumbered: int = 0
    ) -> None:
        """Numbering is done: `commits` are those after the last one seen here; `unnumbered` is how
        many changes the database has that are in no commit."""
        for commit in commits:
            last = self._last_commit
            is_next = (
                commit.seq == (last.seq if last else 0) + 1
                and (self._is_concurrent or commit.first_id > (last.last_id if last else 0))
                and commit.last_id >= commit.first_id
                and commit.at_ms >= (last.at_ms if last else 0)
                and commit.nonce != ""
            )
            if not is_next:
                raise InvariantBroken("I3", f"{commit} follows {last}.")
            self._last_commit = commit
        if unnumbered:
            raise InvariantBroken("I3", f"{unnumbered} changes are visible and in no commit.")
        if self._is_concurrent:
            return
        covered = self._last_commit.last_id if self._last_commit else 0
        if covered != last_change_id:
            raise InvariantBroken("I3", f"Commits end at {covered}, changes at {last_change_id}.")

    @property
    def last_seq(self) -> int:
        """The newest commit seen."""
        return self._last_commit.seq if self._last_commit else 0


def _check_log(before: Tables, after: Tables, entries: Sequence[LogEntry]) -> None:
    """I11: the first entry of each changed key holds what its row was."""
    first: dict[tuple[str, Key], LogEntry] = {}
    for entry in entries:
        for key in (entry.key, entry.old_key):
            if key is not None:
                first.setdefault((entry.table, cast(Key, key)), entry)
    for table in TABLES:
        if before[table] == after[table]:
            continue
        for key in before[table].keys() | after[table].keys():
            old = before[table].get(key)
            if old == after[table].get(key):
                continue
            found = first.get((table, key))
            if found is None:
                raise InvariantBroken("I11", f"No entry for {table}{list(key)}: it was {old}.")
            if _image(found, key) != old:
                raise InvariantBroken(
                    "I11", f"The log says {table}{list(key)} was {found.old}; it was {old}."
                )


def _image(entry: LogEntry, key: Key) -> Row | None:
    """What the entry says that stood under `key` before it."""
    values = entry.image
    if values is None or (entry.old_key is not None and key != entry.old_key):
        return None
    return tuple(values[column] for column in FACTS[entry.table].columns)
