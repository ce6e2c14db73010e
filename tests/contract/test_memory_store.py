"""The memory store keeps the promises of a store."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from reunite.core.schema import Column
from reunite.engine.ports import Store
from reunite.stores.memory import MemoryHandle, MemoryStore
from reunite.testing.contracts import STANDARD_SCHEMAS, StoreContract, StoreSubject, Writer


class MemorySubject:
    def __init__(self) -> None:
        self.store = MemoryStore(lock_timeout_s=0.2)
        self.store.track(STANDARD_SCHEMAS)

    def foreign(self) -> AbstractContextManager[Writer]:
        return self.store.foreign_write()

    def writer(self, handle: Any) -> Writer:
        assert isinstance(handle, MemoryHandle)
        return handle

    def reopen(self) -> Store:
        backup = self.store.backup()
        self.store.close()
        self.store = MemoryStore(lock_timeout_s=0.2)
        self.store.restore(backup)
        return self.store

    def add_column(self, table: str, column: Column) -> None:
        """Tables of the memory store take their shape from `track` alone."""


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def subject(self) -> Iterator[StoreSubject]:
        subject = MemorySubject()
        yield subject
        subject.store.close()
