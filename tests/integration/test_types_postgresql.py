"""Values of PostgreSQL's types: in wire form, in the log, and back into the table unchanged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reunite.core.principal import Principal
from reunite.core.schema import ColumnType
from reunite.errors import ConstraintError, StorageReadOnlyError, StorageUnavailableError
from reunite.stores.sql import SqlStore, open_store
from reunite.testing.contracts.asking import last_id_of, log_of, number
from reunite.testing.contracts.tables import update, writes
from tests.postgresql_server import PostgresServer, connected, running_server

DDL = """
create type mood as enum ('sad', 'so-so', 'happy');
create type place as (street text, number integer);
create domain percent as numeric(5, 2) check (value between 0 and 100);
create table thing (
    id uuid primary key default gen_random_uuid(),
    a_small smallint, an_integer integer, a_big bigint, a_real real, a_double double precision,
    a_numeric numeric, a_percent percent, a_boolean boolean, a_text text, a_varchar varchar(5),
    a_char char(4), a_bytea bytea, a_date date, a_time time, a_timetz timetz,
    a_timestamp timestamp, a_timestamptz timestamptz, an_interval interval, a_json json,
    a_jsonb jsonb, a_mood mood, a_place place, numbers integer[], texts text[][],
    moments timestamptz[], a_range int4range, a_tsrange tstzrange, many int4multirange,
    an_inet inet, a_point point, a_bits bit varying, a_vector tsvector,
    doubled numeric generated always as (a_numeric * 2) stored,
    counted bigint generated always as identity
);
"""
USUAL = (
    "(a_small, an_integer, a_big, a_real, a_double, a_numeric, a_percent, a_boolean, a_text, "
    "a_varchar, a_char, a_bytea, a_date, a_time, a_timetz, a_timestamp, a_timestamptz, "
    "an_interval, a_json, a_jsonb, a_mood, a_place, numbers, texts, moments, a_range, a_tsrange, "
    "many, an_inet, a_point, a_bits, a_vector) values "
    "(-32768, 2147483647, 9223372036854775807, 0.1, 0.1, 1234567890123456789.000000001, 99.50, "
    "true, E'tab\\t \"quoted\" \\\\ ä 🎈', 'short', 'ab', '\\x00ff10', '2024-02-29', "
    "'23:59:59.000001', '12:00:00+02', '2024-02-29 23:59:59.5', "
    "'2024-02-29 23:59:59.123+05:30', '1 mon -3 days 04:05:06.7', '{\"b\":1,\"a\":[1,null]}', "
    "'{\"b\": 1.5, \"a\": [true]}', 'so-so', '(\"Long Street\",5)', '{1,null,3}', "
    "'{{a,b},{\"c,d\",NULL}}', '{2024-01-01 00:00:00+00}', '[1,10)', "
    "'[2024-01-01 00:00:00+00,)', '{[1,3),[5,9)}', '10.0.0.1/8', '(1.5,-2)', '10101', "
    "'a:1 b:2')"
)
ODD = (
    "(a_small, a_big, a_real, a_double, a_numeric, a_text, a_bytea, a_date, a_timestamp, "
    "a_timestamptz, a_jsonb, texts, a_range) values "
    "(0, -9007199254740992, '-Infinity', 'NaN', 'NaN', 'reunite:text:x', '', 'infinity', "
    "'-infinity', 'infinity', '\"reunite:tag\"', '{}', 'empty')"
)
FAR = (
    "(a_double, a_numeric, a_text, a_date, a_timestamptz, a_jsonb, a_json, a_range) values "
    "(1e300, 1e-20, '', '0044-03-15 BC', '0044-03-15 12:00:00+00 BC', '[]', '\"text\"', '(,)')"
)


@pytest.fixture
def store(postgresql: str) -> Iterator[SqlStore]:
    with connected(postgresql) as db:
        db.execute(DDL)
    with open_store(postgresql, timeout_s=0.2) as store:
        store.track([store.reflect("thing")])
        yield store


def printed(url: str) -> list[Any]:
    """The rows as PostgreSQL prints them, which says all of them."""
    with connected(url) as db:
        return db.execute("select t::text from thing as t order by id").fetchall()


@pytest.mark.parametrize(
    "row", [USUAL, ODD, FAR, "default values"], ids=["usual", "odd", "far", "null"]
)
def test_a_value_goes_out_and_comes_back_as_it_was(
    store: SqlStore, postgresql: str, row: str
) -> None:
    with connected(postgresql) as db:
        db.execute(f"insert into thing {row}")
    before, last_id = printed(postgresql), last_id_of(store)
    with store.read() as transaction:
        (read,) = transaction.scan("thing", after=None, limit=2)
        assert transaction.rows("thing", [read[:1]]) == {read[:1]: read}
    with connected(postgresql) as db:
        db.execute("delete from thing")
    (entry,) = log_of(store, after_id=last_id)
    assert entry.old == read, "the log's image is the row"
    assert entry.key == read[:1]
    with store.write() as transaction:
        transaction.apply(writes(inserts={"thing": [read]}))
        assert transaction.rows("thing", [read[:1]]) == {read[:1]: read}
    assert printed(postgresql) == before


def test_many_rows_at_once_come_back_as_they_were(store: SqlStore, postgresql: str) -> None:
    """What goes by COPY: text that is special there, NULL, and the ends of ranges."""
    with connected(postgresql) as db:
        db.execute(
            "create table plain (id integer primary key, a_text text, a_real real, a_double double "
            "precision, a_big bigint, a_numeric numeric, a_boolean boolean, a_bytea bytea, a_uuid "
            "uuid, a_date date, a_timestamp timestamp, a_timestamptz timestamptz, a_jsonb jsonb, "
            "a_json json, an_interval interval, a_char char(4), doubled integer generated always "
            "as (id * 2) stored)"
        )
        store.track([store.reflect("plain")])
        db.execute(
            r"insert into plain select i, E'a\\t\t\\N\n\r\\.\v\f\b\\' || chr(i), i / 3.0, "
            r"i / 3.0, i * 1e17, i / 7.0, i % 2 = 0, decode(lpad(to_hex(i), 4, '0'), 'hex'), "
            r"gen_random_uuid(), date '2024-02-29' + i, now() - i * interval '1 day', "
            r"now() - i * interval '1 day', jsonb_build_object('a', i, 'b', E'\\ \n'), "
            r"""'[1,"\\n"]', i * interval '1 hour', i from generate_series(1, 90) as i"""
        )
        db.execute(r"insert into plain (id, a_text) values (91, ''), (92, '\N'), (93, '\.')")
        before = db.execute("select p::text from plain as p order by id").fetchall()
        with store.read() as transaction:
            rows = transaction.scan("plain", after=None, limit=100)
        db.execute("delete from plain")
        with store.write() as transaction:
            transaction.apply(writes(inserts={"plain": rows}))
        assert db.execute("select p::text from plain as p order by id").fetchall() == before


def test_a_column_that_was_altered_is_read_at_once(postgresql: str) -> None:
    """Statements that a connection has prepared for it are of no use any more."""
    with connected(postgresql) as db:
        db.execute("create table changing (id integer primary key, value integer)")
        db.execute("insert into changing values (1, 5)")
        with open_store(postgresql) as store:
            store.track([store.reflect("changing")])
            for sql_type, value in (("integer", 5), ("bigint", 5), ("text", "5"), ("real", 5.0)):
                db.execute(
                    f"alter table changing alter column value type {sql_type} "
                    f"using value::{sql_type}"
                )
                for _ in range(6):
                    with store.write() as transaction:
                        rows = [(1, value)]
                        assert transaction.scan("changing", after=None, limit=2) == rows
                        assert transaction.rows("changing", [(1,)]) == {(1,): rows[0]}
                        transaction.apply(writes(updates={"changing": [update((1,), value=value)]}))


def test_tables_with_policies_take_many_rows(postgresql: str) -> None:
    """PostgreSQL refuses COPY where a policy has to be asked."""
    role = f"clerk_{postgresql.rpartition('/')[2]}"
    with connected(postgresql) as db:
        db.execute(f"create role {role} login")
        db.execute(f"grant all on schema public to {role}")
        db.execute("grant pg_read_all_settings to " + role)
        db.execute(f"grant execute on function pg_control_system() to {role}")
        db.execute("create table secret (id integer primary key, of integer)")
        db.execute(f"alter table secret owner to {role}")
        db.execute("alter table secret enable row level security")
        db.execute("alter table secret force row level security")
        db.execute("create policy even on secret using (true) with check (of % 2 = 0)")
    with open_store(postgresql.replace("postgres@", f"{role}@")) as store:
        store.track([store.reflect("secret")])
        with store.write() as transaction:
            rows = [(i, 2 * i) for i in range(50)]
            transaction.apply(writes(inserts={"secret": rows}))
            with pytest.raises(ConstraintError, match="policy"):
                transaction.apply(writes(inserts={"secret": [(i, i) for i in range(100, 150)]}))
        with store.read() as transaction:
            assert transaction.scan("secret", after=None, limit=100) == rows


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("double precision", 0.5),
        ("real", -1e20),
        ("double precision", "'infinity'"),
        ("numeric(6, 2)", 2.5),
        ("bigint", 2**60),
        ("bigint", 7),
        ("text", "'reunite:text:x'"),
        ("boolean", "true"),
        ("uuid", "'5F0C8D2E-0000-4000-8000-00000000000A'"),
        ("timestamp", "'2026-01-02 03:04:05.6'"),
        ("timestamptz", "'2026-01-02 03:04:05.6+00'"),
    ],
)
def test_a_key_of_any_type_is_in_the_log_as_it_is_in_the_row(
    store: SqlStore, postgresql: str, sql: str, key: object
) -> None:
    with connected(postgresql) as db:
        db.execute(f"create table by (at {sql} primary key)")
        store.track([store.reflect("by")])
        db.execute(f"insert into by values ({key})")
    (entry,) = log_of(store)
    with store.read() as transaction:
        assert transaction.rows("by", [entry.key]) == {entry.key: entry.key}


@pytest.mark.parametrize(
    ("column_type", "value"),
    [
        ("numeric", "'NaN'"),
        ("numeric", "'-Infinity'"),
        ("float8", "'NaN'"),
        ("float8", "'Infinity'"),
        ("date", "'-infinity'"),
        ("date", "'0044-03-15 BC'"),
        ("timestamptz", "'infinity'"),
        ("bigint", "-9223372036854775808"),
        ("oid", "4294967295"),
        ("bytea", "''"),
        ("boolean", "false"),
    ],
)
def test_a_row_of_an_odd_key_is_found_by_it(postgresql: str, column_type: str, value: str) -> None:
    with connected(postgresql) as db:
        db.execute(f"create table odd (k {column_type} primary key)")
        db.execute(f"insert into odd values ({value})")
    with open_store(postgresql) as store:
        store.track([store.reflect("odd")])
        with store.read() as transaction:
            (row,) = transaction.scan("odd", after=None, limit=1)
            assert transaction.rows("odd", [row]) == {row: row}


@pytest.mark.parametrize("column_type", ["integer", "float8", "numeric", "uuid", "date", "boolean"])
def test_what_can_be_no_key_finds_no_row(postgresql: str, column_type: str) -> None:
    with connected(postgresql) as db:
        db.execute(f"create table odd (k {column_type} primary key)")
    with open_store(postgresql) as store:
        store.track([store.reflect("odd")])
        with store.read() as transaction:
            assert transaction.rows("odd", [(None,), ("x",), ("",), (10**30,)]) == {}


def test_types_are_told_by_the_catalogue(store: SqlStore) -> None:
    schema = store.reflect("thing")
    assert "doubled" not in schema.column, "computed columns are not sent"
    kinds = {column.name: column.type for column in schema.columns}
    assert kinds["a_percent"] is ColumnType.DECIMAL, "a domain is what it is made of"
    assert kinds["a_mood"] is ColumnType.TEXT
    assert {kinds[name] for name in ("a_place", "numbers", "texts", "a_range", "many")} == {
        ColumnType.JSON
    }
    assert kinds["a_timestamptz"] is ColumnType.DATETIME
    assert not schema.generated_key
    with store.read() as transaction:
        assert transaction.schemas()["thing"].column["id"].type is ColumnType.UUID


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("a_small", 40_000),
        ("a_text", "a\0b"),
        ("a_text", "reunite:blob:AP8="),
        ("a_varchar", "much too long"),
        ("a_mood", "furious"),
        ("a_percent", "101"),
        ("a_date", "no date"),
        ("numbers", ["x"]),
        ("a_range", "[5,1]"),
    ],
)
def test_what_postgresql_cannot_hold_is_refused_and_harms_nothing(
    store: SqlStore, postgresql: str, column: str, value: Any
) -> None:
    with connected(postgresql) as db:
        db.execute("insert into thing (a_text) values ('kept')")
    with store.write() as transaction:
        (row,) = transaction.scan("thing", after=None, limit=1)
        with pytest.raises(ConstraintError) as refusal:
            transaction.apply(writes(updates={"thing": [update(row[:1], **{column: value})]}))
        assert refusal.value.code == "check"
        assert transaction.rows("thing", [row[:1]]) == {row[:1]: row}


# --- Connections ----------------------------------------------------------------------------------


def test_a_hub_goes_on_after_its_server_was_restarted(
    postgresql_server: PostgresServer, store: SqlStore, postgresql: str
) -> None:
    with connected(postgresql) as db:
        db.execute("insert into thing (a_text) values ('before')")
    number(store)
    with store.write(), store.read():  # two connections wait for their next transaction
        pass
    postgresql_server.stop()
    with pytest.raises(StorageUnavailableError), store.read():
        pass
    postgresql_server.start()
    with store.read() as transaction:
        assert transaction.head().seq == 1
    with connected(postgresql) as db:
        db.execute("insert into thing (a_text) values ('after')")
    assert number(store).seq == 2


@pytest.mark.usefixtures("postgresql_server")  # which skips where there can be none
def test_a_standby_takes_no_writes_until_it_is_promoted() -> None:
    """Nothing that is pushed meanwhile is refused for good, as what a value breaks would be."""
    with running_server() as server:
        url = server.new_database()
        with connected(url) as db:
            db.execute(DDL)
        with open_store(url) as store:
            store.track([store.reflect("thing")])
            server.stop()
            server.start_as_standby()
            with pytest.raises(StorageReadOnlyError, match="primary"), store.write():
                pass
            with store.read() as transaction:
                assert "thing" in transaction.schemas()
            server.promote()
            with store.write() as transaction:
                assert "thing" in transaction.schemas()


def test_a_transaction_whose_connection_breaks_has_no_effect(
    postgresql_server: PostgresServer, store: SqlStore, postgresql: str
) -> None:
    def write_and_lose() -> None:
        with store.write() as transaction:
            transaction.add_token("hash", principal=Principal(user="ann"), label="", now_ms=1)
            postgresql_server.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'reunite'"
            )
            transaction.tokens()

    with pytest.raises(StorageUnavailableError):
        write_and_lose()
    with store.write() as transaction:
        assert transaction.tokens() == []


def test_who_waits_for_a_row_for_too_long_is_told_to_come_later(
    store: SqlStore, postgresql: str
) -> None:
    import psycopg

    with psycopg.connect(postgresql) as db:
        db.execute("insert into thing (a_text) values ('locked')")
        db.commit()
        db.execute("update thing set a_text = 'still open'")
        with store.read() as transaction:
            (row,) = transaction.scan("thing", after=None, limit=1)
        with pytest.raises(StorageUnavailableError), store.write() as transaction:
            transaction.rows("thing", [row[:1]])


def test_two_that_wait_for_each_other_are_parted(store: SqlStore, postgresql: str) -> None:
    """PostgreSQL ends one of them; if it is ours, the replica comes again."""
    import psycopg

    with open_store(postgresql, timeout_s=5.0) as patient, psycopg.connect(postgresql) as db:
        db.execute("insert into thing (a_text) values ('a'), ('b')")
        db.commit()
        with patient.read() as transaction:
            first, second = (row[:1] for row in transaction.scan("thing", after=None, limit=2))
        outcomes: list[str] = []

        def ours() -> None:
            try:
                with patient.write() as transaction:
                    transaction.rows("thing", [second])
                    has_second.set()
                    has_first.wait()
                    transaction.rows("thing", [first])
                outcomes.append("ours")
            except StorageUnavailableError:
                outcomes.append("later")

        has_first, has_second = threading.Event(), threading.Event()
        thread = threading.Thread(target=ours)
        db.execute("update thing set a_text = 'x' where id = %s", first)
        thread.start()
        has_second.wait()
        has_first.set()
        try:
            db.execute("update thing set a_text = 'x' where id = %s", second)
            db.commit()
        except psycopg.errors.DeadlockDetected:
            db.rollback()
            outcomes.append("theirs")
        thread.join()
    assert outcomes in (["later"], ["theirs", "ours"], ["ours", "theirs"])
