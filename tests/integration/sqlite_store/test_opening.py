"""What the SQL store promises beyond the contract suite, on SQLite files: opening and refusing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reunite.core.principal import Principal
from reunite.core.values import Row
from reunite.engine.ports import (
    Writes,
)
from reunite.errors import (
    CallerError,
    ConstraintError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
    UnknownTableError,
    UntrackableTableError,
)
from reunite.stores.sql import SqlStore, open_store
from tests.integration.sqlite_store.helpers import Make, apply, number, rows_of

# --- Opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_store_is_opened_by_path_or_url(
    path: Path, program: sqlite3.Connection, prefix: str
) -> None:
    program.execute("create table t (id integer primary key)")
    with open_store(f"{prefix}{path}") as store:
        assert store.trackable_tables() == ["t"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("missing.db", "check the path"),
        ("nowhere/missing.db", "check the path"),
        ("", "folder"),
        ("text.txt", "not an SQLite database"),
        ("sqlite://host/x.db", "use sqlite:///"),
        ("mysql://localhost/x", "use sqlite:///file.db or postgresql://"),
        (":memory:", "give it a path"),
    ],
)
def test_what_cannot_be_opened_is_told_why(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "text.txt").write_text("This is no database, however long it may be. " * 50)
    target = name if ":" in name else tmp_path / name
    with pytest.raises(CallerError, match=hint):
        open_store(target)


def test_a_missing_file_is_made_on_demand_and_its_folder_is_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "new.db", create=True) as store:
        store.track([])
        with store.read() as transaction:
            assert transaction.schemas() == {}
    with pytest.raises(CallerError, match="create it first"):
        open_store(tmp_path / "nowhere" / "new.db", create=True)


def test_a_database_that_is_no_hub_says_so(path: Path, program: sqlite3.Connection) -> None:
    program.execute("create table t (id integer primary key)")
    with open_store(path) as store:
        with pytest.raises(CallerError, match="track a table first"), store.read():
            pass
        with pytest.raises(CallerError, match="track a table first"):
            number(store)


def test_a_closed_store_says_so(hub: Make) -> None:
    store = hub("")
    store.close()
    with pytest.raises(CallerError, match="closed"), store.read():
        pass


def test_looking_leaves_the_file_as_it_is_and_so_does_leaving(
    path: Path, program: sqlite3.Connection
) -> None:
    program.executescript("create table t (id integer primary key); insert into t values (1)")
    before = path.read_bytes()
    with open_store(path) as store:
        store.reflect("t")
        assert path.read_bytes() == before

        store.track([store.reflect("t")])
        program.execute("insert into t values (2)")
        assert program.execute("pragma journal_mode").fetchone() == ("wal",)
        program.close()
        store.uninstall()
    with closing(sqlite3.connect(path)) as after:
        assert after.execute("pragma journal_mode").fetchone() == ("delete",)
        names = after.execute("select name from sqlite_schema").fetchall()
        assert names == [("t",)]
        assert after.execute("select id from t").fetchall() == [(1,), (2,)]


def test_a_table_with_a_null_key_is_refused(path: Path, program: sqlite3.Connection) -> None:
    program.executescript("create table t (id text primary key); insert into t values (null)")
    with open_store(path) as store:
        with pytest.raises(UntrackableTableError, match="NULL"):
            store.track([store.reflect("t")])
        with pytest.raises(CallerError, match="track a table first"), store.read():
            pass


def test_an_untracked_table_is_unknown(hub: Make) -> None:
    store = hub("create table t (id integer primary key); create table u (id integer primary key)")
    store.untrack("u")
    with store.write() as transaction:
        with pytest.raises(UnknownTableError, match="not tracked"):
            transaction.apply(Writes(inserts={"u": [(1,)]}, updates={}, deletes={}))
        with pytest.raises(UnknownTableError):
            transaction.rows("u", [(1,)])
    with pytest.raises(UnknownTableError):
        store.untrack("u")


# --- Refusals -------------------------------------------------------------------------------------

STRICT_SHOP = """
    create table t (
        id integer primary key,
        code text not null unique,
        price real check (price >= 0),
        parent integer references t (id),
        size integer
    ) strict;
    create unique index by_name on t (lower(code), size) where size > 0;
    create trigger forbid before insert on t when new.code = 'no'
    begin select raise(abort, 'There are codes that one does not use.'); end;
"""


@pytest.mark.parametrize(
    ("row", "code", "columns"),
    [
        ((1, "new", None, None, None), "unique", ("id",)),
        ((2, "old", None, None, None), "unique", ("code",)),
        ((2, "OLD", None, None, 1), "unique", ("lower(code)", "size")),
        ((2, None, None, None, None), "not-null", ("code",)),
        ((2, "new", -1.0, None, None), "check", ()),
        ((2, "new", None, 99, None), "foreign-key", ("parent",)),
        ((2, "new", None, None, "text"), "check", ()),
        ((2, "new", None, None, 2**63), "check", ()),
        ((2, "no", None, None, None), "constraint", ()),
    ],
)
def test_a_refusal_names_what_was_hurt(
    hub: Make, row: Row, code: str, columns: tuple[str, ...]
) -> None:
    store = hub(STRICT_SHOP)
    apply(store, inserts={"t": [(1, "old", 1.0, None, 1)]})
    with pytest.raises(ConstraintError) as refusal:
        apply(store, inserts={"t": [row]})
    error = refusal.value
    assert (error.code, error.table, error.columns) == (code, "t", columns)
    assert rows_of(store, "t") == [(1, "old", 1.0, None, 1)]


def test_a_writer_that_waits_too_long_is_told_to_try_later(
    hub: Make, program: sqlite3.Connection
) -> None:
    store = hub("create table t (id integer primary key)")
    program.execute("begin immediate")
    with pytest.raises(StorageUnavailableError, match="locked"), store.write():
        pass
    program.execute("insert into t values (1)")
    program.execute("commit")
    assert number(store) == 1


def test_a_full_disk_undoes_the_transaction(hub: Make, program: sqlite3.Connection) -> None:
    store = hub("create table t (id integer primary key, a text)")
    rows: list[Row] = [(n, "x" * 1_000) for n in range(100)]
    with pytest.raises(StorageFullError, match="full"):
        insert_on_a_small_disk(store, rows)
    store.close()
    assert program.execute("select count(*) from t").fetchone() == (0,)


def test_a_database_that_may_only_be_read_says_so(hub: Make) -> None:
    store = hub("create table t (id integer primary key)")

    def write() -> None:
        with store.write() as transaction:
            with transaction.lent() as handle:
                handle.execute("pragma query_only = on")
            principal = Principal(user="ann")
            transaction.add_token("hash", principal=principal, label="", now_ms=1)

    with pytest.raises(StorageReadOnlyError, match="cannot be written"):
        write()


def test_a_lock_that_cannot_be_made_is_not_called_taken(hub: Make, path: Path) -> None:
    store = hub("create table t (id integer primary key)")
    path.with_name("hub.db-migration").mkdir()
    with (
        pytest.raises(StorageFaultError, match=r"^hub\.db-migration cannot be locked\. A file"),
        store.migrating(),
    ):
        pass


def insert_on_a_small_disk(store: SqlStore, rows: list[Row]) -> None:
    with store.write() as transaction:
        with transaction.lent() as handle:
            (pages,) = handle.execute("pragma page_count").fetchone()
            handle.execute(f"pragma max_page_count = {pages + 2}")
        with transaction.savepoint():
            transaction.apply(Writes(inserts={"t": rows}, updates={}, deletes={}))
