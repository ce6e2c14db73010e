"""Journals: append-only lists with an index, of which many readers see prefixes.

What it is       the shape of everything the memory store only ever adds to: the log, commits,
                 pushes, outcomes.
What it is not   thread-safe among writers: the store lets one at a time.
The rule         a journal a reader holds never changes. Items stand in one shared list; a reader
                 looks no further than its own `last`, so the writer may append behind that.

    shared   | 4 | 5 | 6 | 7 | 8 | 9 |        numbers go on after `base`, here 3
    reader   ──────────► last = 6
    writer   ──────────────────────► last = 9, truncated to 6 if it rolls back
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Shared(Generic[Item]):
    """The list itself: items numbered from `base` + 1, and where each index key occurs."""

    __slots__ = ("base", "index", "index_keys", "items")

    def __init__(
        self, base: int, items: list[Item], index_keys: Callable[[Item], Iterable[Hashable]]
    ) -> None:
        self.base = base
        self.items = items
        self.index_keys = index_keys
        self.index: dict[Hashable, list[int]] = {}
        for number, item in enumerate(items, start=base + 1):
            self.enter(number, item)

    def enter(self, number: int, item: Item) -> None:
        for index_key in self.index_keys(item):
            self.index.setdefault(index_key, []).append(number)


def _no_index(_: object) -> Iterable[Hashable]:
    return ()


class Journal(Generic[Item]):
    """The items numbered `base` + 1 to `last` of a shared list."""

    __slots__ = ("_shared", "last")

    def __init__(
        self,
        items: Iterable[Item] = (),
        *,
        base: int = 0,
        index_keys: Callable[[Item], Iterable[Hashable]] = _no_index,
    ) -> None:
        self._shared = _Shared(base, list(items), index_keys)
        self.last = base + len(self._shared.items)

    @property
    def base(self) -> int:
        """Items up to this number are not here any more."""
        return self._shared.base

    def __len__(self) -> int:
        return self.last - self._shared.base

    def __getitem__(self, number: int) -> Item:
        """The item of a number between `base` + 1 and `last`; the caller knows that it is."""
        return self._shared.items[number - self._shared.base - 1]

    def after(self, number: int, limit: int | None = None) -> list[Item]:
        """The items with a larger number, in order."""
        base = self._shared.base
        first = max(number, base) - base
        length = self.last - base
        end = length if limit is None else min(length, first + limit)
        return self._shared.items[first:end]

    def first_with(self, value: int, by: Callable[[Item], int]) -> int:
        """The number of the first item for which `by`, which must ascend, is at least `value`;
        `last` + 1 if there is none."""
        return self.base + 1 + bisect_left(self._shared.items, value, 0, len(self), key=by)

    def numbers_of(self, index_key: Hashable, *, after: int = 0) -> list[int]:
        """Numbers larger than `after` of the items with this index key, ascending."""
        numbers = self._shared.index.get(index_key)
        if numbers is None:
            return []
        return numbers[bisect_right(numbers, after) : bisect_right(numbers, self.last)]

    def backwards(self, index_key: Hashable) -> Iterator[Item]:
        """The items with this index key, the last one first."""
        for number in reversed(self.numbers_of(index_key)):
            yield self[number]

    def branch(self) -> Journal[Item]:
        """A journal that begins as this one and may be appended to. One at a time."""
        shared = self._shared
        if len(shared.items) != len(self):
            # Somebody went on after us and we were restored since: leave the list to them.
            return Journal(self.after(shared.base), base=shared.base, index_keys=shared.index_keys)
        branch: Journal[Item] = Journal.__new__(Journal)
        branch._shared = shared
        branch.last = self.last
        return branch

    def append(self, item: Item) -> int:
        """Add an item to a branch; its number."""
        self._shared.items.append(item)
        self.last += 1
        self._shared.enter(self.last, item)
        return self.last

    def truncate(self, last: int) -> None:
        """Take the items with a larger number off a branch again."""
        shared = self._shared
        while self.last > last:
            for index_key in shared.index_keys(shared.items.pop()):
                shared.index[index_key].pop()
            self.last -= 1

    def without_up_to(self, number: int) -> Journal[Item]:
        """A journal of its own without the items up to `number`."""
        return Journal(self.after(number), base=number, index_keys=self._shared.index_keys)
