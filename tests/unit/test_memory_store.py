"""What the memory store offers beyond the port: other programs, backups, one writer at a time."""

import threading

import pytest

from reunite.core.schema import Column, ColumnType, TableSchema, Unique
from reunite.engine.ports import Position
from reunite.errors import (
    ConstraintError,
    StorageUnavailableError,
    UnknownTableError,
    UntrackableTableError,
)
from reunite.stores.memory import MemoryStore
from reunite.testing import SeededIds

ITEM = TableSchema(
    name="item",
    columns=(
        Column(name="id", type=ColumnType.INTEGER, nullable=False),
        Column(name="name", type=ColumnType.TEXT, nullable=False, default="'it''s'"),
        Column(name="stock", type=ColumnType.INTEGER, default="7"),
        Column(name="price", type=ColumnType.REAL, default="(random())"),
    ),
    key=("id",),
    generated_key=True,
    uniques=(Unique(columns=("name",), collations=("NOCASE",)),),
)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(lock_timeout_s=0.1)
    store.track([ITEM])
    return store


def names(store: MemoryStore) -> list[object]:
    with store.read() as transaction:
        return [row[1] for row in transaction.scan("item", after=None, limit=100)]


def touched(store: MemoryStore) -> list[tuple[object, int | None]]:
    with store.read() as transaction:
        touches = transaction.touched(Position(seq=0, id=0), limit=100)
        return [(touch.key[0], touch.seq) for touch in touches]


def test_literal_defaults_fill_what_an_insert_leaves_out(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        assert program.insert("item", {}) == (1,)
        assert program.rows("item") == {(1,): (1, "it's", 7, None)}


def test_generated_keys_go_on_after_the_largest_present(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        keys = [program.insert("item", {"name": name}) for name in "abc"]
        program.delete("item", (3,))
        keys.append(program.insert("item", {"name": "d"}))
        program.insert("item", {"id": "9007199254740991", "name": "large"})
        keys.append(program.insert("item", {"name": "e"}))
    assert keys == [(1,), (2,), (3,), (3,), ("9007199254740992",)]


def test_unique_values_are_compared_by_their_collation(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        program.insert("item", {"name": "Tea"})
        with pytest.raises(ConstraintError):
            program.insert("item", {"name": "tEA"})
        program.insert("item", {"name": "TÄ"})
        program.insert("item", {"name": "tä"})
    assert names(store) == ["Tea", "TÄ", "tä"]


def test_a_refused_statement_of_a_program_has_done_nothing(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        program.insert("item", {"name": "a"})
        program.insert("item", {"name": "b"})
        with pytest.raises(ConstraintError):
            program.update("item", (2,), {"name": "A", "stock": 1})
    assert names(store) == ["a", "b"]
    assert len(touched(store)) == 2


def test_a_column_that_is_not_there_is_named(store: MemoryStore) -> None:
    with store.foreign_write() as program, pytest.raises(ValueError, match="colour"):
        program.insert("item", {"colour": "red"})


def test_a_handle_is_of_no_use_after_its_transaction(store: MemoryStore) -> None:
    with store.write() as transaction, transaction.lent() as lent:
        handle = lent
    with pytest.raises(RuntimeError, match="ended"):
        handle.insert("item", {})
    assert names(store) == []


def test_a_restored_backup_forgets_what_came_after_it(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        program.insert("item", {"name": "a"})
    store.number(now_ms=1, new_nonce=SeededIds(1))
    backup = store.backup()
    with store.foreign_write() as program:
        program.insert("item", {"name": "lost"})
    head = store.number(now_ms=2, new_nonce=SeededIds(2))
    later = store.backup()

    store.restore(backup)
    assert (names(store), touched(store)) == (["a"], [(1, 1)])
    with store.foreign_write() as program:
        program.insert("item", {"name": "b"})
    other_head = store.number(now_ms=3, new_nonce=SeededIds(3))
    assert (names(store), touched(store)) == (["a", "b"], [(1, 1), (2, 2)])
    assert other_head.epoch == head.epoch
    assert (other_head.seq, other_head.nonce != head.nonce) == (head.seq, True)

    store.restore(later)
    assert names(store) == ["a", "lost"]
    with store.read() as transaction:
        assert transaction.head() == head


def test_a_store_restored_elsewhere_goes_its_own_way(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        program.insert("item", {"name": "a"})
    twin = MemoryStore()
    twin.restore(store.backup())
    for each, name in ((store, "b"), (twin, "c"), (store, "d")):
        with each.foreign_write() as program:
            program.insert("item", {"name": name})
    assert names(store) == ["a", "b", "d"]
    assert names(twin) == ["a", "c"]
    assert touched(twin) == [(1, None), (2, None)]


def test_a_writer_of_another_thread_is_waited_for(store: MemoryStore) -> None:
    patient = MemoryStore(lock_timeout_s=60)
    patient.restore(store.backup())
    is_writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with patient.foreign_write() as program:
            is_writing.set()
            may_end.wait()
            program.insert("item", {"name": "first"})

    thread = threading.Thread(target=write)
    thread.start()
    is_writing.wait()
    may_end.set()
    with patient.foreign_write() as program:
        program.insert("item", {"name": "second"})
    thread.join()
    assert names(patient) == ["first", "second"]


def test_a_writer_is_not_waited_for_for_ever(store: MemoryStore) -> None:
    refused: list[str] = []

    def write() -> None:
        try:
            with store.foreign_write():
                refused.append("not at all")
        except StorageUnavailableError as exc:
            refused.append(exc.code)

    with store.write():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert refused == ["storage-unavailable"]


def test_a_closed_store_says_so(store: MemoryStore) -> None:
    store.close()
    with pytest.raises(StorageUnavailableError), store.read():
        pass
    with pytest.raises(StorageUnavailableError), store.write():
        pass


def test_tables_without_a_key_or_without_a_name_here_are_refused(store: MemoryStore) -> None:
    keyless = TableSchema(name="x", columns=ITEM.columns, key=())
    with pytest.raises(UntrackableTableError):
        store.track([keyless])
    with pytest.raises(UnknownTableError):
        store.untrack("x")
    with store.read() as transaction, pytest.raises(UnknownTableError):
        transaction.rows("x", [(1,)])


def test_a_new_shape_keeps_the_rows(store: MemoryStore) -> None:
    with store.foreign_write() as program:
        program.insert("item", {"name": "a", "stock": 3})
    colour = Column(name="colour", type=ColumnType.TEXT, default="'red'")
    columns = (ITEM.columns[0], colour, ITEM.columns[1])
    store.track([TableSchema(name="item", columns=columns, key=("id",), generated_key=True)])
    with store.read() as transaction:
        assert transaction.rows("item", [(1,)]) == {(1,): (1, "red", "a")}
        assert transaction.schemas()["item"].version == 2


def test_each_store_is_of_another_epoch_unless_told() -> None:
    def epoch(store: MemoryStore) -> str:
        with store.read() as transaction:
            return transaction.head().epoch

    assert epoch(MemoryStore()) != epoch(MemoryStore())
    assert epoch(MemoryStore(new_epoch=lambda: "e")) == "e"
