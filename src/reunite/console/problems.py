"""Refusals of the console that no `ReuniteError` stands for: what is not there, and what somebody
else has changed meanwhile.

They leave as `application/problem+json`, as everything that goes wrong, and may carry what the page
needs to go on: how it is now, where to log in.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from reunite.protocol.codec import encode
from reunite.protocol.problem import TYPE_PREFIX, Problem, http_problem
from reunite.protocol.routes import PROBLEM_TYPE

CHANGED_STATUS, CHANGED_CODE = 412, "changed-meanwhile"


class ConsoleProblem(Exception):  # noqa: N818 — an answer, not a failure
    """An answer that is a problem, with what more it says."""

    def __init__(self, problem: Problem, **more: Any) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.more = more

    def response(self) -> Response:
        """The answer."""
        body = {**msgspec.to_builtins(self.problem), **self.more}
        return Response(encode(body), self.problem.status, media_type=PROBLEM_TYPE)


def missing(what: str) -> ConsoleProblem:
    """There is no such thing."""
    return ConsoleProblem(http_problem("not-found", what))


def changed(what: str, **more: Any) -> ConsoleProblem:
    """It is not any more what the caller believes."""
    problem = Problem(
        type=TYPE_PREFIX + CHANGED_CODE,
        title="Somebody has changed it meanwhile",
        status=CHANGED_STATUS,
        code=CHANGED_CODE,
        detail=what,
    )
    return ConsoleProblem(problem, **more)
