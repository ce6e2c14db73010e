"""Periodic work: once for all processes, and never in the way."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reunite import Hub
from reunite.errors import BadRequestError
from reunite.jobs import runner
from reunite.server import ServerThread
from tests.integration.processes import wait_until

# No job of these tests is due again by itself in the time that a test takes, unless it is short.
LONG, SHORT = 3_600.0, 0.01


class Clock:
    """The wall time, as the test says."""

    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hubs(tmp_path: Path, clock: Clock) -> Iterator[list[Hub]]:
    """Three hubs on one database, as three processes have them."""
    with sqlite3.connect(tmp_path / "hub.db") as database:
        database.execute("create table note (id text primary key not null)")
    database.close()
    made = [Hub(tmp_path / "hub.db", clock=clock) for _ in range(3)]
    for hub in made:
        hub.track_all()
    yield made
    for hub in made:
        hub.close()


def test_a_job_runs_again_and_again(hubs: list[Hub]) -> None:
    runs: list[str] = []
    hubs[0].every(seconds=SHORT, name="count")(lambda: runs.append("run"))
    assert runs == []
    hubs[0].start_jobs()
    wait_until(lambda: len(runs) >= 3)
    hubs[0].stop_jobs()
    done = len(runs)
    hubs[0].start_jobs()
    wait_until(lambda: len(runs) > done)


def test_of_all_processes_one_runs_it(hubs: list[Hub]) -> None:
    runs: list[int] = []
    for index, hub in enumerate(hubs):
        hub.every(seconds=SHORT, name="count")(lambda index=index: runs.append(index))
        hub.start_jobs()
    wait_until(lambda: len(runs) >= 20)
    assert len(set(runs)) == 1


def test_who_stops_gives_its_jobs_to_the_others_at_once(hubs: list[Hub]) -> None:
    runs: list[int] = []
    for index, hub in enumerate(hubs[:2]):
        hub.every(seconds=SHORT, name="count")(lambda index=index: runs.append(index))
        hub.start_jobs()
        wait_until(lambda: bool(runs))
    assert set(runs) == {0}
    hubs[0].close()
    wait_until(lambda: runs[-1] == 1)


def test_the_jobs_of_a_process_that_died_go_to_another_when_its_lease_is_over(
    hubs: list[Hub], clock: Clock
) -> None:
    runs: list[int] = []
    dead = runner.Jobs(hubs[0]._store, who="dead", clock=clock)
    assert dead._lease(runner.Job("count", SHORT, print), SHORT + runner.LEASE_S)
    hubs[1].every(seconds=SHORT, name="count")(lambda: runs.append(1))
    tried = threading.Event()
    hubs[1].every(seconds=SHORT, name="other")(tried.set)
    hubs[1].start_jobs()
    assert tried.wait(30)
    assert runs == []
    clock.at_ms += round(runner.LEASE_S * 1_000) + 100
    wait_until(lambda: bool(runs))


def test_a_job_that_takes_long_keeps_its_lease(
    hubs: list[Hub], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LEASE_S", 0.2)
    asked: dict[str, int] = {"one": 0, "other": 0}

    def count(hub: Hub, name: str) -> None:
        lease = hub._jobs._lease

        def counted(job: runner.Job, seconds: float) -> bool:
            result = lease(job, seconds)
            asked[name] += 1
            return result

        monkeypatch.setattr(hub._jobs, "_lease", counted)

    began, may_end, others = threading.Event(), threading.Event(), threading.Event()

    def long() -> None:
        began.set()
        may_end.wait(60)

    hubs[0].every(seconds=SHORT, name="long")(long)
    count(hubs[0], "one")
    hubs[0].start_jobs()
    assert began.wait(30)
    hubs[1].every(seconds=SHORT, name="long")(others.set)
    count(hubs[1], "other")
    hubs[1].start_jobs()
    for _ in range(6):  # three times the lease
        before = dict(asked)
        wait_until(lambda: all(asked[name] > before[name] + 1 for name in asked))  # noqa: B023
        assert not others.is_set()
        clock.at_ms += 100
    may_end.set()


def test_a_failure_is_logged_and_the_job_is_due_again(
    hubs: list[Hub], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[int] = []

    def breaks() -> None:
        runs.append(1)
        raise ValueError("out of paper")

    hubs[0].every(seconds=SHORT, name="print")(breaks)
    with caplog.at_level(logging.ERROR, "reunite.jobs"):
        hubs[0].start_jobs()
        wait_until(lambda: len(runs) >= 2)
        hubs[0].stop_jobs()
    assert "The job print failed." in caplog.text
    assert "out of paper" in caplog.text


def test_a_slow_job_does_not_keep_another_waiting(hubs: list[Hub]) -> None:
    may_end, quick = threading.Event(), threading.Event()
    hubs[0].every(seconds=LONG, name="slow")(lambda: may_end.wait(60))
    hubs[0].every(seconds=LONG, name="quick")(quick.set)
    hubs[0].start_jobs()
    assert quick.wait(30)
    may_end.set()


def test_jobs_begin_when_the_hub_is_served_and_late_ones_at_once(hubs: list[Hub]) -> None:
    early, late = threading.Event(), threading.Event()
    hubs[0].every(seconds=LONG, name="early")(early.set)
    with ServerThread(hubs[0]):
        assert early.wait(30)
        hubs[0].every(seconds=LONG, name="late")(late.set)
        assert late.wait(30)


def test_the_first_job_of_a_hub_that_is_served_already_begins_at_once(hubs: list[Hub]) -> None:
    runs: list[str] = []
    hubs[0].start_jobs()
    hubs[0].every(seconds=LONG, name="late")(lambda: runs.append("run"))
    wait_until(lambda: runs == ["run"])


def test_a_job_may_close_its_hub(hubs: list[Hub]) -> None:
    closed = threading.Event()

    def close() -> None:
        hubs[0].close()
        closed.set()

    hubs[0].every(seconds=SHORT, name="close")(close)
    hubs[0].start_jobs()
    assert closed.wait(30)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "60", None, True])
def test_a_period_that_is_none_is_refused(hubs: list[Hub], seconds: Any) -> None:
    with pytest.raises(BadRequestError, match="no period"):
        hubs[0].every(seconds=seconds)


def test_two_jobs_of_one_name_and_coroutine_functions_are_refused(hubs: list[Hub]) -> None:
    @hubs[0].every(seconds=LONG)
    def report() -> None:
        pass

    with pytest.raises(BadRequestError, match=r"report.* already: give this one a name"):
        hubs[0].every(seconds=LONG)(report)

    async def later() -> None:
        pass

    with pytest.raises(BadRequestError, match="coroutine"):
        hubs[0].every(seconds=LONG)(later)

    with pytest.raises(BadRequestError, match="a function"):
        hubs[0].every(seconds=LONG)(None)  # type: ignore[type-var]
    with pytest.raises(BadRequestError, match="name is a text"):
        hubs[0].every(seconds=LONG, name=5)  # type: ignore[arg-type]
