"""Rows are chosen by expressions, old rows are judged by their columns, and views are kept."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from reunite.core.expression import Expression, IsTrue, Some, Via, check_expression
from reunite.core.fields import row
from reunite.core.key import Key
from reunite.core.matching import row_judge
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import Row
from reunite.engine.ports import Transaction
from reunite.engine.reaching import Reaching
from reunite.testing.contracts.asking import LIMIT
from reunite.testing.contracts.reading import with_column
from reunite.testing.contracts.tables import (
    CHILD,
    NOTE,
    PARENT,
    PERSON,
    SAMPLE,
    StoreSubject,
    child,
    inserted,
    parent,
)

_NOTES: list[Row] = [(a, b, None if b == 2 else a) for a in ("", "A", "a", "ä") for b in (1, 2, 3)]
_SAMPLES: list[Row] = [
    ("none", *[None] * 11),
    (
        "low", -5, -0.5, "AQ==", False, "-1.50", "2024-02-29", "09:30:00",
        "2024-02-29T09:30:00.000000Z", "00000000-0000-0000-0000-00000000000a", {"a": [1]}, "5",
    ),
    (
        "high", "9007199254740993", 1e300, "/w==", True, "10", "2024-03-01", "17:00:00",
        "2024-03-01T00:00:00.000000Z", "F0000000-0000-0000-0000-00000000000A", [], 5,
    ),
]  # fmt: skip
_OF_SAMPLES: list[tuple[Expression, list[str]]] = [
    (row.a_integer > 2**53, ["high"]),
    (row.a_integer == 2**53 + 1, ["high"]),
    (row.a_integer < 0, ["low"]),
    (row.a_real >= -0.5, ["high", "low"]),
    (row.a_blob == b"\xff", ["high"]),
    (row.a_blob < b"\xff", ["low"]),
    (row.a_boolean == True, ["high"]),  # noqa: E712
    (row.a_decimal == "-1.5", ["low"]),
    (row.a_decimal.is_in(["10.00", 7]), ["high"]),
    (row.a_decimal < "9", ["low"]),
    (row.a_date >= "2024-03", ["high"]),
    (row.a_time < "10", ["low"]),
    (row.a_datetime != "2024-03-01T00:00:00.000000Z", ["low"]),
    (row.a_uuid == "f0000000-0000-0000-0000-00000000000a", ["high"]),
    (row.a_json.is_null(), ["none"]),
    (row.a_any == 5, ["high"]),
    (row.a_any == "5", ["low"]),
    (row.a_any >= "5", ["low"]),
    (row.a_any < "5", ["high"]),
    (~row.a_json.is_null() & ~(row.a_integer < 0), ["high"]),
    (~(row.a_integer == 1), ["high", "low"]),
    (~IsTrue(row.a_integer < 0), ["high", "none"]),
    (row.a_integer.is_in([]), []),
    (row.a_integer.between(-5, 5), ["low"]),
    (row.id.contains("o"), ["low", "none"]),
    (row.id.startswith("l") | row.id.endswith("gh"), ["high", "low"]),
    (row.id.iexact("LOW"), ["low"]),
    (row.id.contains("\0"), []),
    (~row.id.contains("\0") & (row.id != "a\0"), ["high", "low", "none"]),
    (row.id.is_in(["a\0", "low"]), ["low"]),
    (row.a_real.is_null() | (row.id == "low"), ["low", "none"]),
]


class ChoosingContract:
    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_a_scan_gives_only_the_rows_that_match(self, subject: StoreSubject, limit: int) -> None:
        """In pages, by key, each once; what is unknown does not match."""
        with subject.foreign() as program:
            inserted(program, NOTE, *_NOTES)
        where = check_expression(
            (row.b >= 2) & ~(row.body == "a") | (row.a == "A"), NOTE, path="where"
        )
        wanted = [("", 3), ("A", 1), ("A", 2), ("A", 3), ("ä", 3)]
        found: list[Key] = []
        keys: list[Key] = []
        with subject.store.read() as tx:
            while page := tx.scan("note", after=found[-1] if found else None, limit=limit,
                                  where=where):  # fmt: skip
                found += [found_row[:2] for found_row in page]
            while more := tx.scan_keys("note", after=keys[-1] if keys else None, limit=limit,
                                       where=where):  # fmt: skip
                keys += more
            assert keys == found
            assert tx.row_count("note", where=where) >= 0
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))

    def test_every_type_is_chosen_as_its_wire_form_means(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, SAMPLE, *_SAMPLES)
        with subject.store.read() as tx:
            everything = tx.scan("sample", after=None, limit=LIMIT)
            for expression, wanted in _OF_SAMPLES:
                where = _checked(expression)
                found = tx.scan("sample", after=None, limit=LIMIT, where=where)
                assert sorted(str(found_row[0]) for found_row in found) == wanted, expression
                judge = row_judge(where, SAMPLE)
                assert [r for r in everything if judge(r)] == list(found), expression

    def test_steps_lead_to_the_same_rows_in_the_database_and_in_python(
        self, subject: StoreSubject
    ) -> None:
        """To none by a NULL, in a part of the key too; then every value there is NULL."""
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="x"), parent("q"), parent("P", name="y"))
            inserted(program, NOTE, ("a", 1, "x"), ("a", 2, None))
            inserted(program, CHILD, *_CHILDREN)
            inserted(program, PERSON, *[(n, None if n == 3 else f"{n}", n - 1 or None) for n in
                                        range(1, 6)])  # fmt: skip
        with subject.store.read() as tx:
            schemas = tx.schemas()
            for schema, terms in ((CHILD, _STEPS_OF_CHILDREN), (PERSON, _STEPS_OF_PERSONS)):
                _assert_decided_alike(tx, schemas, schema, _random_expressions(terms))

    def test_rows_that_point_here_decide_alike_in_the_database_and_in_python(
        self, subject: StoreSubject
    ) -> None:
        """Whether there is one, not how many; one with a NULL in its key points nowhere."""
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p", name="x"), parent("q"), parent("P", name="y"))
            inserted(program, NOTE, ("a", 1, "x"), ("a", 2, None), ("b", 1, "y"))
            inserted(program, CHILD, *_CHILDREN, child(6, "p", amount=7, note=("a", 1)))
            inserted(program, PERSON, *[(n, None if n == 3 else f"{n}", n - 1 or None) for n in
                                        range(1, 6)])  # fmt: skip
        with subject.store.read() as tx:
            schemas = tx.schemas()
            for schema, terms in (
                (PARENT, _POINTING_TO_PARENTS),
                (NOTE, _POINTING_TO_NOTES),
                (PERSON, _POINTING_TO_PERSONS),
                (CHILD, _STEPS_TO_POINTED),
            ):
                expressions = _random_expressions(terms, negating=False)
                _assert_decided_alike(tx, schemas, schema, expressions)

    def test_rows_are_found_by_the_keys_that_they_point_to(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("q"), parent("P"))
            inserted(program, NOTE, ("a", 1, "x"), ("a", 2, None))
            inserted(program, CHILD, *_CHILDREN)
        with subject.store.read() as tx:
            for columns, keys, wanted in (
                (("parent_id",), [("p",)], [1, 2]),
                (("parent_id",), [("p",), ("q",), ("nowhere",)], [1, 2, 3]),
                (("note_a", "note_b"), [("a", 1)], [2]),
                (("parent_id",), [], []),
            ):
                found: list[Key] = []
                while page := tx.pointing(
                    "child", columns, keys, after=found[-1] if found else None, limit=2
                ):
                    found += [found_row[:1] for found_row in page]
                assert found == [(key,) for key in wanted]

    def test_old_values_are_those_before_each_change(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("q"))
            inserted(program, CHILD, child(1, "p", amount=5))
            program.update("child", (1,), {"amount": 6, "parent_id": "q"})
            program.update("child", (1,), {"id": 2})
            program.delete("child", (2,))
        with subject.store.read() as tx:
            entries = [e for e in tx.log(after_id=0, until_id=99, limit=99) if e.table == "child"]
            ids = [entry.id for entry in entries]
            made, changed, moved, deleted = ids
            assert tx.old_values("child", ids, ("amount", "id", "parent_id")) == {
                made: None,
                changed: (5, 1, "p"),
                moved: (6, 1, "q"),
                deleted: (6, 2, "q"),
            }
            assert tx.old_values("child", [deleted], ("parent_id",)) == {deleted: ("q",)}
            assert tx.old_values("child", [], ("parent_id",)) == {}

    def test_old_values_of_a_column_that_was_not_there_are_left_out(
        self, subject: StoreSubject
    ) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, "x"))
            program.update("note", ("n", 1), {"body": "y"})
        with subject.store.read() as tx:
            before = tx.schemas()["note"]
        column = Column(name="extra", type=ColumnType.TEXT)
        subject.add_column("note", column)
        subject.store.track([with_column(before, column)])
        with subject.foreign() as program:
            program.update("note", ("n", 1), {"extra": "z"})
            program.delete("note", ("n", 1))
        with subject.store.read() as tx:
            made, first, second, deleted = [
                entry.id for entry in tx.log(after_id=0, until_id=99, limit=99)
            ]
            ids = [made, first, second, deleted]
            assert tx.old_values("note", ids, ("body", "extra")) == {
                made: None,
                second: ("y", None),
                deleted: ("y", "z"),
            }
            assert tx.old_values("note", [first], ("body",)) == {first: ("x",)}

    def test_a_view_is_kept_until_too_many_are(self, subject: StoreSubject) -> None:
        with subject.store.write() as tx:
            for name in ("a", "b", "a", "c"):
                tx.keep_view(name, f"text of {name}", views_max=3)
        subject.reopen()
        with subject.store.write() as tx:
            assert [tx.view(name) for name in "abc"] == ["text of a", "text of b", "text of c"]
            tx.keep_view("d", "text of d", views_max=3)
            tx.keep_view("d", "text of d", views_max=3)
        with subject.store.read() as tx:
            kept = [tx.view(name) for name in "abcd"]
        assert kept == [None, "text of b", "text of c", "text of d"]


_CHILDREN = [
    child(1, "p"),
    child(2, "p", note=("a", 1)),
    child(3, "q", note=("a", 2)),
    child(4, None, note=("a", None)),
    child(5, "P", note=(None, 1)),
]
_STEPS_OF_CHILDREN = (
    row.parent.name == "x",
    row.parent_id.name != "x",
    row.parent.name.is_in(["x", "z"]),
    row.parent.name.is_null(),
    row.parent.name.contains("x"),
    row.note.body == "x",
    row.note.b > 1,
    row.note.b.between(1, 2),
    row.note.body.is_null(),
    row.title == "t",
    row.id > 2,
)
_STEPS_OF_PERSONS = (
    row.boss.email == "1",
    row.boss.email.is_null(),
    row.boss.boss.email != "1",
    row.boss.boss.boss.id < 2,
    row.boss.boss_id.is_null(),
    row.id > 2,
)


_OF_PARENT = (("parent_id",), ("id",))
_OF_NOTE = (("note_a", "note_b"), ("a", "b"))
_OF_BOSS = (("boss_id",), ("id",))
_POINTING_TO_PARENTS = (
    Some("child", *_OF_PARENT, row.amount == 7),
    Some("child", *_OF_PARENT, row.id.is_in([3, 4, 5])),
    Some("child", *_OF_PARENT, row.note.body == "x"),
    Some("child", *_OF_PARENT, row.note.body.is_null()),
    Some("child", *_OF_PARENT, (row.id == 1) & (row.amount == 7)),
    row.name == "x",
)
_POINTING_TO_NOTES = (
    Some("child", *_OF_NOTE, row.amount == 7),
    Some("child", *_OF_NOTE, row.parent.name == "x"),
    Some("child", *_OF_NOTE, ~(row.parent.name == "x")),
    row.b == 1,
)
_POINTING_TO_PERSONS = (
    Some("person", *_OF_BOSS, row.email == "3"),
    Some("person", *_OF_BOSS, Some("person", *_OF_BOSS, row.email == "4")),
    Some("person", *_OF_BOSS, row.email.is_null()),
    row.boss.email == "1",
)
_STEPS_TO_POINTED = (
    Via(("parent_id",), "parent", Some("child", *_OF_PARENT, row.amount == 7)),
    Via(("note_a", "note_b"), "note", Some("child", *_OF_NOTE, row.id == 3)),
    row.parent.name == "x",
)


def _assert_decided_alike(
    tx: Transaction,
    schemas: Mapping[str, TableSchema],
    schema: TableSchema,
    expressions: Iterable[Expression],
) -> None:
    """Database and Python find the same rows; what is not found is surely not meant."""
    everything = tx.scan(schema.name, after=None, limit=LIMIT)
    reach = Reaching(tx, schemas)
    for expression in expressions:
        where = check_expression(expression, schema, path="where", schemas=schemas, resolves=True)
        judge = row_judge(where, schema, reach)
        found = tx.scan(schema.name, after=None, limit=LIMIT, where=where)
        assert [each for each in everything if judge(each)] == list(found), expression
        assert tx.row_count(schema.name, where=where) == len(found)
        surely = tx.scan(schema.name, after=None, limit=LIMIT, where=~IsTrue(where))
        assert len(found) + len(surely) == len(everything), expression


def _random_expressions(
    terms: Sequence[Expression], *, negating: bool = True
) -> Iterator[Expression]:
    yield from terms
    chance = random.Random(1)
    for _ in range(80):
        expression = chance.choice(terms)
        for _ in range(chance.randrange(1, 4)):
            other = chance.choice(terms)
            expression = expression & other if chance.random() < 0.5 else expression | other
            expression = ~expression if negating and chance.random() < 0.4 else expression
        yield expression


def _checked(expression: Expression) -> Expression:
    """In normal form; differences of views, which have no other one, as they are."""
    is_difference = "IsTrue" in repr(expression)
    return expression if is_difference else check_expression(expression, SAMPLE, path="where")
