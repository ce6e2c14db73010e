"""Performance: figures by time, as series that a chart draws, and what they suggest.

    1h: points of 10 s      24h: of 5 min      14d: of half an hour      1y: of six hours

A chart has some hundred places, so those that are kept finer are added up to these.

The rule         what no process noted is null, and no zero. A suggestion names the figure that it
                 comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from reunite.console.operations import READ, Desk, operation
from reunite.console.standing import replica_item, sent_seqs
from reunite.engine.ports import Transaction
from reunite.engine.remembered import SeriesRecord
from reunite.metering import Figures, Gauges, Points, class_end_ms

# Seconds of the points that are kept, of those that are shown, and of all of them together.
_RANGES: Mapping[str, tuple[int, int, int]] = {
    "1h": (10, 10, 3_600),
    "24h": (300, 300, 86_400),
    "14d": (300, 1_800, 14 * 86_400),
    "1y": (3_600, 21_600, 365 * 86_400),
}

# Points of all processes that are read for a chart.
_POINTS_MAX = 50_000

# Replicas that are named.
_NAMED = 20

# From here on figures are worth a suggestion.
SLOW_PUSH_MS, SLOW_PULL_MS = 1_000.0, 500.0
LARGE_PAGE_ROWS = 5_000
FAR_BEHIND = 1_000
ERROR_SHARE = 0.01


class PerformanceAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stretch of time, until now."""

    range: Literal["1h", "24h", "14d", "1y"] = "1h"


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long the hub worked on one: half of them, nineteen of twenty, and ninety-nine of a
    hundred no longer than this; and on average."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in the whole stretch."""

    pushes: int
    pulls: int
    changes: int
    refused: int
    rows: int
    errors: int
    push: Times
    pull: Times


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that is behind."""

    id: str
    name: str
    principal: str
    behind: int
    seen_ms: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """Something to try, and the figure that it comes from."""

    code: str
    text: str


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """Series with a value for each of `times`, in seconds, null where nothing was noted."""

    range: str
    step_s: int
    from_ms: int
    to_ms: int
    times: list[int]
    series: dict[str, list[float | int | None]]
    totals: Totals
    lag: list[Lag]
    suggestions: list[Suggestion]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What was done within the last minutes."""

    window_s: int
    pushes: int
    pulls: int
    changes: int
    rows: int
    errors: int
    p95_ms: dict[str, float | None]


@operation("GET", "performance", READ, "Figures by time, and what they suggest")
def performance(desk: Desk, given: PerformanceAsked) -> Performance:
    """The series of a stretch of time."""
    desk.inside.meter.flush()
    grain, step_s, seconds = _RANGES[given.range]
    now_s = desk.now_ms // 1_000
    first_s = (now_s - seconds) // step_s * step_s + step_s
    times = list(range(first_s, now_s // step_s * step_s + 1, step_s))
    with desk.reading() as tx:
        by_time = _points(tx, grain, first_s, step_s)
        lag = _lag(desk, tx)
    points = [by_time.get(at_s) for at_s in times]
    totals = _totals(points)
    return Performance(
        range=given.range,
        step_s=step_s,
        from_ms=first_s * 1_000,
        to_ms=desk.now_ms,
        times=times,
        series=_series(points),
        totals=totals,
        lag=lag[:_NAMED],
        suggestions=_suggestions(totals, points, lag),
    )


def recent_rates(desk: Desk, tx: Transaction, window_s: int = 300) -> Rates:
    """What was done within so many seconds."""
    points = list(_points(tx, 10, desk.now_ms // 1_000 - window_s, 10).values())
    totals = _totals(points)
    return Rates(
        window_s=window_s,
        pushes=totals.pushes,
        pulls=totals.pulls,
        changes=totals.changes,
        rows=totals.rows,
        errors=totals.errors,
        p95_ms={"push": totals.push.p95_ms, "pull": totals.pull.p95_ms},
    )


def _points(tx: Transaction, grain: int, first_s: int, step_s: int) -> dict[int, Points]:
    """The points since then by step, those of a step and of all processes together."""
    found: dict[int, Points] = {}
    for record in tx.latest(SeriesRecord, grain=grain, since=first_s, limit=_POINTS_MAX):
        points = _decode(record.points)
        at_s = record.at_s // step_s * step_s
        if at_s not in found:
            found[at_s] = points
            continue
        merged = found[at_s]
        for operation_name, figures in points.operations.items():
            merged.operations.setdefault(operation_name, Figures()).add(figures)
        merged.gauges = _larger(merged.gauges, points.gauges)
    return found


_decode = msgspec.json.Decoder(Points).decode


def _larger(one: Gauges | None, other: Gauges | None) -> Gauges | None:
    """How things stood at their largest, of two processes or two times within a step."""
    if one is None or other is None:
        return one or other
    return Gauges(
        **{
            name: max(
                (
                    value
                    for value in (getattr(one, name), getattr(other, name))
                    if value is not None
                ),
                default=None,
            )
            for name in Gauges.__struct_fields__
        }
    )


def _of(points: Points | None, name: str) -> Figures | None:
    return None if points is None else points.operations.get(name)


def _all_of(points: Points) -> Iterable[Figures]:
    return points.operations.values()


def _series(points: Sequence[Points | None]) -> dict[str, list[float | int | None]]:
    """One list for each line of a chart."""
    found: dict[str, list[float | int | None]] = {}

    def line(name: str, values: Iterable[float | int | None]) -> None:
        found[name] = list(values)

    for operation_name, plural in (("push", "pushes"), ("pull", "pulls")):
        figures = [_of(one, operation_name) for one in points]
        line(
            plural,
            (None if one is None else (f.count if f else 0) for one, f in _both(points, figures)),
        )
        for share in (50, 95, 99):
            line(
                f"{operation_name}_p{share}_ms",
                (None if one is None else percentile_ms(one.classes, share) for one in figures),
            )
    for name in ("changes", "rows", "errors"):
        line(
            name,
            (
                None if one is None else sum(getattr(f, name) for f in _all_of(one))
                for one in points
            ),
        )
    pulls = [_of(one, "pull") for one in points]
    line(
        "page_rows_mean",
        (round(f.rows / f.count, 1) if f is not None and f.count else None for f in pulls),
    )
    line("page_rows_max", (None if f is None else f.rows_max for f in pulls))
    for name in Gauges.__struct_fields__:
        line(
            name,
            (
                None if one is None or one.gauges is None else getattr(one.gauges, name)
                for one in points
            ),
        )
    return found


def _both(
    points: Sequence[Points | None], figures: Sequence[Figures | None]
) -> Iterable[tuple[Points | None, Figures | None]]:
    return zip(points, figures, strict=True)


def _totals(points: Iterable[Points | None]) -> Totals:
    sums: dict[str, Figures] = {}
    for one in points:
        for name, figures in () if one is None else one.operations.items():
            sums.setdefault(name, Figures()).add(figures)
    push, pull = sums.get("push", Figures()), sums.get("pull", Figures())
    return Totals(
        pushes=push.count,
        pulls=pull.count,
        changes=push.changes,
        refused=push.refused,
        rows=pull.rows,
        errors=sum(one.errors for one in sums.values()),
        push=_times(push),
        pull=_times(pull),
    )


def _times(figures: Figures) -> Times:
    return Times(
        p50_ms=percentile_ms(figures.classes, 50),
        p95_ms=percentile_ms(figures.classes, 95),
        p99_ms=percentile_ms(figures.classes, 99),
        mean_ms=round(figures.seconds * 1_000 / figures.count, 2) if figures.count else None,
    )


def percentile_ms(classes: Mapping[int, int], share: int) -> float | None:
    """The time that so many of a hundred did not exceed: the end of the class of the last one."""
    total = sum(classes.values())
    if not total:
        return None
    wanted = total * share / 100
    counted = 0
    for number in sorted(classes):
        counted += classes[number]
        if counted >= wanted:
            break
    return round(class_end_ms(number), 2)


def _lag(desk: Desk, tx: Transaction) -> list[Lag]:
    sent = sent_seqs(tx)
    items = [
        replica_item(
            record,
            head_seq=tx.head().seq,
            trimmed_seq=tx.trimmed_seq(),
            now_ms=desk.now_ms,
            sent=sent,
        )
        for record in tx.replicas()
    ]
    found = [
        Lag(
            id=one.id,
            name=one.name,
            principal=one.principal,
            behind=one.behind,
            seen_ms=one.seen_ms,
        )
        for one in items
        if one.behind
    ]
    return sorted(found, key=lambda one: (-one.behind, one.seen_ms))


def _suggestions(
    totals: Totals, points: Sequence[Points | None], lag: Sequence[Lag]
) -> list[Suggestion]:
    told = []
    if totals.push.p95_ms is not None and totals.push.p95_ms > SLOW_PUSH_MS:
        told.append(
            Suggestion(
                code="slow-pushes",
                text=f"One push in twenty takes more than {totals.push.p95_ms:.0f} ms: look at "
                "hooks and triggers of your own, and at foreign keys without an index.",
            )
        )
    if totals.pull.p95_ms is not None and totals.pull.p95_ms > SLOW_PULL_MS:
        told.append(
            Suggestion(
                code="slow-pulls",
                text=f"One pull in twenty takes more than {totals.pull.p95_ms:.0f} ms: give the "
                "columns that rules and filters name an index.",
            )
        )
    pages = [figures.rows_max for one in points if (figures := _of(one, "pull"))]
    if pages and max(pages) >= LARGE_PAGE_ROWS:
        told.append(
            Suggestion(
                code="large-pages",
                text=f"A page had {max(pages)} rows: devices that need only some of them may clone "
                "in part.",
            )
        )
    if lag and lag[0].behind >= FAR_BEHIND:
        told.append(
            Suggestion(
                code="far-behind",
                text=f"{lag[0].name or lag[0].id} is {lag[0].behind} commits behind: see whether "
                "that device still syncs.",
            )
        )
    uses = totals.pushes + totals.pulls
    if uses and totals.errors / uses >= ERROR_SHARE:
        told.append(
            Suggestion(
                code="errors",
                text=f"{totals.errors} of {uses} pushes and pulls ended with an error: the sync "
                "log says which.",
            )
        )
    return told
