"""A hub's SQLite file, a store over it, and another program on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reunite.stores.sql import SqlStore, open_store
from tests.integration.sqlite_store.helpers import Make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def program(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program on the same file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma synchronous = off")
        yield connection


@pytest.fixture
def hub(path: Path, program: sqlite3.Connection) -> Iterator[Make]:
    """Makes a store over the tables of a script, all of them tracked."""
    stores: list[SqlStore] = []

    def make(ddl: str) -> SqlStore:
        program.executescript(ddl)
        store = open_store(path, timeout_s=0.1, synchronous="off")
        stores.append(store)
        store.track([store.reflect(table) for table in store.trackable_tables()])
        return store

    yield make
    for store in stores:
        store.close()
