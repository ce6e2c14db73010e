"""A transaction answers from one moment; rows and log are read by key, in pages."""

from __future__ import annotations

import msgspec
import pytest

from reunite.core.key import Key
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.values import Row
from reunite.engine.ports import Transaction
from reunite.errors import StorageUnavailableError
from reunite.testing.contracts.asking import (
    LIMIT,
    all_rows,
    all_touched,
    last_id_of,
    log_of,
    number,
    row_of,
    rows_of,
)
from reunite.testing.contracts.tables import (
    CHILD,
    NOTE,
    PARENT,
    STANDARD_SCHEMAS,
    StoreSubject,
    child,
    inserted,
    parent,
    update,
    writes,
)

_NOTES: list[Row] = [(a, b, None) for a in ("", "A", "a", "ab", "b", "ä") for b in (-1, 2, 10)]


def _everything(transaction: Transaction) -> object:
    """All that a transaction can be asked about rows and log."""
    return (
        transaction.head(),
        transaction.last_change_id(),
        transaction.commits(after=0, limit=LIMIT),
        all_touched(transaction),
        all_rows(transaction, "parent"),
        transaction.rows("parent", [("p",), ("q",)]),
        transaction.find("parent", {"name": None}, after=None, limit=LIMIT),
        transaction.entries("parent", [("p",), ("q",)], after_id=0),
        transaction.log(after_id=0, until_id=2**53, limit=LIMIT),
        transaction.outcomes("r", after_n=0),
    )


class ReadingContract:
    def test_defaults_are_what_a_new_row_gets(self, subject: StoreSubject) -> None:
        """In the order of the columns, in wire form; NULL where nothing is declared."""
        for schema in STANDARD_SCHEMAS:
            with subject.store.read() as transaction:
                found = transaction.defaults(schema.name)
            wanted = {"amount": 0}
            for column, value in zip(schema.columns, found, strict=True):
                assert value == (None if column.default is None else wanted[column.name])

    def test_a_snapshot_does_not_move(self, subject: StoreSubject) -> None:
        """Neither while others write, nor while they number; and it holds nobody up."""
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        with subject.store.read() as transaction:
            first = _everything(transaction)
            with subject.foreign() as program:
                program.delete("parent", ("p",))
                inserted(program, PARENT, parent("q"))
            head = number(subject.store)
            with subject.store.write() as writing:
                writing.apply(writes(updates={"parent": [update(("q",), name="new")]}))
            assert _everything(transaction) == first
            with subject.store.read() as later:
                assert later.head() == head
                assert all_rows(later, "parent") == [parent("q", name="new")]
            assert _everything(transaction) == first

    def test_a_writer_sees_its_own_writes_and_others_do_not(self, subject: StoreSubject) -> None:
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"parent": [parent("p")]}))
            assert transaction.rows("parent", [("p",)]) == {("p",): parent("p")}
            assert [touch.seq for touch in all_touched(transaction)] == [None]
            (entry,) = transaction.entries("parent", [("p",)], after_id=0)
            assert entry.id == transaction.last_change_id()
            assert rows_of(subject.store, "parent") == []
            assert log_of(subject.store) == []
        assert rows_of(subject.store, "parent") == [parent("p")]

    def test_a_row_that_a_writer_has_read_waits_for_it(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        change = writes(updates={"parent": [update(("p",), name="second")]})
        with subject.store.write() as transaction:
            assert transaction.rows("parent", [("p",)]) == {("p",): parent("p")}
            with pytest.raises(StorageUnavailableError), subject.store.write() as second:
                second.apply(change)
            transaction.apply(writes(updates={"parent": [update(("p",), name="first")]}))
        assert rows_of(subject.store, "parent") == [parent("p", name="first")]

    def test_rows_are_those_of_the_keys_that_exist(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, *_NOTES)
        with subject.store.read() as transaction:
            keys: list[Key] = [("b", 2), ("missing", 2), ("A", -1), ("b", 2)]
            assert transaction.rows("note", keys) == {
                ("b", 2): ("b", 2, None),
                ("A", -1): ("A", -1, None),
            }
            assert transaction.rows("note", []) == {}

    def test_rows_and_entries_of_thousands_of_keys_are_read_at_once(
        self, subject: StoreSubject
    ) -> None:
        rows = [(f"n{number_:05}", number_, "x") for number_ in range(5_000)]
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"note": rows}))
        with subject.store.read() as transaction:
            keys = [(row[0], row[1]) for row in rows]
            assert transaction.rows("note", keys) == dict(zip(keys, rows, strict=True))
            entries = transaction.entries("note", iter(keys), after_id=0)
            assert sorted(entry.key for entry in entries) == keys

    @pytest.mark.parametrize("limit", [1, 2, 5, 17, 18, 100])
    def test_scan_pages_go_through_composite_keys_in_order(
        self, subject: StoreSubject, limit: int
    ) -> None:
        """Every row once. Which text comes first is the database's own affair."""
        with subject.foreign() as program:
            inserted(program, NOTE, *reversed(_NOTES))
        found: list[Row] = []
        after: Key | None = None
        with subject.store.read() as transaction:
            while page := transaction.scan("note", after=after, limit=limit):
                assert len(page) <= limit
                keys = transaction.scan_keys("note", after=after, limit=limit)
                assert keys == [row[:2] for row in page]
                found.extend(page)
                after = page[-1][:2]
        assert found == rows_of(subject.store, "note")
        assert sorted(map(repr, found)) == sorted(map(repr, _NOTES))
        for a in {row[0] for row in _NOTES}:
            assert [row[1] for row in found if row[0] == a] == [-1, 2, 10]

    def test_scan_goes_on_after_a_key_that_is_gone(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, *_NOTES)
        with subject.store.read() as transaction:
            (row,) = transaction.scan("note", after=("A", 5), limit=1)
            assert row == ("A", 10, None)
            (row,) = transaction.scan("note", after=("A", 11), limit=1)
            assert (row[0] != "A", row[1]) == (True, -1)
            last = transaction.scan("note", after=None, limit=LIMIT)[-1]
            assert transaction.scan("note", after=last[:2], limit=1) == []
            assert transaction.scan_keys("note", after=last[:2], limit=1) == []

    def test_large_integer_keys_are_text_and_in_order_of_their_value(
        self, subject: StoreSubject
    ) -> None:
        large: list[Key] = [("-9007199254740993",), (-5,), (7,), ("9007199254740993",)]
        rows = [child(key[0], None) for key in large]
        with subject.store.write() as transaction:
            transaction.apply(writes(inserts={"child": rows[::-1]}))

        assert rows_of(subject.store, "child") == rows
        with subject.store.read() as transaction:
            assert set(transaction.rows("child", large)) == set(large)
            assert transaction.scan("child", after=large[2], limit=5) == rows[3:]
            assert transaction.scan_keys("child", after=large[0], limit=2) == large[1:3]
            entries = transaction.entries("child", large, after_id=0)
            assert {entry.key for entry in entries} == set(large)

    def test_find_matches_columns_and_null(self, subject: StoreSubject) -> None:
        rows = [
            child(1, "p", title="x", amount=1),
            child(2, "p", title="y", amount=1),
            child(3, None, title="x", amount=1),
            child(4, "p", title="x", amount=1),
        ]
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
            inserted(program, CHILD, *rows)
        with subject.store.read() as transaction:
            where = {"parent_id": "p", "title": "x", "note_a": None}
            assert transaction.find("child", where, after=None, limit=9) == [rows[0], rows[3]]
            assert transaction.find("child", where, after=None, limit=1) == [rows[0]]
            assert transaction.find("child", where, after=(1,), limit=9) == [rows[3]]
            assert transaction.find("child", {"parent_id": None}, after=None, limit=9) == [rows[2]]
            assert transaction.find("child", {"id": 2}, after=None, limit=9) == [rows[1]]
            assert transaction.find("child", {}, after=(2,), limit=9) == rows[2:]
            assert transaction.find("child", {"title": "z"}, after=None, limit=9) == []

    def test_row_count_is_about_right(self, subject: StoreSubject) -> None:
        with subject.store.read() as transaction:
            assert transaction.row_count("note") >= 0
        with subject.foreign() as program:
            inserted(program, NOTE, *_NOTES)
        with subject.store.read() as transaction:
            assert transaction.row_count("note") >= 0

    def test_entries_are_found_by_either_key(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"), parent("other"))
            program.update("parent", ("p",), {"id": "q"})
            program.update("parent", ("q",), {"name": "new"})
        with subject.store.read() as transaction:
            inserted_p, _, moved, renamed = transaction.log(after_id=0, until_id=99, limit=99)
            assert transaction.entries("parent", [("p",)], after_id=0) == [inserted_p, moved]
            assert transaction.entries("parent", [("q",)], after_id=0) == [moved, renamed]
            both = [inserted_p, moved, renamed]
            assert transaction.entries("parent", [("q",), ("p",)], after_id=0) == both
            after = transaction.entries("parent", [("q",), ("p",)], after_id=moved.id)
            assert after == [renamed]
            assert transaction.entries("note", [("p",)], after_id=0) == []
            assert transaction.entries("parent", [], after_id=0) == []

    def test_the_log_is_read_between_two_ids(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, *map(parent, "abcde"))
        ids = [entry.id for entry in log_of(subject.store)]
        with subject.store.read() as transaction:
            page = transaction.log(after_id=ids[0], until_id=ids[3], limit=LIMIT)
            assert [entry.id for entry in page] == ids[1:4]
            page = transaction.log(after_id=ids[0], until_id=ids[3], limit=2)
            assert [entry.id for entry in page] == ids[1:3]
            assert transaction.log(after_id=ids[4], until_id=2**53, limit=LIMIT) == []

    def test_schemas_are_those_of_the_tracked_tables(self, subject: StoreSubject) -> None:
        with subject.store.read() as transaction:
            schemas = transaction.schemas()
        assert set(schemas) == {schema.name for schema in STANDARD_SCHEMAS}
        for schema in STANDARD_SCHEMAS:
            assert schemas[schema.name].column_names == schema.column_names
            assert schemas[schema.name].key == schema.key
            assert schemas[schema.name].generated_key == schema.generated_key

    def test_tracking_again_changes_nothing(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, PARENT, parent("p"))
        number(subject.store)
        with subject.store.read() as transaction:
            first = (transaction.schemas(), _everything(transaction))
        subject.store.track(list(first[0].values()))
        with subject.store.read() as transaction:
            assert (transaction.schemas(), _everything(transaction)) == first
        with subject.foreign() as program:
            program.delete("parent", ("p",))
        assert len(log_of(subject.store)) == 2

    def test_a_table_with_another_column_gets_its_next_version(self, subject: StoreSubject) -> None:
        with subject.foreign() as program:
            inserted(program, NOTE, ("n", 1, "body"))
            program.update("note", ("n", 1), {"body": "first"})
        with subject.store.read() as transaction:
            before = transaction.schemas()["note"]
        column = Column(name="extra", type=ColumnType.TEXT)
        subject.add_column("note", column)
        subject.store.track([with_column(before, column)])

        with subject.store.read() as transaction:
            after = transaction.schemas()["note"]
            assert len(transaction.schemas()) == len(STANDARD_SCHEMAS)
        assert after.version == before.version + 1
        assert after.column_names == (*before.column_names, "extra")
        assert row_of(subject.store, "note", ("n", 1)) == ("n", 1, "first", None)
        last_id = last_id_of(subject.store)
        with subject.foreign() as program:
            program.update("note", ("n", 1), {"extra": "e"})
            program.delete("note", ("n", 1))
        images = [(entry.old_columns, entry.old) for entry in log_of(subject.store)]
        assert images[1] == (before.column_names, ("n", 1, "body"))
        assert [image for _, image in images[-2:]] == [
            ("n", 1, "first", None),
            ("n", 1, "first", "e"),
        ]
        assert {columns for columns, _ in images[-2:]} == {after.column_names}
        assert len(log_of(subject.store, after_id=last_id)) == 2


def with_column(schema: TableSchema, column: Column) -> TableSchema:
    """The table with one more column."""
    return msgspec.structs.replace(schema, columns=(*schema.columns, column))
