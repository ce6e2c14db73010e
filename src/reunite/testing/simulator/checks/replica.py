"""What must hold of every replica file: when a program wrote, at checkpoints, after each step.

I1    what a program committed is in the outbox until the hub has answered it
I2    no pending change of a file has an outcome in the snapshot that it shows
I4    at a checkpoint, what a file knows of the hub is what the hub's snapshot held
I5    what is only ever written in one transaction is seen whole, at every moment
I10   a change leaves the outbox with an outcome: effective, told as a conflict, or parked
I11   the triggers of a file miss no row that a program changed
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from reunite.core.change import Op
from reunite.replica import Replica
from reunite.testing.simulator.book import Book, Captured, InvariantBroken
from reunite.testing.simulator.checks.hub import check_whole
from reunite.testing.simulator.files import FileState, SimulatedFile, Written
from reunite.testing.simulator.tables import FACTS, TABLES, Key, Row, Scalar, Tables, differences


class ReplicaCheck:
    """Checks files against the book."""

    def __init__(self, book: Book) -> None:
        self._book = book

    # -- a program wrote ----------------------------------------------------------------------

    def wrote(self, file: SimulatedFile, writing: Written) -> None:
        """A program has committed a transaction to the file."""
        for captured in writing.captured:
            self._book.captured[captured.uid] = captured
            self._book.pending_before[captured.uid] = tuple(file.memory.unsettled)
            file.memory.unsettled[captured.uid] = captured
        file.memory.writings.append(writing)
        self._check_captured(writing)

    @staticmethod
    def _check_captured(writing: Written) -> None:
        first: dict[tuple[str, Key], Captured] = {}
        for captured in writing.captured:
            first.setdefault((captured.table, captured.key), captured)
            if captured.old_key is not None:
                first.setdefault((captured.table, captured.old_key), captured)
        for table in TABLES:
            before, after = writing.before[table], writing.after[table]
            for key in before.keys() | after.keys():
                if before.get(key) == after.get(key):
                    continue
                found = first.get((table, key))
                if found is None:
                    raise InvariantBroken("I11", f"Not in the outbox: {table}{list(key)}.")
                moved_here = found.old_key is not None and found.key == key
                if (None if moved_here else found.old) != before.get(key):
                    raise InvariantBroken(
                        "I11",
                        f"The outbox says {table}{list(key)} was {found.old}; it was"
                        f" {before.get(key)}.",
                    )

    # -- a checkpoint -------------------------------------------------------------------------

    def revealed(self, file: SimulatedFile, replica: Replica) -> None:
        """The file has committed a checkpoint."""
        delivered = file.memory.delivered
        state = file.look()
        if delivered is None or state.checkpoint != delivered.page.cursor:
            raise InvariantBroken("I4", f"{file.label} shows a checkpoint that nobody sent.")
        self._book.count("checkpoint")
        hub = delivered.snapshot.tables
        pending = {
            (captured.table, key)
            for captured in state.outbox
            for key in (captured.key, captured.old_key)
            if key is not None
        }
        for captured in state.outbox:
            judged = self._book.judged.get(captured.uid)
            if (
                judged is not None
                and judged.replica == state.identity
                and judged.moment <= delivered.snapshot.moment
            ):
                raise InvariantBroken(
                    "I2",
                    f"{file.label} shows the effect of {judged.change} and keeps it pending.",
                )
        for table in TABLES:
            shown, truth = state.tables[table], hub[table]
            for key in shown.keys() | truth.keys():
                if (table, key) not in pending and shown.get(key) != truth.get(key):
                    raise InvariantBroken(
                        "I4",
                        f"{file.label} shows {table}{list(key)} as {shown.get(key)};"
                        f" the hub's snapshot had {truth.get(key)}.",
                    )
            base = cast(dict[Key, Row], replica.base_rows(table))
            for key in base.keys() | truth.keys():
                if base.get(key) != truth.get(key):
                    raise InvariantBroken(
                        "I4",
                        f"{file.label} believes that the hub's {table}{list(key)} is"
                        f" {base.get(key)}; it was {truth.get(key)}.",
                    )
        _check_sums(file, state, hub)
        self.looked(file, state)

    # -- after each step ----------------------------------------------------------------------

    def looked(self, file: SimulatedFile, state: FileState) -> None:
        """The file is at rest: between steps, or just after a checkpoint."""
        check_whole(state.tables, f"in {file.label}")
        present = {captured.uid: captured for captured in state.outbox}
        memory = file.memory
        for uid, captured in memory.unsettled.items():
            if uid not in present:
                self._check_left(file, state, captured)
        kept = []
        for writing in memory.writings:
            if any(
                captured.uid in present and present[captured.uid].n is None
                for captured in writing.captured
            ):
                kept.append(writing)
            else:
                self._check_sent(file, writing, present, state)
        memory.writings = kept
        memory.unsettled = present

    def _check_left(self, file: SimulatedFile, state: FileState, captured: Captured) -> None:
        """A change is no longer in the outbox."""
        judged = self._book.judged.get(captured.uid)
        is_parked = captured.uid in state.parked
        if judged is None:
            # A raw entry may turn out to say nothing: `_check_sent` sees whether it did.
            if captured.n is not None and not is_parked:
                raise InvariantBroken("I10", f"{file.label} forgot {captured} without an outcome.")
        elif judged.is_rejected and not is_parked:
            raise InvariantBroken("I10", f"{file.label} dropped {judged.change}, rejected.")
        elif not judged.is_rejected and is_parked and not file.is_copied:
            raise InvariantBroken("I10", f"{file.label} parked {judged.change}, which took effect.")
        elif judged.outcome.conflicts and captured.uid not in state.conflicts:
            raise InvariantBroken("I10", f"{file.label} does not tell what {judged.change} lost.")

    def _check_sent(
        self,
        file: SimulatedFile,
        writing: Written,
        present: dict[str, Captured],
        state: FileState,
    ) -> None:
        """All changes of a transaction have their numbers: together they are what it did."""
        lasting = [
            captured
            for captured in writing.captured
            if captured.uid in present
            or captured.uid in self._book.judged
            or captured.uid in state.parked
        ]
        first: dict[tuple[str, Scalar], Captured] = {}
        last: dict[tuple[str, Scalar], Captured] = {}
        for captured in lasting:
            first.setdefault((captured.table, captured.ident), captured)
            last[captured.table, captured.ident] = captured
        for table in TABLES:
            before = _by_ident(table, writing.before)
            after = _by_ident(table, writing.after)
            for ident in before.keys() | after.keys():
                was, became = before.get(ident), after.get(ident)
                if was == became:
                    continue
                start, end = first.get((table, ident)), last.get((table, ident))
                if (
                    start is None
                    or end is None
                    or _lasting(table, start.old if start.op is not Op.INSERT else None) != was
                    or _lasting(table, end.row) != became
                ):
                    raise InvariantBroken(
                        "I1",
                        f"{file.label} sends {lasting} for what step {writing.step} wrote:"
                        f" {ident}: {was} → {became}.",
                    )


def _by_ident(table: str, tables: Tables) -> dict[Scalar, Row | None]:
    facts = FACTS[table]
    return {
        facts.at(row, "ident") if facts.has_ident else str(key): _lasting(table, row)
        for key, row in tables[table].items()
    }


def _lasting(table: str, row: Row | None) -> Row | None:
    return None if row is None else tuple(FACTS[table].at(row, c) for c in FACTS[table].lasting)


def _check_sums(file: SimulatedFile, state: FileState, hub: Tables) -> None:
    """A balance shown is the hub's with every pending difference added once."""
    facts = FACTS["account"]
    for key, row in hub["account"].items():
        pending = sum(
            _balance(captured.row) - _balance(captured.old)
            for captured in state.outbox
            if captured.table == "account" and captured.key == key
        )
        shown = state.tables["account"].get(key)
        if shown is None or _balance(shown) != _balance(row) + pending:
            raise InvariantBroken(
                "I4",
                f"{file.label} shows {shown} for {facts.name}{list(key)}: the hub has {row} and"
                f" {pending:+} is pending.",
            )


def _balance(row: Row | None) -> int:
    value = 0 if row is None else FACTS["account"].at(row, "balance")
    assert isinstance(value, int), "a balance is a number"
    return value


def check_equal(files: Iterable[SimulatedFile], hub: Tables) -> None:
    """I4, at the end: nothing pending, and every file's tables are the hub's."""
    for file in files:
        state = file.look()
        if state.outbox:
            raise InvariantBroken("I9", f"{file.label} is stuck with {state.outbox}.")
        if state.tables != hub:
            raise InvariantBroken(
                "I4", f"{file.label} differs: {differences(state.tables, hub)} (file ≠ hub)"
            )
