"""A push that the database undoes whole is settled in halves, each in a transaction of its own.

    settle ──UndoneError──► first half, then second half, each likewise
                              └── one group is left ──► settled again, rejected as it was refused

SQLite's `RAISE(ROLLBACK)` and `ON CONFLICT ROLLBACK` end the transaction of whoever writes, so no
savepoint confines what they refuse.

The rule         halves are settled in the order of their numbers, as if the replica had sent them
                 one after the other; one that is not settled leaves what came before it as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from reunite.engine.ports import UndoneError
from reunite.protocol.push import GroupMessage, PushAnswer, PushRequest, Run

# Settles a request in one transaction. What it is given beside it is why its only group cannot
# take effect; then it rejects that.
Settle: TypeAlias = Callable[[PushRequest, UndoneError | None], PushAnswer]


def settle_in_halves(request: PushRequest, settle: Settle) -> PushAnswer:
    """The answer to all of it. Raises what `settle` raises, but for UndoneError; then the first
    part of it may be settled. Costs two transactions for each halving, where there is one."""
    try:
        return settle(request, None)
    except UndoneError as exc:
        groups = _halves(request.groups)
        if groups is None:
            return settle(request, exc)
    first = msgspec.structs.replace(request, groups=groups[0])
    last_n = request.first_n - 1 + sum(map(_count, groups[0]))
    answer = settle_in_halves(first, settle)
    if answer.last_n < last_n:
        return answer  # the push ended there
    second = msgspec.structs.replace(request, groups=groups[1], first_n=last_n + 1, lease={})
    rest = settle_in_halves(second, settle)
    return msgspec.structs.replace(
        rest,
        first_n=answer.first_n,
        outcomes=answer.outcomes + rest.outcomes,
        blocks=answer.blocks + rest.blocks,
    )


_Groups: TypeAlias = tuple[GroupMessage, ...]


def _halves(groups: _Groups) -> tuple[_Groups, _Groups] | None:
    """The groups in two parts; a single one only where it may be split."""
    if len(groups) > 1:
        middle = len(groups) // 2
        return groups[:middle], groups[middle:]
    group = groups[0]
    count = _count(group)
    if not group.divisible or count < 2:
        return None
    before: list[Run] = []
    after: list[Run] = []
    left = count // 2
    for run in group.runs:
        size = len(run.ids)
        if left > 0:
            before.append(_cut(run, 0, min(left, size)))
        if left < size:
            after.append(_cut(run, max(left, 0), size))
        left -= size
    return (
        (msgspec.structs.replace(group, runs=tuple(before)),),
        (msgspec.structs.replace(group, runs=tuple(after)),),
    )


def _count(group: GroupMessage) -> int:
    return sum(len(run.ids) for run in group.runs)


def _cut(run: Run, start: int, end: int) -> Run:
    """Some of a run's changes."""
    return msgspec.structs.replace(
        run,
        ids=run.ids[start:end],
        stamps=run.stamps[start:end] if len(run.stamps) > 1 else run.stamps,
        keys=run.keys[start:end],
        old_keys=run.old_keys[start:end],
        set=run.set[start:end],
        was=run.was[start:end],
    )
