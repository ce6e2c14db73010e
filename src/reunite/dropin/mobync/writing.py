"""Writing: all that one call does, or nothing of it.

With `transaction()` the synchronizer sees to that. Without it, what was written is undone in
reverse, with the same methods; a process that is killed meanwhile leaves rows whose diffs are not
in the log, and the device's retry goes over them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reunite.dropin.mobync.diff import CREATE, DELETE, UPDATE, Diff, Entry, RowKey, json_data
from reunite.dropin.mobync.judging import Step
from reunite.dropin.mobync.synchronizer import Synchronizer, offered


class Writer:
    """Writes through the synchronizer; `rows` are the rows as they are, and are kept so."""

    def __init__(
        self,
        synchronizer: Synchronizer,
        diffs_model_name: str,
        rows: Mapping[RowKey, Mapping[str, Any] | None],
    ) -> None:
        self._synchronizer = synchronizer
        self._diffs = diffs_model_name
        self._rows = dict(rows)
        self._undo: list[Callable[[], object]] = []

    def write(self, step: Step) -> None:
        """Change the model, then log the diff."""
        if step.operation is not None:
            self._change(step.operation, step)
        self.log(step.entry)

    def log(self, entry: Entry) -> None:
        """Add a diff to the log."""
        self._synchronizer.create(self._diffs, json.dumps(entry.logged))
        named = json.dumps({Diff.ID: entry.id})
        self._undo.append(lambda: self._synchronizer.delete(self._diffs, named))

    def relog(self, before: Entry, after: Entry) -> None:
        """Change a diff of the log; its id stays."""
        self._synchronizer.update(self._diffs, json.dumps(after.logged))
        old = json.dumps(before.logged)
        self._undo.append(lambda: self._synchronizer.update(self._diffs, old))

    def forget(self, entry: Entry) -> None:
        """Take a diff out of the log."""
        self._synchronizer.delete(self._diffs, json.dumps({Diff.ID: entry.id}))
        old = json.dumps(entry.logged)
        self._undo.append(lambda: self._synchronizer.create(self._diffs, old))

    def keep_order(self, entries: Iterable[Entry]) -> None:
        """Let these diffs of the log stand in this order again once what follows was undone: one
        that was forgotten comes back behind all others."""
        for entry in reversed(list(entries)):
            self._undo.append(lambda entry=entry: self._log_again(entry))  # type: ignore[misc]

    def undo(self, cause: BaseException) -> None:
        """Put back what was written. What cannot be put back is noted on `cause`."""
        for step in reversed(self._undo):
            try:
                step()
            except Exception as exc:
                cause.add_note(f"Undoing a write failed as well: {exc!r}")

    def _log_again(self, entry: Entry) -> None:
        self._synchronizer.delete(self._diffs, json.dumps({Diff.ID: entry.id}))
        self._synchronizer.create(self._diffs, json.dumps(entry.logged))

    def _change(self, operation: str, step: Step) -> None:
        synchronizer, key = self._synchronizer, step.entry.key
        model, row = key
        text = json_data(row, step.values)
        named = json_data(row)
        old = self._rows.get(key)
        if operation == CREATE:
            synchronizer.create(model, text)
            self._undo.append(lambda: synchronizer.delete(model, named))
            self._rows[key] = step.values
        elif operation == UPDATE and old is not None:
            synchronizer.update(model, text)
            self._undo.append(lambda: self._restore(model, row, old, set(step.values)))
            self._rows[key] = {**old, **step.values}
        elif operation == DELETE and old is not None:
            synchronizer.delete(model, step.entry.diff[Diff.JSON_DATA])
            self._undo.append(lambda: synchronizer.create(model, json_data(row, old)))
            self._rows[key] = None

    def _restore(self, model: str, row: Any, old: Mapping[str, Any], fields: set[str]) -> None:
        if fields <= old.keys():
            values = {field: old[field] for field in fields}
            self._synchronizer.update(model, json_data(row, values))
        else:  # an update cannot take away a field that the row did not have
            self._synchronizer.delete(model, json_data(row))
            self._synchronizer.create(model, json_data(row, old))


@contextmanager
def together(synchronizer: Synchronizer) -> Iterator[bool]:
    """A transaction, if the synchronizer has them; says whether it has."""
    transaction = offered(synchronizer, "transaction")
    if transaction is None:
        yield False
    else:
        with transaction():
            yield True
