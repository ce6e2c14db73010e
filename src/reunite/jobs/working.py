"""What a hub has for periodic work: `hub.every(seconds=60)`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

from reunite.errors import BadRequestError
from reunite.jobs.runner import Job, Jobs, Work

SomeWork = TypeVar("SomeWork", bound=Work)


class Working:
    """The hub's jobs. `Hub` is one."""

    _jobs: Jobs

    def every(self, *, seconds: float, name: str | None = None) -> Callable[[SomeWork], SomeWork]:
        """Do something again and again, from when the hub is first served until it is closed:

            @hub.every(seconds=60)
            def report():
                ...

        Of all processes on one database that have a job of this name, one runs it; if that one
        dies, another does, some `LEASE_S` later. It runs in a thread, at once and then so many
        seconds after it last began, or without a pause if it takes longer.
        What it raises is logged (`reunite.jobs`), and it runs again when it is due. It takes no
        argument and is no coroutine function; the function is returned as it is.

        seconds   more than 0
        name      the same in all processes; the function's module and name by default

        Raises BadRequestError for a period that is none, and for a name that is taken.
        """
        _check_period(seconds)
        _check_name(name)

        def add(work: SomeWork) -> SomeWork:
            if inspect.iscoroutinefunction(work) or not callable(work):
                raise BadRequestError(
                    "A job runs in a thread: give a function, not a coroutine function."
                )
            own = name or f"{work.__module__}.{work.__qualname__}"
            if own in self._jobs:
                raise BadRequestError(f"There is a job {own!r} already: give this one a name.")
            self._jobs.add(Job(name=own, seconds=seconds, work=work))
            return work

        return add

    def start_jobs(self) -> None:
        """Run the jobs of `every` from now on. `hub.serve` and `ServerThread` do it by themselves;
        behind another server, call it when that starts. `close` stops them."""
        self._jobs.start()

    def stop_jobs(self) -> None:
        """Wait for the jobs that run, and begin no more; `start_jobs` goes on."""
        self._jobs.stop()


def _check_period(seconds: Any) -> None:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not (is_number and seconds > 0 and math.isfinite(seconds)):
        raise BadRequestError(f"{seconds!r} seconds are no period: give more than 0.")


def _check_name(name: Any) -> None:
    if name is not None and not (isinstance(name, str) and name):
        raise BadRequestError(f"A job's name is a text; {name!r} is none.")
