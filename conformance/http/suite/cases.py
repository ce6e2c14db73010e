"""Cases: each has a name, the sentence of docs/protocol.md that it checks, and a function.

A case is a function of a `Hub`. It returns when the hub keeps what the sentence says, raises
`WrongError` when not, and `NotCheckedError` when this hub cannot be asked.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

CaseFunction = Callable[[Any], None]


class WrongError(Exception):
    """The hub does not keep to the protocol."""


class NotCheckedError(Exception):
    """The case cannot be tried on this hub; the text says what it would need."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that a hub must do. `says` stands word for word in docs/protocol.md."""

    section: str
    name: str
    says: str
    function: CaseFunction


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a case: `verdict` is pass, fail or skip, `reason` why it is not pass."""

    section: str
    name: str
    says: str
    verdict: str
    reason: str
    seconds: float


CASES: list[Case] = []


def case(says: str) -> Callable[[CaseFunction], CaseFunction]:
    """Register a function as a case; its name is the case's, its module's the section's."""

    def add(function: CaseFunction) -> CaseFunction:
        CASES.append(
            Case(
                section=function.__module__.rpartition(".")[2],
                name=function.__name__.replace("_", " "),
                says=says,
                function=function,
            )
        )
        return function

    return add


def must(condition: Any, text: str) -> None:
    """The hub is wrong, in these words, unless the condition holds."""
    if not condition:
        raise WrongError(text)


def same(got: Any, expected: Any, what: str) -> None:
    """The hub is wrong unless both are equal as JSON values; `true` is not 1, and 2 is 2.0."""
    if not _alike(got, expected):
        raise WrongError(f"{what} is {_shown(got)}, not {_shown(expected)}")


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return bool(a == b)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + "…"


def run(hub: Any, cases: Iterable[Case], tell: Callable[[Result], None]) -> list[Result]:
    """Run the cases one after another; `tell` hears of each when it is done."""
    results = []
    for one in cases:
        begun = time.monotonic()
        verdict, reason = "pass", ""
        try:
            one.function(hub)
        except NotCheckedError as exc:
            verdict, reason = "skip", str(exc)
        except WrongError as exc:
            verdict, reason = "fail", str(exc)
        except Exception as exc:
            # An answer of another shape than the case could imagine.
            place = traceback.extract_tb(exc.__traceback__)[-1]
            verdict = "fail"
            reason = f"{exc!r} at {place.name}, line {place.lineno}: {place.line}"
        result = Result(
            section=one.section,
            name=one.name,
            says=one.says,
            verdict=verdict,
            reason=reason,
            seconds=round(time.monotonic() - begun, 3),
        )
        tell(result)
        results.append(result)
    return results


def as_json(results: list[Result]) -> str:
    """All results as one JSON object."""
    counts = {
        verdict: sum(result.verdict == verdict for result in results)
        for verdict in ("pass", "fail", "skip")
    }
    return json.dumps({**counts, "cases": [asdict(result) for result in results]}, indent=1)
