"""Who did what: entries by what is asked of them, and changes that are ascribed at the hub."""

from __future__ import annotations

from reunite.core.change import Conflict, Op, Outcome, OutcomeKind
from reunite.core.principal import Principal
from reunite.engine.ports import Erasure, LogFilter, ReplicaRecord, StoredOutcome
from reunite.testing.contracts.asking import LIMIT, all_touched, log_of, number
from reunite.testing.contracts.tables import (
    PARENT,
    PERSON,
    StoreSubject,
    inserted,
    parent,
    writes,
)

ANNA = Principal(user="anna")


def _push(subject: StoreSubject, id_: str) -> None:
    """A push of one row, by anna's replica."""
    record = ReplicaRecord(
        id="r1",
        principal="anna",
        name="laptop",
        last_n=0,
        known_n=0,
        created_ms=0,
        seen_ms=0,
        seen_seq=0,
    )
    with subject.store.write() as transaction:
        if transaction.replica("r1") is None:
            transaction.add_replica(record)
        transaction.apply(writes(inserts={"parent": [parent(id_)]}))
        transaction.add_push(
            replica="r1",
            principal="anna",
            last_n=1,
            known_n=0,
            now_ms=0,
            origins=[],
            outcomes=[],
        )


class AuditingContract:
    def test_the_log_gives_the_entries_that_are_asked_for(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("a"))
            inserted(program, PERSON, (1, None, None))
        number(subject.store, now_ms=1_000)
        _push(subject, "b")
        number(subject.store, now_ms=2_000)
        with subject.foreign() as program:
            inserted(program, PARENT, parent("c"))

        def keys(limit: int = LIMIT, **asked: object) -> list[object]:
            only = LogFilter(**asked)  # type: ignore[arg-type]
            with subject.store.read() as transaction:
                entries = transaction.log(after_id=0, until_id=2**53, limit=limit, only=only)
                everything = transaction.log(after_id=0, until_id=2**53, limit=LIMIT)
            assert entries == [entry for entry in everything if only.means(entry)][:limit]
            return [entry.key[0] for entry in entries]

        assert keys() == ["a", 1, "b", "c"]
        assert keys(table="parent") == ["a", "b", "c"]
        assert keys(table="parent", limit=2) == ["a", "b"]
        assert keys(principal="anna") == ["b"]
        assert keys(replica="r1") == ["b"]
        assert keys(replica="r2") == []
        assert keys(since_ms=2_000) == ["b"], "what has no number has no time"
        assert keys(since_ms=1_000, until_ms=2_000) == ["a", 1]
        assert keys(table="parent", until_ms=2_000) == ["a"]

    def test_what_a_transaction_did_is_ascribed_to_a_principal(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("a"))
        with subject.store.write() as transaction:
            with transaction.lent() as program:
                inserted(subject.writer(program), PARENT, parent("b"), parent("c"))
            transaction.attribute("berta", now_ms=5)
            with transaction.lent() as program:
                inserted(subject.writer(program), PARENT, parent("d"))
            transaction.attribute("carl", now_ms=5)
            transaction.attribute("dora", now_ms=5)
            with transaction.lent() as program:
                inserted(subject.writer(program), PARENT, parent("e"))
        with subject.foreign() as program:
            inserted(program, PARENT, parent("f"))
        number(subject.store)
        who = {entry.key[0]: (entry.principal, entry.replica) for entry in log_of(subject.store)}
        assert who == {
            "a": (None, None),
            "b": ("berta", None),
            "c": ("berta", None),
            "d": ("carl", None),
            "e": (None, None),
            "f": (None, None),
        }

    def test_what_is_ascribed_at_the_hub_is_no_push(self, subject: StoreSubject) -> None:
        _push(subject, "a")
        with subject.store.read() as transaction:
            mark = transaction.pushes(None).mark
            before = transaction.replicas()
        with subject.store.write() as transaction:
            with transaction.lent() as program:
                inserted(subject.writer(program), PARENT, parent("b"))
            transaction.attribute("berta", now_ms=5)
        with subject.store.read() as transaction:
            assert transaction.pushes(mark).last_n.keys() <= {"r1"}
            assert transaction.replicas() == before

    def test_erased_entries_stay_in_their_places_without_images(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("a", name="one"), parent("b", name="kept"))
            program.update("parent", ("a",), {"name": "two"})
            program.delete("parent", ("a",))
        number(subject.store)
        before = log_of(subject.store)
        erasure = Erasure(
            table="parent",
            key=("a",),
            change_id=before[-1].id,
            changes=3,
            at_ms=7,
            principal="ann",
            seen_by=frozenset({"v1", "v2"}),
            unseen_by=frozenset({"v3"}),
        )
        ids = [entry.id for entry in before if entry.key == ("a",)]
        with subject.store.write() as transaction:
            assert transaction.erase([erasure], ids) == 0
        number(subject.store)
        *after, told = log_of(subject.store)
        assert [entry.id for entry in after] == [entry.id for entry in before]
        assert [(e.key, e.op, e.seq) for e in after] == [(e.key, e.op, e.seq) for e in before]
        assert [e.is_erased for e in after] == [e.key == ("a",) for e in before]
        assert all(entry.old is None for entry in after)
        assert (told.key, told.op, told.old, told.is_erased) == (("a",), Op.UPDATE, None, True)
        with subject.store.read() as transaction:
            assert transaction.entries("parent", [("a",)], after_id=0)[-1] == told
            touched = all_touched(transaction)
            assert {touch.key: touch.is_erased for touch in touched} == {
                ("a",): True,
                ("b",): False,
            }
            inserts = {entry.id for entry in before if entry.op is Op.INSERT}
            found = transaction.old_values("parent", [*ids, told.id], ("name",))
            assert set(found) <= inserts, "of the others nobody can say"
            assert transaction.erasures() == [erasure]
            assert transaction.erasures("parent", [("a",), ("b",)]) == [erasure]
            assert transaction.erasures("parent", [("b",)]) == []
            assert transaction.erasures("note", [("a",)]) == []

    def test_outcomes_lose_their_values_and_stay(self, subject: StoreSubject) -> None:
        _push(subject, "x")
        conflict = Conflict(
            column="name", base="one", hub="two", replica="three", result="two", policy="hub_wins"
        )
        blank = Conflict(
            column="name", base=None, hub=None, replica=None, result=None, policy="hub_wins"
        )
        kinds = {
            "a": Outcome(kind=OutcomeKind.MERGED, conflicts=(conflict,)),
            "b": Outcome(kind=OutcomeKind.MERGED, conflicts=(conflict,)),
            "c": Outcome(kind=OutcomeKind.REJECTED, code="unique", reason="one is taken"),
        }
        stored = [
            StoredOutcome(
                replica="r1",
                n=n,
                id=f"{n:032x}",
                table="parent",
                op=Op.UPDATE,
                key=(id_,),
                old_key=None,
                outcome=outcome,
            )
            for n, (id_, outcome) in enumerate(kinds.items(), 2)
        ]
        with subject.store.write() as transaction:
            transaction.add_push(
                replica="r1",
                principal="anna",
                last_n=4,
                known_n=0,
                now_ms=0,
                origins=[],
                outcomes=stored,
            )
        erasures = [
            Erasure(table="parent", key=(id_,), change_id=0, changes=0, at_ms=0) for id_ in "ac"
        ]
        with subject.store.write() as transaction:
            assert transaction.erase(erasures, []) == 2
        with subject.store.read() as transaction:
            assert list(transaction.last_erasures(1)) == erasures[1:], "the newest"
            assert list(transaction.last_erasures(5)) == erasures, "oldest first"
        with subject.store.read() as transaction:
            found = {each.key[0]: each for each in transaction.outcomes("r1", after_n=1)}
        assert found["a"].outcome == Outcome(kind=OutcomeKind.MERGED, conflicts=(blank,))
        assert found["b"] == stored[1]
        assert (found["c"].outcome.code, found["c"].id) == ("unique", stored[2].id)
        assert "taken" not in str(found["c"].outcome.reason)

    def test_the_views_that_are_kept_can_all_be_read(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            transaction.keep_view("h1", "one", views_max=2)
            transaction.keep_view("h2", "two", views_max=2)
            transaction.keep_view("h3", "three", views_max=2)
        with subject.store.read() as transaction:
            assert transaction.views() == {"h2": "two", "h3": "three"}

    def test_what_was_undone_is_ascribed_to_nobody(self, subject: StoreSubject) -> None:
        class GivenUpError(Exception):
            pass

        try:
            with subject.store.write() as transaction:
                with transaction.lent() as program:
                    inserted(subject.writer(program), PARENT, parent("a"))
                transaction.attribute("berta", now_ms=5)
                raise GivenUpError
        except GivenUpError:
            pass
        with subject.foreign() as program:
            inserted(program, PARENT, parent("b"))
        number(subject.store)
        assert [(entry.key, entry.principal) for entry in log_of(subject.store)] == [(("b",), None)]
