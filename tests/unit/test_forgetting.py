"""Outcomes of those who ask again for some time only: kept for that time, then forgotten."""

from __future__ import annotations

import msgspec

from reunite.core.change import APPLIED, Op
from reunite.engine.forgetting import (
    ANSWERS_KEPT_MS,
    FORGET_NOTES_MAX,
    NOTED_EVERY_MS,
    forget_answers,
)
from reunite.engine.ports import ReplicaRecord, StoredOutcome
from reunite.engine.remembered import (
    DECIDED,
    OPEN,
    AnsweredRecord,
    HubConflictRecord,
    moment_id,
)
from reunite.stores.memory import MemoryStore

START = 1_800_000_000_000


def record(replica: str) -> ReplicaRecord:
    return ReplicaRecord(
        id=replica, principal="ann", name="", last_n=0, known_n=0, created_ms=START, seen_ms=START,
        seen_seq=0,
    )  # fmt: skip


def push(store: MemoryStore, replica: str, now_ms: int, count: int = 1) -> None:
    """As an API does it: what is old goes, then so many changes come."""
    with store.write() as tx:
        found = tx.replica(replica)
        if found is None:
            found = record(replica)
            tx.add_replica(found)
        forget_answers(tx, found, now_ms=now_ms)
        last_n = found.last_n + count
        outcomes = [
            StoredOutcome(
                replica=replica, n=n, id=f"{replica}-{n}", table="t", op=Op.INSERT, key=(n,),
                old_key=None, outcome=APPLIED,
            )
            for n in range(found.last_n + 1, last_n + 1)
        ]  # fmt: skip
        tx.add_push(
            replica=replica, principal="ann", last_n=last_n, known_n=0, now_ms=now_ms, origins=(),
            outcomes=outcomes,
        )  # fmt: skip


def kept(store: MemoryStore, replica: str) -> list[int]:
    with store.read() as tx:
        return [outcome.n for outcome in tx.outcomes(replica, after_n=0)]


def notes(store: MemoryStore) -> int:
    with store.read() as tx:
        return len(tx.records(AnsweredRecord))


def test_every_answer_is_kept_for_its_time_and_not_much_longer() -> None:
    store, hour = MemoryStore(), 3_600_000
    at: dict[int, int] = {}
    for n in range(1, 60 * 24, 7):
        now_ms = START + n * hour
        push(store, "a", now_ms)
        at[len(at) + 1] = now_ms
        ages = {now_ms - at[number] for number in kept(store, "a")}
        missing = {now_ms - moment for number, moment in at.items()} - ages
        assert all(age > ANSWERS_KEPT_MS for age in missing)
        assert max(ages) <= ANSWERS_KEPT_MS + 2 * NOTED_EVERY_MS
        assert notes(store) <= ANSWERS_KEPT_MS // NOTED_EVERY_MS + 2


def test_who_pushes_no_more_is_forgotten_by_what_others_push() -> None:
    store = MemoryStore()
    for number in range(3 * FORGET_NOTES_MAX):
        push(store, f"r{number}", START, 3)
        push(store, f"r{number}", START + NOTED_EVERY_MS)
    later = START + 2 * NOTED_EVERY_MS + ANSWERS_KEPT_MS
    for step in range(7):
        push(store, "a", later + step)
    assert [kept(store, f"r{number}") for number in range(3 * FORGET_NOTES_MAX)] == [
        [4] for _ in range(3 * FORGET_NOTES_MAX)
    ]
    assert notes(store) == 1


def test_a_replica_that_is_nobody_s_api_keeps_all() -> None:
    store = MemoryStore()
    with store.write() as tx:
        tx.add_replica(record("till"))
    with store.write() as tx:
        tx.add_push(
            replica="till", principal="ann", last_n=1, known_n=0, now_ms=START, origins=(),
            outcomes=[StoredOutcome(replica="till", n=1, id="x", table="t", op=Op.INSERT, key=(1,),
                                    old_key=None, outcome=APPLIED)],
        )  # fmt: skip
    for day in range(90):
        push(store, "a", START + day * NOTED_EVERY_MS)
    assert kept(store, "till") == [1]


def test_what_waits_for_somebody_s_decision_stays_and_goes_when_it_was_taken() -> None:
    store = MemoryStore()
    push(store, "a", START, 10)
    conflict = HubConflictRecord(
        id=moment_id(START, "c"), at_ms=START, replica="a", n=4, change="a-4", place=0,
        table_name="t", key="[4]", column_name="x", policy="ask", state=OPEN,
        principal="ann",
    )  # fmt: skip

    def state_is(state: str) -> None:
        with store.write() as tx:
            tx.put_record(msgspec.structs.replace(conflict, state=state))

    state_is(OPEN)
    for day in range(1, 40):
        push(store, "a", START + day * NOTED_EVERY_MS)
    assert kept(store, "a")[:2] == [4, 5]
    state_is(DECIDED)
    push(store, "a", START + 40 * NOTED_EVERY_MS)
    push(store, "a", START + 41 * NOTED_EVERY_MS)
    assert kept(store, "a")[0] > 10


def test_a_clock_that_was_wrong_does_no_harm_for_good() -> None:
    store = MemoryStore()
    push(store, "a", START + 400 * NOTED_EVERY_MS, 5)
    for day in range(40):
        push(store, "a", START + day * NOTED_EVERY_MS)
    assert kept(store, "a")[0] > 5
