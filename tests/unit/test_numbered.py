"""Use cases begin when what they see has its number."""

from __future__ import annotations

import pytest

from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.engine.numbered import NumberedStore
from reunite.stores.memory import MemoryStore
from reunite.testing import FakeClock

NOTE = TableSchema(
    name="note", columns=(Column(name="id", type=ColumnType.TEXT, nullable=False),), key=("id",)
)


class Shop:
    """A store in which others write, and one that counts how often it was numbered."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.track([NOTE])
        self.clock = FakeClock()
        self.numbered = NumberedStore(self.store, number=self.number, clock=self.clock)
        self.count = 0

    def number(self) -> None:
        self.count += 1
        self.store.number(now_ms=self.clock.now_ms(), new_nonce=lambda: "nonce", has_news=True)

    def write(self, id_: str) -> None:
        with self.store.write() as tx, tx.lent() as handle:
            handle.insert("note", {"id": id_})


@pytest.mark.parametrize("begin", ["read", "write"])
def test_what_waits_for_its_number_gets_it_before_the_transaction_begins(begin: str) -> None:
    shop = Shop()
    shop.write("a")
    for _ in range(2):
        with getattr(shop.numbered, begin)() as tx:
            assert not tx.has_news()
            assert tx.head().seq == 1
    assert shop.count == 1


@pytest.mark.parametrize("begin", ["read", "write"])
def test_what_comes_while_it_is_numbered_is_left_for_the_next(begin: str) -> None:
    """Or a use case would never begin beside programs that write all the time."""
    shop = Shop()
    shop.write("a")
    number = shop.number

    def number_and_write() -> None:
        number()
        shop.write("b")

    numbered = NumberedStore(shop.store, number=number_and_write, clock=shop.clock)
    with getattr(numbered, begin)() as tx:
        assert tx.has_news()
        assert set(tx.rows("note", [("a",), ("b",)])) == {("a",), ("b",)}


def test_what_fails_after_numbering_has_not_happened() -> None:
    shop = Shop()
    shop.write("a")

    def write_and_fail() -> None:
        with shop.numbered.write() as tx, tx.lent() as handle:
            handle.insert("note", {"id": "b"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    with shop.store.read() as reading:
        assert set(reading.rows("note", [("a",), ("b",)])) == {("a",)}
