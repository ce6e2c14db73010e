"""A synchronizer in memory: for tests, examples, and programs that keep their rows elsewhere.

The rule         one lock for everything: a call is alone while it runs.
"""

from __future__ import annotations

import itertools
import json
import operator
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reunite.dropin.mobync.diff import CREATE, Diff, RowId, RowKey
from reunite.dropin.mobync.synchronizer import FilterType, ReadFilter, Synchronizer

COMPARISONS: Mapping[FilterType, Callable[[Any, Any], bool]] = {
    FilterType.equal: operator.eq,
    FilterType.major: operator.gt,
    FilterType.minor: operator.lt,
    FilterType.majorOrEqual: operator.ge,
    FilterType.minorOrEqual: operator.le,
}

_clock_of = operator.itemgetter(Diff.LOGICAL_CLOCK)


class InMemorySynchronizer(Synchronizer):
    """Rows and diffs in dictionaries.

    models       by name, the fields that every row has beside `id`; or just the names, and then
                 rows may have any fields

    Everything is allowed that `Mobync` allows; override the validators to allow less. Reading an
    owner's diffs from a clock on costs those diffs, and finding a row or a diff by its id nothing.
    """

    def __init__(
        self,
        models: Mapping[str, Iterable[str]] | Iterable[str],
        *,
        diffs_model_name: str = "diffs",
    ) -> None:
        self._fields = (
            {model: dict.fromkeys(names, True) for model, names in models.items()}
            if isinstance(models, Mapping)
            else None
        )
        self.models = tuple(models)
        self._diffs = diffs_model_name
        self._tables: dict[str, dict[RowId, dict[str, Any]]] = {
            name: {} for name in (*self.models, diffs_model_name)
        }
        self._by_owner: dict[str, list[dict[str, Any]]] = {}
        self._makers: dict[RowKey, dict[str, str]] = {}  # by the id of the diff that made the row
        # Diffs of one clock stand in the order in which they came, whatever becomes of them.
        self._places: dict[str, int] = {}
        self._next_place = itertools.count()
        self._mutex = threading.RLock()
        self._undo: list[Callable[[], object]] | None = None

    def read(self, where: str, filters: list[ReadFilter]) -> str:
        with self._mutex:
            found = [row for row in self._candidates(where, filters) if _is_chosen(row, filters)]
            return json.dumps(found)

    def create(self, where: str, data_json: str) -> None:
        with self._mutex:
            data = json.loads(data_json)
            if data["id"] in self._tables[where]:
                raise ValueError(f"{where} has a row {data['id']!r} already.")
            self._add(where, data, next(self._next_place))
            self._note(lambda: self.delete(where, data_json))

    def update(self, where: str, data_json: str) -> None:
        with self._mutex:
            data = json.loads(data_json)
            row = self._tables[where][data["id"]]
            before = dict(row)
            self._set(where, row, before | data)
            self._note(lambda: self._set(where, row, before))

    def delete(self, where: str, data_json: str) -> None:
        with self._mutex:
            row = self._tables[where].pop(json.loads(data_json)["id"], None)
            if row is None:
                return
            place = self._unindex(row) if where == self._diffs else 0
            self._note(lambda: self._add(where, row, place))

    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def validate_update(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def validate_delete(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def fields(self, model: str) -> Mapping[str, bool] | None:
        """The fields of a model, all of which a create names; None if it may have any."""
        return None if self._fields is None else self._fields[model]

    def last_clock(self, owner_id: str) -> int:
        """The owner's highest clock, -1 without a diff."""
        with self._mutex:
            log = self._by_owner.get(owner_id)
            return int(log[-1][Diff.LOGICAL_CLOCK]) if log else -1

    def row_owner(self, model: str, row_id: RowId) -> str | None:
        """Whose diff made the row."""
        with self._mutex:
            makers = self._makers.get((model, row_id))
            return makers[max(makers, key=self._places.__getitem__)] if makers else None

    def page(self, owner_id: str, clock: int, count: int) -> list[dict[str, Any]]:
        """The owner's diffs from a clock on: `count` and one more, and the rest of its clock."""
        with self._mutex:
            log = self._by_owner.get(owner_id, [])
            start = bisect_left(log, clock, key=_clock_of)
            end = start + count + 1
            while start < end < len(log) and _clock_of(log[end]) == _clock_of(log[end - 1]):
                end += 1
            return [dict(diff) for diff in log[start:end]]

    @contextmanager
    def lock(self, owner_id: str) -> Iterator[None]:
        """Keep all others out."""
        with self._mutex:
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is put back if an error leaves it."""
        with self._mutex:
            outer, self._undo = self._undo, []
            try:
                yield
            except BaseException:
                undo, self._undo = self._undo, None
                for step in reversed(undo):
                    step()
                raise
            else:
                if outer is not None:
                    outer += self._undo
            finally:
                self._undo = outer

    def _add(self, where: str, row: dict[str, Any], place: int) -> None:
        self._tables[where][row["id"]] = row
        if where == self._diffs:
            self._index(row, place)

    def _set(self, where: str, row: dict[str, Any], values: Mapping[str, Any]) -> None:
        place = self._unindex(row) if where == self._diffs else 0
        row.clear()
        row.update(values)
        if where == self._diffs:
            self._index(row, place)

    def _note(self, step: Callable[[], object]) -> None:
        if self._undo is not None:
            self._undo.append(step)

    def _candidates(self, where: str, filters: list[ReadFilter]) -> Iterable[dict[str, Any]]:
        """The rows among which a filter's are, as few as an index can tell."""
        table = self._tables[where]
        asked = {(chosen.field_name, chosen.filter_by): chosen.data for chosen in filters}
        row_id = asked.get(("id", FilterType.equal))
        if row_id is not None:
            return [table[row_id]] if row_id in table else []
        owner = asked.get((Diff.OWNER, FilterType.equal))
        if where != self._diffs or owner is None:
            return table.values()
        log = self._by_owner.get(owner, [])
        clock = asked.get((Diff.LOGICAL_CLOCK, FilterType.majorOrEqual), 0)
        return log[bisect_left(log, clock, key=_clock_of) :]

    def _index(self, diff: dict[str, Any], place: int) -> None:
        self._places[diff[Diff.ID]] = place
        insort(self._by_owner.setdefault(diff[Diff.OWNER], []), diff, key=self._order_of)
        if diff[Diff.TYPE] == CREATE:
            makers = self._makers.setdefault(_row_key(diff), {})
            makers[diff[Diff.ID]] = diff[Diff.OWNER]

    def _unindex(self, diff: dict[str, Any]) -> int:
        """Forget where a diff stands; its place."""
        log = self._by_owner[diff[Diff.OWNER]]
        del log[bisect_left(log, self._order_of(diff), key=self._order_of)]
        makers = self._makers.get(_row_key(diff), {})
        makers.pop(diff[Diff.ID], None)
        if not makers:
            self._makers.pop(_row_key(diff), None)
        return self._places.pop(diff[Diff.ID])

    def _order_of(self, diff: Mapping[str, Any]) -> tuple[int, int]:
        return diff[Diff.LOGICAL_CLOCK], self._places[diff[Diff.ID]]


def _row_key(diff: Mapping[str, Any]) -> RowKey:
    return diff[Diff.MODEL], json.loads(diff[Diff.JSON_DATA])["id"]


def _is_chosen(row: Mapping[str, Any], filters: Iterable[ReadFilter]) -> bool:
    return all(
        chosen.field_name in row
        and COMPARISONS[chosen.filter_by](row[chosen.field_name], chosen.data)
        for chosen in filters
    )
