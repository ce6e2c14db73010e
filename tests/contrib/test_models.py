"""Models of SQLAlchemy, tracked by a hub and checked by a replica."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import Column, Computed, Integer, MetaData, String, Table, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from reunite import BadRequestError, CallerError, Hub, Replica, UnknownTableError
from reunite.contrib.sqlalchemy import acting_as
from reunite.core.schema import ColumnMerge, ColumnType, RowMerge
from reunite.testing import FakeWire
from tests.contrib.conftest import Shop
from tests.contrib.models import Base, Clerk, Person, Product, Shelf


def test_the_schema_is_that_of_the_mapping(shop: Shop) -> None:
    schema = {each.name: each for each in shop.hub.adopt()}["product"]
    types = {column.name: column.type for column in schema.columns}
    assert schema.key == ("id",)
    assert schema.generated_key
    assert {key.columns: key.parent for key in schema.foreign_keys} == {("shelf_id",): "shelf"}
    assert [unique.columns for unique in schema.uniques] == [("tag",)]
    assert types["name"] is types["colour"] is types["tags"] is ColumnType.TEXT
    assert types["more"] is ColumnType.JSON
    assert types["price"] is ColumnType.DECIMAL
    assert types["is_open"] is ColumnType.BOOLEAN
    assert types["photo"] is ColumnType.BLOB
    assert types["made"] is types["seen"] is ColumnType.DATETIME
    assert types["day"] is ColumnType.DATE
    assert types["hour"] is ColumnType.TIME


def test_a_class_a_table_and_a_decorated_class_are_tracked(tmp_path: Path) -> None:
    class Model(DeclarativeBase):
        pass

    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    tag = Table("tag", Model.metadata, Column("name", String, primary_key=True))
    with engine.begin() as db:
        db.execute(text("create table stock (id integer primary key, amount integer)"))

    with Hub(engine) as hub:

        @hub.track
        class Note(Model):
            __tablename__ = "note"
            id: Mapped[int] = mapped_column(primary_key=True)

        @hub.track(merge={"amount": "counter"}, rows="update_wins")
        class Stock(Model):
            __tablename__ = "stock"
            id: Mapped[int] = mapped_column(primary_key=True)
            amount: Mapped[int]

        assert hub.track(tag) is tag
        assert Note.__tablename__ == "note"
        assert hub.status().tables == ("stock",)  # the others come with create_all
        schema = hub.track("stock", merge={"amount": "counter"}, rows="update_wins")
        assert schema.column["amount"].merge is ColumnMerge.COUNTER
        assert schema.rows is RowMerge.UPDATE_WINS
        Model.metadata.create_all(engine)
        assert hub.status().tables == ("note", "stock", "tag")
        with Session(engine) as session:
            session.add(Note())
            session.commit()
        (entry,) = hub.history("note", (1,))
        assert entry.op == "insert"
    engine.dispose()


def test_a_class_that_inherits_is_tracked_with_its_parents_table(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    Base.metadata.create_all(engine)
    with Hub(engine) as hub:
        hub.track(Clerk)
        assert hub.status().tables == ("clerk", "person")
    engine.dispose()


def test_a_mapping_that_the_database_does_not_fit_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    with engine.begin() as db:
        db.execute(text("create table person (id text primary key)"))
        db.execute(text("create table shelf (id integer, name text primary key)"))
    with Hub(engine) as hub:
        with pytest.raises(BadRequestError, match="no column 'kind'"):
            hub.track(Person)
        with pytest.raises(BadRequestError, match="The key of 'shelf' is 'name'"):
            hub.track(Shelf)
        with pytest.raises(BadRequestError, match="a column 'colour'"):
            hub.track(Person, merge={"colour": "counter"})
        with pytest.raises(BadRequestError, match="mapped class"):
            hub.track(5)
        keyless = Table("keyless", MetaData(), Column("a", Integer))
        with pytest.raises(BadRequestError, match="no primary key"):
            hub.track(keyless)
        assert hub.track(keyless.metadata) is keyless.metadata  # passed over
        with pytest.raises(UnknownTableError):
            hub.track("nothing")  # a name is not waited for
        hub.track("shelf")
        assert hub.status().tables == ("shelf",)
    engine.dispose()


def test_a_hub_opens_what_an_engine_connects_to(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}")
    with Hub(engine) as hub:
        hub.track(Base.metadata)
        assert hub.authenticate(hub.create_token()).user == "owner"
    with pytest.raises(CallerError, match="in memory"):
        Hub(create_engine("sqlite://"))


def test_a_replica_says_whether_it_has_what_a_model_maps(shop: Shop) -> None:
    replica = shop.clone(tables=["shelf", "product"])
    assert replica.track(Product) is Product
    with pytest.raises(BadRequestError, match="no table 'person' here"):
        replica.track(Base.metadata)


def test_a_replica_refuses_a_model_with_what_the_hubs_database_computes(tmp_path: Path) -> None:
    class Model(DeclarativeBase):
        pass

    class Sum(Model):
        __tablename__ = "sum"
        id: Mapped[int] = mapped_column(primary_key=True)
        n: Mapped[int]
        twice: Mapped[int] = mapped_column(Computed("n * 2"))

    with ExitStack() as closing:
        engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
        closing.callback(engine.dispose)
        Model.metadata.create_all(engine)
        hub = closing.enter_context(Hub(engine))
        hub.track(Sum)
        transport = FakeWire(hub).transport(hub.create_token())
        replica = closing.enter_context(Replica.clone(tmp_path / "till.db", transport=transport))
        with pytest.raises(BadRequestError, match="'twice' of 'sum' is computed by the hub"):
            replica.track(Sum)


def test_who_acts_is_known_of_the_first_writes_to_a_table_that_came_late(tmp_path: Path) -> None:
    class Model(DeclarativeBase):
        pass

    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    with Hub(engine) as hub:

        @hub.track
        class Note(Model):
            __tablename__ = "note"
            id: Mapped[int] = mapped_column(primary_key=True)

        Model.metadata.create_all(engine)
        with Session(engine) as session:
            with acting_as(hub, session, "ann"):
                session.add(Note(id=1))
            session.commit()
        assert [entry.principal for entry in hub.log()] == ["ann"]
    engine.dispose()


def test_what_a_session_writes_is_ascribed_to_who_acts_in_it(shop: Shop) -> None:
    with shop.session() as session:
        with acting_as(shop.hub, session, "bob"):
            session.add(Shelf(id=2, name="middle"))
        session.commit()
        session.add(Shelf(id=3, name="nobody's"))
        session.commit()
        with acting_as(shop.hub, session, "ann"):
            session.add(Shelf(id=1, name="top"))
    shop.hub.number()

    def who(key: int) -> list[str | None]:
        return [entry.principal for entry in shop.hub.history("shelf", (key,))]

    assert who(2) == ["bob"]
    assert who(3) == [None]
    assert who(1) == []  # nobody committed it


def test_a_commit_inside_of_who_acts_is_refused(shop: Shop) -> None:
    def add(session: Session) -> None:
        with acting_as(shop.hub, session, "bob"):
            session.add(Shelf(id=2, name="middle"))
            session.commit()

    with shop.session() as session, pytest.raises(BadRequestError, match="commit after the block"):
        add(session)


def test_without_sqlalchemy_a_hub_tracks_by_name(tmp_path: Path) -> None:
    program = """
        import sqlite3, sys
        sys.modules["sqlalchemy"] = None
        from reunite import Hub
        db = sqlite3.connect("hub.db")
        db.execute("create table t (id integer primary key)")
        db.close()
        with Hub("hub.db") as hub:
            print(hub.track("t").name)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "t\n"
