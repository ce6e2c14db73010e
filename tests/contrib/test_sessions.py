"""Sessions of SQLAlchemy on a replica's file."""

import asyncio
import sqlite3
import threading
import uuid
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, delete, func, insert, select, text
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from reunite import Replica
from reunite.contrib.sqlalchemy import create_all, replica_async_engine
from tests.contrib.conftest import Shop
from tests.contrib.models import Base, Clerk, Colour, Product, Shelf
from tests.patience import DEADLINE_S

MOMENT = datetime.fromisoformat("2026-11-21T10:30:00.250")
EVERYTHING: dict[str, Any] = {
    "label": "bolt",
    "tag": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "price": Decimal("2.80"),
    "weight": 0.1 + 0.2,
    "is_open": True,
    "colour": Colour.BLUE,
    "made": MOMENT,
    "seen": MOMENT.replace(tzinfo=UTC),
    "day": date(2026, 11, 21),
    "hour": time(23, 59, 1, 20),
    "photo": b"\x00\xff",
    "more": {"a": [1, None, "x"]},
    "tags": ["one", "two"],
    "stock": 3,
}


def groups_of(replica: Replica) -> list[int]:
    """How many changes each marked group of the outbox has."""
    with closing(sqlite3.connect(replica.path)) as db:
        found = db.execute("select last_id - first_id + 1 from reunite_group order by 1")
        return [count for (count,) in found]


def written(row: Product) -> dict[str, Any]:
    return {name: getattr(row, name) for name in EVERYTHING}


def test_every_type_comes_back_as_it_was_on_both_sides(shop: Shop) -> None:
    with shop.session() as session:
        session.add(Shelf(name="top", products=[Product(**EVERYTHING)]))
        session.commit()
    replica = shop.clone()
    sessions = shop.sessions(replica)
    mine = {**EVERYTHING, "tag": uuid.uuid4(), "label": "nut", "more": None}
    with sessions.begin() as session:
        row = session.scalars(select(Product)).one()
        has_zone = shop.engine.dialect.name == "postgresql"
        expected = EVERYTHING if has_zone else {**EVERYTHING, "seen": MOMENT}
        assert written(row) == expected
        session.add(Product(shelf_id=row.shelf_id, **mine))
    replica.sync()
    assert replica.parked() == []
    with shop.session() as session:
        row = session.scalars(select(Product).where(Product.label == "nut")).one()
        expected = mine if has_zone else {**mine, "seen": MOMENT}
        assert written(row) == expected
    with sessions() as session:
        assert written(session.scalars(select(Product).filter_by(label="nut")).one()) == expected


def test_a_value_is_found_by_what_was_written_before_and_after_a_sync(shop: Shop) -> None:
    with shop.session() as session:
        session.add(Shelf(name="top", products=[Product(**EVERYTHING)]))
        session.commit()
    replica = shop.clone()
    sessions = shop.sessions(replica)
    other = {**EVERYTHING, "tag": uuid.uuid4()}
    with sessions.begin() as session:
        session.add(Product(shelf_id=1, **other))

    def check() -> None:
        with sessions() as session:
            for name in ("made", "seen", "day", "hour", "price", "colour"):
                found = session.scalars(
                    select(Product).where(getattr(Product, name) == EVERYTHING[name])
                ).all()
                assert len(found) == 2, name
            wanted = select(Product).where(Product.tag == other["tag"])
            assert session.scalars(wanted).one().label == "bolt"

    check()
    replica.sync()
    check()


def test_a_time_with_another_zone_is_the_same_moment(shop: Shop) -> None:
    if shop.engine.dialect.name == "sqlite":
        pytest.skip("SQLAlchemy keeps no zones in SQLite")
    replica = shop.clone()
    there = MOMENT.replace(tzinfo=timezone(timedelta(hours=5)))
    with shop.session() as session:
        session.add(Shelf(id=1, name="top"))
        session.add(Product(shelf_id=1, label="x", price=Decimal(1)))
        session.commit()
    replica.sync()
    sessions = shop.sessions(replica)
    with sessions.begin() as session:
        session.scalars(select(Product)).one().seen = there
    replica.sync()
    with shop.session() as session:
        assert session.scalars(select(Product)).one().seen == there
    with sessions() as session:
        assert session.scalars(select(Product)).one().seen == there


def test_a_commit_is_one_group_and_a_rollback_none(shop: Shop) -> None:
    replica = shop.clone()
    sessions = shop.sessions(replica)
    with sessions() as session:
        shelf = Shelf(name="top", products=[Product(label="a"), Product(label="b")])
        session.add(shelf)
        session.flush()
        shelf.products[0].label = "c"
        session.commit()
        session.add(Shelf(name="lost"))
        session.flush()
        session.rollback()
        session.delete(shelf)
        session.commit()
    with sessions() as session:
        session.scalars(select(Shelf)).all()
        session.commit()  # nothing was written: no group
    assert groups_of(replica) == [3, 4]
    replica.sync()
    with shop.session() as session:
        assert session.scalars(select(Shelf)).all() == []


def test_every_way_to_write_is_captured_and_marked(shop: Shop) -> None:
    replica = shop.clone()
    sessions = shop.sessions(replica)
    ways = (
        insert(Shelf).values([{"name": "a"}, {"name": "b"}]),
        sql_update(Shelf).values(name=Shelf.name + "!"),
        text("insert into shelf (name) values ('raw')"),
        text("with x as (select 'cte' as n) insert into shelf (name) select n from x"),
        delete(Shelf).where(Shelf.name == "raw"),
    )
    for way in ways:
        with sessions.begin() as session:
            session.execute(text("with x as (select 1) select * from x")).all()
            session.execute(way)
    assert groups_of(replica) == [1, 1, 1, 2, 2]
    replica.sync()
    with shop.session() as session:
        assert sorted(session.scalars(select(Shelf.name))) == ["a!", "b!", "cte"]


def test_a_group_that_the_hub_refuses_is_refused_whole(shop: Shop) -> None:
    replica = shop.clone()
    with shop.session() as session:
        session.add(Shelf(id=77, name="top"))
        session.commit()
    sessions = shop.sessions(replica)
    with sessions.begin() as session:
        session.add_all([Shelf(name="other"), Shelf(name="top")])
    replica.sync()
    assert len(replica.parked()) == 2
    with sessions() as session:
        assert session.scalars(select(Shelf.name)).all() == ["top"]


def test_generated_keys_come_from_the_replicas_block_and_stay(shop: Shop) -> None:
    one, two = shop.clone("one"), shop.clone("two")
    kept: list[tuple[Any, int, int]] = []
    for replica in (one, two):
        sessions = shop.sessions(replica)
        with sessions.begin() as session:
            shelf = Shelf(name=replica.path.stem)
            session.add(shelf)
            session.flush()
            product = Product(shelf=shelf, label="x")
            session.add(product)
            session.flush()
            kept.append((sessions, shelf.id, product.id))
    for replica in (one, two, one):
        replica.sync()
    assert len({key for _, key, _ in kept}) == 2
    for sessions, shelf_id, product_id in kept:
        with sessions() as session:
            assert session.get(Product, product_id).shelf_id == shelf_id
            assert session.scalar(select(func.count()).select_from(Shelf)) == 2


def test_rows_beyond_the_block_are_inserted_all_the_same(shop: Shop) -> None:
    replica = shop.clone()
    sessions = shop.sessions(replica)
    with sessions.begin() as session:
        session.add_all([Shelf(name=str(number)) for number in range(1_050)])
    assert groups_of(replica) == [1_050]
    replica.sync()
    with shop.session() as session:
        assert session.scalar(select(func.count()).select_from(Shelf)) == 1_050
    assert replica.parked() == []


def test_rows_of_two_tables_and_savepoints_are_one_group(shop: Shop) -> None:
    replica = shop.clone()
    sessions = shop.sessions(replica)
    with sessions.begin() as session:
        session.add(Clerk(id="ann", desk=4))
        with session.begin_nested():
            session.add(Clerk(id="bob", desk=5))
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            session.add(Clerk(id="eve", desk=1 // 0))
    assert groups_of(replica) == [4]
    replica.sync()
    with shop.session() as session:
        assert sorted(session.scalars(select(Clerk.id))) == ["ann", "bob"]


def test_foreign_keys_are_enforced(shop: Shop) -> None:
    sessions = shop.sessions(shop.clone())
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.add(Product(label="of no shelf", shelf_id=99))


def test_threads_that_write_wait_for_their_turn_and_mix_no_groups(shop: Shop) -> None:
    replica = shop.clone()
    sessions = shop.sessions(replica)
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(DEADLINE_S)
        for turn in range(5):
            with sessions.begin() as session:
                session.add(Shelf(name=f"{number}-{turn}", products=[Product(label="x")]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert groups_of(replica) == [2] * 20
    replica.sync()
    with shop.session() as session:
        assert session.scalar(select(func.count()).select_from(Product)) == 20


def test_autocommit_is_left_as_it_is(shop: Shop) -> None:
    replica = shop.clone()
    engine = shop.engine_of(replica).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(insert(Shelf).values(name="at once"))
    assert groups_of(replica) == []
    replica.sync()
    with shop.session() as session:
        assert session.scalars(select(Shelf.name)).all() == ["at once"]


def test_an_async_session_marks_groups_too(shop: Shop) -> None:
    replica = shop.clone()

    async def work() -> None:
        engine = replica_async_engine(replica)
        try:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Shelf(name="top", products=[Product(**EVERYTHING)]))
            async with AsyncSession(engine) as session:
                session.add(Shelf(name="gone"))
                await session.flush()
                await session.rollback()
                assert (await session.scalars(select(Product))).one().price == Decimal("2.80")
        finally:
            await engine.dispose()

    asyncio.run(work())
    assert groups_of(replica) == [2]
    replica.sync()
    with shop.session() as session:
        assert session.scalars(select(Shelf.name)).all() == ["top"]
        assert session.scalars(select(Product)).one().tag == EVERYTHING["tag"]


def test_tables_of_ones_own_and_indexes_are_added_to_a_replica(shop: Shop) -> None:
    replica = shop.clone()
    engine = shop.engine_of(replica)
    own = MetaData()
    for table in Base.metadata.sorted_tables:
        table.to_metadata(own)
    draft = Table("draft", own, Column("id", Integer, primary_key=True))
    Index("by_label", own.tables["product"].c.name)
    create_all(engine, own)
    create_all(engine, own)
    with engine.begin() as db:
        db.execute(insert(draft))
        names = db.execute(text("select name from sqlite_master")).scalars().all()
    assert "by_label" in names
    assert replica.status().pending == 0
    replica.sync()
