"""Runs jobs: a thread for each, and a lease in the database that says which process runs it.

    due ──► lease taken? ──► run ──► due again, its period after it began

The rule         a job never runs in two processes at once, and no process waits for another: who
                 does not get the lease tries again when the job is next due. A process that dies
                 keeps its leases for `LEASE_S` beyond the period; one that stops gives them back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from reunite.engine.ports import Clock, Store
from reunite.errors import ReuniteError

logger = logging.getLogger("reunite.jobs")

# Seconds beyond a job's period for which a process that does not come back keeps its lease; while
# a job runs, it is renewed four times as often.
LEASE_S = 30.0

# Before the name of a job that `every` made, in the database.
_PREFIX = "every:"

Work: TypeAlias = Callable[[], object]


class Job(NamedTuple):
    """Work that is to be done again and again."""

    name: str
    seconds: float
    work: Work


class Jobs:
    """The jobs of one process.

    who          tells this process from the others
    monotonic    seconds of any beginning, which never go back
    """

    def __init__(
        self,
        store: Store,
        *,
        who: str,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._who, self._clock = store, who, clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads: list[threading.Thread] = []
        self._has_begun = False
        self._stop = threading.Event()

    def __contains__(self, name: str) -> bool:
        return name in self._jobs

    def all(self) -> list[Job]:
        """The jobs of this process."""
        with self._lock:
            return list(self._jobs.values())

    def add(self, job: Job) -> None:
        """Have a job; it begins at once after `start`."""
        with self._lock:
            self._jobs[job.name] = job
            if self._has_begun:
                self._begin(job)

    def start(self) -> None:
        """Begin to run them, in threads that end with the process. Does nothing a second time."""
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
            self._stop.clear()
            for job in self._jobs.values():
                self._begin(job)

    def stop(self) -> None:
        """Wait for what runs, begin nothing more, and let other processes have the jobs."""
        with self._lock:
            threads, self._threads = self._threads, []
            self._has_begun = False
            self._stop.set()
        for thread in threads:
            if thread is not threading.current_thread():  # a job may close its hub
                thread.join()

    def _begin(self, job: Job) -> None:
        thread = threading.Thread(
            target=self._repeat, args=(job,), name=f"reunite-job-{job.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _repeat(self, job: Job) -> None:
        is_mine = False
        while not self._stop.is_set():
            began_at = self._monotonic()
            is_mine = self._lease(job, job.seconds + LEASE_S)
            if is_mine:
                self._run(job)
            rest = job.seconds - (self._monotonic() - began_at)
            if self._stop.wait(max(rest, 0.0)):
                break
        if is_mine:
            self._lease(job, 0.0)

    def _run(self, job: Job) -> None:
        has_ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(job, has_ended), daemon=True)
        renewing.start()
        try:
            job.work()
        except Exception:
            # It is due again in its period; whoever looks after the hub reads why it failed.
            logger.exception("The job %s failed.", job.name)
        finally:
            has_ended.set()
            renewing.join()

    def _renew(self, job: Job, has_ended: threading.Event) -> None:
        while not has_ended.wait(LEASE_S / 4):
            self._lease(job, job.seconds + LEASE_S)

    def _lease(self, job: Job, seconds: float) -> bool:
        """Take, keep or (with 0) give back the lease; whether this process has it."""
        now_ms = self._clock.now_ms()
        try:
            with self._store.write() as tx:
                return tx.take_job(
                    _PREFIX + job.name,
                    who=self._who,
                    now_ms=now_ms,
                    until_ms=now_ms + round(seconds * 1_000),
                )
        except ReuniteError as error:
            logger.warning("Nobody knows whose turn the job %s is: %s", job.name, error)
            return False
