"""What the hub remembers of replicas: numbers, outcomes, key blocks; and the tokens it gave out."""

from __future__ import annotations

import msgspec
import pytest

from reunite.core.change import APPLIED, Conflict, Op, Outcome, OutcomeKind
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.stored import wire_integer
from reunite.engine.ports import (
    AppliedInserts,
    Origin,
    ReplicaRecord,
    StagedPart,
    Store,
    StoredOutcome,
    WriteTransaction,
)
from reunite.errors import UnknownReplicaError
from reunite.testing.contracts.asking import log_of, number, rows_of
from reunite.testing.contracts.tables import (
    CHILD,
    PARENT,
    PERSON,
    StoreSubject,
    child,
    inserted,
    leased,
    parent,
    writes,
)

# The largest key that is leased.
KEY_MAX = PERSON.generated_key_max

REJECTED = Outcome(
    kind=OutcomeKind.REJECTED, code="unique", reason="Taken — Größe 2.", columns=("code",)
)
MERGED = Outcome(
    kind=OutcomeKind.MERGED,
    key=("n", 2),
    conflicts=(
        Conflict(column="body", base=None, hub="h", replica=[1], result="h", policy="last_writer"),
        Conflict(column=None, base=["n", 2], hub=None, replica=["n", 3], result=None, policy="x"),
    ),
)


def _record(id_: str, **fields: object) -> ReplicaRecord:
    record = ReplicaRecord(
        id=id_,
        principal="anna",
        name=f"{id_}'s laptop",
        last_n=0,
        known_n=0,
        created_ms=1_000,
        seen_ms=1_000,
        seen_seq=0,
    )
    return msgspec.structs.replace(record, **fields)


def _register(store: Store, *ids: str) -> None:
    with store.write() as transaction:
        for id_ in ids:
            transaction.add_replica(_record(id_))


def _outcome(replica: str, n: int, outcome: Outcome = APPLIED, *, id_: str = "") -> StoredOutcome:
    return StoredOutcome(
        replica=replica,
        n=n,
        id=id_ or f"{replica}-{n}",
        table="parent",
        op=Op.UPDATE,
        key=(f"p{n}",),
        old_key=("moved",) if n % 2 else None,
        outcome=outcome,
    )


def _push(store: Store, replica: str, *outcomes: StoredOutcome, last_n: int = 0) -> None:
    """A push in which nothing was written."""
    with store.write() as transaction:
        transaction.add_push(
            replica=replica,
            principal="anna",
            last_n=last_n or outcomes[-1].n,
            known_n=0,
            now_ms=2_000,
            origins=(),
            outcomes=outcomes,
        )


def _part(first_n: int, last_n: int, *, of: str = "a" * 32) -> StagedPart:
    return StagedPart(of=of, begins_n=1, first_n=first_n, last_n=last_n, size=9)


def _body(part: StagedPart) -> bytes:
    return f"body {part.first_n} to {part.last_n}".encode()


def _push_of(transaction: WriteTransaction, n: int) -> None:
    """Record a push of one change, which made all fresh entries."""
    fresh = transaction.fresh()
    transaction.add_push(
        replica="r",
        principal="anna",
        last_n=n,
        known_n=0,
        now_ms=2_000,
        origins=[
            Origin(first_id=fresh[0].id, last_id=fresh[-1].id, first_n=n, op=Op.INSERT, stamp="s")
        ],
        outcomes=[],
    )


class ReplicasContract:
    def test_a_replica_is_known_by_its_id(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        with subject.store.read() as transaction:
            assert transaction.replica("r") == _record("r")
            assert transaction.replica("nobody") is None
            everybody = sorted(transaction.replicas(), key=lambda record: record.id)
            assert everybody == [_record("r"), _record("s")]

    def test_the_views_that_a_replica_was_sent_last_are_known(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        with subject.store.write() as transaction:
            for view in ("a", "b", "a", "c"):
                transaction.note_view("r", view, views_max=3)
            transaction.note_view("s", "x", views_max=3)
            with pytest.raises(UnknownReplicaError):
                transaction.note_view("nobody", "a", views_max=3)
        subject.reopen()
        with subject.store.write() as transaction:
            assert transaction.replica("r") == _record("r", views=("b", "a", "c"))
            transaction.note_view("r", "d", views_max=3)
            transaction.add_replica(_record("t", tenant='"red"', views=("y", "z")))
        with subject.store.read() as transaction:
            views = {record.id: record.views for record in transaction.replicas()}
            found = transaction.replica("t")
        assert found == _record("t", tenant='"red"', views=("y", "z"))
        assert views == {"r": ("a", "c", "d"), "s": ("x",), "t": ("y", "z")}

    def test_parts_of_a_group_are_held_in_order_until_they_are_dropped(
        self, subject: StoreSubject
    ) -> None:
        _register(subject.store, "r", "s")
        parts = [_part(1, 5), _part(6, 9), _part(10, 12)]
        for part in parts:
            with subject.store.write() as transaction:
                transaction.stage("r", part, _body(part), now_ms=part.first_n)
        with subject.store.write() as transaction:
            transaction.stage("s", parts[0], b"of another", now_ms=1)
        with subject.store.write() as transaction:
            assert transaction.staged("r") == parts
            assert transaction.staged("nobody") == []
            assert transaction.staged_body("r", first_n=6) == _body(parts[1])
            transaction.unstage(older_than_ms=6)
            assert transaction.staged("r") == parts[1:]
            assert transaction.staged("s") == []
            transaction.unstage(replica_id="r")
            assert transaction.staged("r") == []

    def test_a_part_replaces_those_from_its_number_on_and_those_of_other_attempts(
        self, subject: StoreSubject
    ) -> None:
        _register(subject.store, "r")
        again, other = _part(6, 7), _part(8, 9, of="b" * 32)
        with subject.store.write() as transaction:
            for part in (_part(1, 5), _part(6, 9), _part(10, 12), again):
                transaction.stage("r", part, _body(part), now_ms=1)
            assert transaction.staged("r") == [_part(1, 5), again]
            assert transaction.staged_body("r", first_n=6) == _body(again)
            transaction.stage("r", other, _body(other), now_ms=1)
            assert transaction.staged("r") == [other]

    def test_several_pushes_in_one_transaction_each_have_their_entries(
        self, subject: StoreSubject
    ) -> None:
        """Also after a savepoint between them was undone."""
        _register(subject.store, "r")
        with subject.store.write() as transaction:
            for n, id_ in enumerate("ab", 1):
                with pytest.raises(ZeroDivisionError), transaction.savepoint():
                    transaction.apply(writes(inserts={"parent": [parent("undone")]}))
                    _push_of(transaction, n)
                    raise ZeroDivisionError
                transaction.apply(writes(inserts={"parent": [parent(id_)]}))
                assert [touch.key for touch in transaction.fresh()] == [(id_,)]
                _push_of(transaction, n)
        entries = log_of(subject.store)
        assert [(entry.key, entry.n, entry.replica) for entry in entries] == [
            (("a",), 1, "r"),
            (("b",), 2, "r"),
        ]

    def test_a_push_marks_all_its_entries_and_names_the_pushed_ones(
        self, subject: StoreSubject
    ) -> None:
        """What cascades and hooks did belongs to the push, but to no number."""
        _register(subject.store, "r")
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
            inserted(program, CHILD, child(1, "p"))
        with subject.store.write() as transaction:
            transaction.apply(writes(deletes={"parent": [("p",)]}))
            with transaction.lent() as program:
                subject.writer(program).insert("note", {"a": "hook", "b": 1})
            deleted = next(touch for touch in transaction.fresh() if touch.table == "parent")
            transaction.add_push(
                replica="r",
                principal="anna",
                last_n=7,
                known_n=3,
                now_ms=2_000,
                origins=[
                    Origin(
                        first_id=deleted.id,
                        last_id=deleted.id,
                        first_n=7,
                        op=Op.UPDATE,
                        stamp="stamp-7",
                    )
                ],
                outcomes=[_outcome("r", 7)],
            )
        with subject.foreign() as program:
            inserted(program, PARENT, parent("q"))
        number(subject.store)

        found = {
            (e.table, e.op): (e.replica, e.principal, e.n, e.pushed_op, e.stamp)
            for e in log_of(subject.store)
            if e.key not in [("p",), (1,)] or e.op is Op.DELETE
        }
        assert found == {
            ("parent", Op.DELETE): ("r", "anna", 7, Op.UPDATE, "stamp-7"),
            ("child", Op.DELETE): ("r", "anna", None, None, None),
            ("note", Op.INSERT): ("r", "anna", None, None, None),
            ("parent", Op.INSERT): (None, None, None, None, None),
        }
        with subject.store.read() as transaction:
            (entry,) = transaction.entries("parent", [("p",)], after_id=2)
            assert (entry.n, entry.stamp) == (7, "stamp-7")
            assert entry.seq is not None
            record = transaction.replica("r")
        assert record == _record("r", last_n=7, known_n=3, seen_ms=2_000)

    def test_a_push_in_which_all_was_rejected_moves_the_number(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        _push(subject.store, "r", _outcome("r", 1, REJECTED), _outcome("r", 2, REJECTED))
        assert number(subject.store).seq == 0
        with subject.store.read() as transaction:
            record = transaction.replica("r")
            assert record is not None
            assert record.last_n == 2
            assert transaction.replica("s") == _record("s")

    def test_who_has_pushed_since_a_mark_is_told(self, subject: StoreSubject) -> None:
        """Others may be told as well, with the numbers that they have."""
        _register(subject.store, "r", "s")
        with subject.store.read() as transaction:
            start = transaction.pushes(None)
        assert start.last_n == {}
        _push(subject.store, "r", last_n=3)
        _push(subject.store, "r", last_n=4)
        with subject.store.read() as transaction:
            first = transaction.pushes(start.mark)
        assert first.last_n["r"] == 4
        _push(subject.store, "s", last_n=2)
        with subject.store.read() as transaction:
            second = transaction.pushes(first.mark)
            assert second.last_n["s"] == 2
            assert second.last_n.get("r", 4) == 4
            assert transaction.pushes(second.mark).mark == second.mark

    def test_outcomes_are_kept_as_they_were_given(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        outcomes = [
            _outcome("r", 1),
            _outcome("r", 2, REJECTED),
            _outcome("r", 3, MERGED),
        ]
        _push(subject.store, "r", *outcomes[:2])
        _push(subject.store, "s", _outcome("s", 1))
        _push(subject.store, "r", *outcomes[2:])
        with subject.store.read() as transaction:
            assert transaction.outcomes("r", after_n=0) == outcomes
            assert transaction.outcomes("r", after_n=1) == outcomes[1:]
            assert transaction.outcomes("r", after_n=3) == []
            assert transaction.outcomes("s", after_n=0) == [_outcome("s", 1)]
            assert transaction.outcomes("nobody", after_n=0) == []
            assert transaction.rejections("r", after_n=0) == outcomes[1:2]
            assert transaction.rejections("r", after_n=2) == []
            assert transaction.rejections("s", after_n=0) == []
            by_id = transaction.outcomes_by_id(["r-3", "s-1", "unknown"])
            assert by_id == {"r-3": outcomes[2], "s-1": _outcome("s", 1)}
            assert transaction.outcomes_by_id([]) == {}

    def test_outcomes_of_thousands_of_ids_are_read_at_once(self, subject: StoreSubject) -> None:
        _register(subject.store, "r")
        outcomes = [_outcome("r", n) for n in range(1, 3_001)]
        _push(subject.store, "r", *outcomes)
        with subject.store.read() as transaction:
            found = transaction.outcomes_by_id([outcome.id for outcome in outcomes])
            assert found == {outcome.id: outcome for outcome in outcomes}

    def test_inserts_kept_by_the_run_read_like_outcomes_kept_one_by_one(
        self, subject: StoreSubject
    ) -> None:
        _register(subject.store, "r")
        rejected = [_outcome("r", n, REJECTED) for n in (1, 303)]
        run = AppliedInserts(
            replica="r",
            first_n=2,
            table="parent",
            ids=[f"{n:012x}-{n}" for n in range(2, 303)],
            keys=[(f"key {n}",) for n in range(2, 303)],
        )
        with subject.store.write() as transaction:
            transaction.add_push(
                replica="r",
                principal="anna",
                last_n=303,
                known_n=0,
                now_ms=2_000,
                origins=(),
                outcomes=rejected,
                inserts=[run],
            )
        with subject.store.read() as transaction:
            found = transaction.outcomes("r", after_n=0)
            assert [outcome.n for outcome in found] == list(range(1, 304))
            assert [outcome for outcome in found if outcome.n in (1, 303)] == rejected
            assert {outcome.outcome.kind for outcome in found[1:-1]} == {OutcomeKind.APPLIED}
            assert [(outcome.id, outcome.key) for outcome in found[1:-1]] == list(
                zip(run.ids, run.keys, strict=True)
            )
            assert transaction.outcomes("r", after_n=301) == found[301:]
            assert transaction.rejections("r", after_n=0) == rejected
            wanted = [run.ids[0], run.ids[299], "unknown"]
            assert transaction.outcomes_by_id(wanted) == {
                run.ids[0]: found[1],
                run.ids[299]: found[300],
            }

    def test_of_an_id_answered_under_two_identities_the_first_answer_counts(
        self, subject: StoreSubject
    ) -> None:
        _register(subject.store, "new", "old")
        first = _outcome("old", 5, MERGED, id_="change")
        again = _outcome("new", 1, Outcome(kind=OutcomeKind.DUPLICATE), id_="change")
        _push(subject.store, "old", first)
        _push(subject.store, "new", again)
        with subject.store.read() as transaction:
            assert transaction.outcomes_by_id(["change"]) == {"change": first}
            assert transaction.outcomes("new", after_n=0) == [again]
            assert transaction.outcomes("old", after_n=0) == [first]

    def test_outcomes_are_forgotten_up_to_a_number_and_in_pieces(
        self, subject: StoreSubject
    ) -> None:
        _register(subject.store, "r", "s")
        _push(subject.store, "s", _outcome("s", 1))
        for first in range(1, 40, 10):
            _push(subject.store, "r", *[_outcome("r", n) for n in range(first, first + 10)])
        with subject.store.write() as transaction:
            assert transaction.forget_outcomes("nobody", until_n=99, limit=99) == 0
            assert transaction.forget_outcomes("r", until_n=0, limit=99) == 0
            assert transaction.forget_outcomes("r", until_n=20, limit=0) == 0
            assert transaction.forget_outcomes("r", until_n=20, limit=1) == 1
            # The first ones first, whether a piece holds one of them or many.
            assert transaction.outcomes_by_id(["r-1"]) == {}
            assert transaction.outcomes_by_id(["r-20"]) != {}
            while transaction.forget_outcomes("r", until_n=20, limit=3):
                pass
        subject.reopen()
        with subject.store.read() as transaction:
            left = transaction.outcomes("r", after_n=0)
            assert [outcome.n for outcome in left] == list(range(21, 41))
            ids = [f"r-{n}" for n in range(1, 41)]
            assert transaction.outcomes_by_id([*ids, "s-1"]).keys() == {*ids[20:], "s-1"}
            assert transaction.outcomes("s", after_n=0) == [_outcome("s", 1)]
        _push(subject.store, "r", _outcome("r", 41, id_="r-1"))
        with subject.store.read() as transaction:
            assert transaction.outcomes_by_id(["r-1"]) == {"r-1": _outcome("r", 41, id_="r-1")}

    def test_a_push_rolled_back_has_not_been_answered(self, subject: StoreSubject) -> None:
        _register(subject.store, "r")
        with pytest.raises(KeyError), subject.store.write() as transaction:
            transaction.add_push(
                replica="r",
                principal="anna",
                last_n=4,
                known_n=4,
                now_ms=9_000,
                origins=(),
                outcomes=[_outcome("r", 4)],
            )
            record = transaction.replica("r")
            assert record is not None
            assert record.last_n == 4
            assert transaction.outcomes_by_id(["r-4"]) == {"r-4": _outcome("r", 4)}
            raise KeyError
        with subject.store.read() as transaction:
            assert transaction.replica("r") == _record("r")
            assert transaction.outcomes("r", after_n=0) == []
            assert transaction.outcomes_by_id(["r-4"]) == {}

    def test_what_a_replica_has_confirmed_never_goes_down(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        for known_n, seen_seq, now_ms in ((5, 3, 4_000), (2, 1, 2_000)):
            with subject.store.write() as transaction:
                transaction.confirm("r", known_n=known_n, seen_seq=seen_seq, now_ms=now_ms)
        with subject.store.write() as transaction:
            transaction.add_push(
                replica="r",
                principal="anna",
                last_n=6,
                known_n=1,
                now_ms=3_000,
                origins=(),
                outcomes=(),
            )
        with subject.store.read() as transaction:
            expected = _record("r", last_n=6, known_n=5, seen_seq=3, seen_ms=4_000)
            assert transaction.replica("r") == expected
            assert transaction.replica("s") == _record("s")

    # --- Generated keys -------------------------------------------------------------------------

    def test_leased_blocks_are_disjoint_and_above_every_key(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        with subject.foreign() as program:
            inserted(program, PERSON, (41, None, None))
        blocks = []
        for replica in ("r", "s", "r"):
            with subject.store.write() as transaction:
                blocks.append(leased(transaction, "person", replica, size=10))
        with subject.store.write() as transaction:
            blocks.extend(leased(transaction, "person", "s", size=10) for _ in range(2))
            other = leased(transaction, "child", "r", size=5)
        assert all(last - first == 9 for first, last in blocks)
        assert other[1] - other[0] == 4
        assert other[0] >= 1
        lasts = [41, *(last for _, last in blocks)]
        assert all(first > last for (first, _), last in zip(blocks, lasts, strict=False))

    def test_a_block_is_above_keys_that_others_chose(self, subject: StoreSubject) -> None:
        _register(subject.store, "r")
        with subject.store.write() as transaction:
            leased(transaction, "person", "r", size=10)
        with subject.foreign() as program:
            inserted(program, PERSON, (5_000, None, None))
        with subject.store.write() as transaction:
            first, _ = leased(transaction, "person", "r", size=10)
        assert first > 5_000

    def test_a_block_is_not_given_again_when_its_rows_are_gone(self, subject: StoreSubject) -> None:
        _register(subject.store, "r", "s")
        with subject.store.write() as transaction:
            first, last = leased(transaction, "person", "r", size=10)
        keys: list[Key] = [(first,), (last,)]
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"person": [(*key, None, None) for key in keys]}))
        with subject.store.write() as transaction:
            transaction.apply(writes(deletes={"person": keys}))
        assert rows_of(subject.store, "person") == []
        with subject.store.write() as transaction:
            assert leased(transaction, "person", "s", size=10)[0] > last

    def test_a_row_with_a_very_large_key_leaves_room_for_blocks(
        self, subject: StoreSubject
    ) -> None:
        """Keys that JSON could not carry do not count; the last one that it can leaves a gap."""
        _register(subject.store, "r")
        with subject.foreign() as program:
            for key in (5, KEY_MAX, KEY_MAX + 1, 2**63 - 1):
                inserted(program, PERSON, (wire_integer(key), None, None))
        with subject.store.write() as transaction:
            blocks = [transaction.lease("person", "r", size=10) for _ in range(3)]
        assert blocks == [(6, 15), (16, 25), (26, 35)]

    def test_the_last_keys_are_leased_once_and_then_none(self, subject: StoreSubject) -> None:
        _register(subject.store, "r")
        with subject.foreign() as program:
            inserted(program, PERSON, (5, None, None))
            inserted(program, PERSON, (-7, None, None))
        with subject.store.write() as transaction:
            assert transaction.lease("person", "r", size=2) == (6, 7)
            assert transaction.lease("person", "r", size=KEY_MAX - 17) == (8, KEY_MAX - 10)
            assert transaction.lease("person", "r", size=KEY_MAX) == (KEY_MAX - 9, KEY_MAX)
            assert transaction.lease("person", "r", size=3) == (1, 3)
            assert transaction.lease("person", "r", size=3) == (4, 4)
            assert transaction.lease("person", "r", size=3) is None
            assert transaction.lease("person", "r", size=3) is None
            assert transaction.lease("child", "r", size=3) is not None

    def test_the_database_goes_on_after_the_largest_key(self, subject: StoreSubject) -> None:
        """Hub programs may insert inside a replica's block; the engine renumbers then."""
        _register(subject.store, "r")
        with subject.store.write() as transaction:
            first, _ = leased(transaction, "person", "r", size=10)
            transaction.apply(writes(inserts={"person": [(first, None, None)]}))
        with subject.foreign() as program:
            assert program.insert("person", {"email": "a@x"}) != (first,)

    # --- Tokens ---------------------------------------------------------------------------------

    def test_a_token_names_its_principal_until_it_is_revoked(self, subject: StoreSubject) -> None:
        anna, bert = Principal(user="anna"), Principal(user="bert", tenant=7)
        carl = Principal(user="carl", roles=("a", "b"), claims={"teams": [1, 2], "is_new": True})
        tokens = [
            ("aa11", anna, "laptop", 1_000),
            ("aa22", anna, "till", 2_000),
            ("bb33", bert, "till", 3_000),
            ("cc44", carl, "", 4_000),
        ]
        with subject.store.write() as transaction:
            for hash_, principal, label, now_ms in tokens:
                transaction.add_token(hash_, principal=principal, label=label, now_ms=now_ms)
            assert sorted(transaction.tokens(), key=lambda token: token[0]) == tokens
        with subject.store.read() as transaction:
            assert transaction.principal_of("aa11") == anna
            assert transaction.principal_of("aa") is None
        with subject.store.write() as transaction:
            assert transaction.revoke_token("till") == 2
            assert transaction.revoke_token("till") == 0
            assert transaction.revoke_token("aa1") == 1
        with subject.store.read() as transaction:
            assert [transaction.principal_of(token[0]) for token in tokens] == [
                None,
                None,
                None,
                carl,
            ]

    @pytest.mark.parametrize("text", ["", "%", "_", "a%", "*", "a_1", "A"])
    def test_revoking_takes_text_as_it_is(self, subject: StoreSubject, text: str) -> None:
        """No pattern, no other case, and nothing at all is nobody's prefix."""
        with subject.store.write() as transaction:
            anna = Principal(user="anna")
            transaction.add_token("aa11", principal=anna, label="", now_ms=1_000)
        with subject.store.write() as transaction:
            assert transaction.revoke_token(text) == 0
            assert transaction.principal_of("aa11") == anna
