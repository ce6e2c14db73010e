"""Alembic on a hub's database and on a replica's file."""

from pathlib import Path
from textwrap import dedent

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.orm import Session

from reunite import Hub
from reunite.cli.checks import checks_of
from reunite.contrib.sqlalchemy import include_name, migrating
from tests.contrib.conftest import Shop
from tests.contrib.models import Base, Product, Shelf

ENV = """
    from alembic import context
    from sqlalchemy import create_engine

    from reunite.contrib.sqlalchemy import include_name, migrating

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with migrating(engine), engine.connect() as connection:
        context.configure(connection=connection, include_name=include_name, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
"""
DROP_PHOTO = """
    from alembic import op

    revision, down_revision = "1", None

    def upgrade():
        with op.batch_alter_table("product") as table:
            table.drop_column("photo")
"""


def environment(folder: Path, url: str) -> Config:
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(dedent(ENV))
    (folder / "versions" / "1_drop_photo.py").write_text(dedent(DROP_PHOTO))
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("sqlalchemy.url", url)
    config.set_main_option("path_separator", "os")
    return config


def differences(engine: Engine) -> list[object]:
    with engine.connect() as db:
        context = MigrationContext.configure(db, opts={"include_name": include_name})
        return list(compare_metadata(context, Base.metadata))


def stale_triggers(path: Path) -> list[str]:
    _, findings = checks_of(path)
    return [each.sentence for each in findings if each.is_well is False]


def test_autogenerate_does_not_see_what_is_reunites(shop: Shop) -> None:
    assert differences(shop.engine) == []
    with shop.session() as session:
        session.add(Shelf(name="top"))
        session.commit()
    replica = shop.clone()
    found = repr(differences(shop.engine_of(replica)))
    assert "reunite_" not in found
    assert "remove_table" not in found


def test_a_migration_takes_the_triggers_off_and_puts_them_back(shop: Shop, tmp_path: Path) -> None:
    replica = shop.clone()
    url = shop.engine.url.render_as_string(hide_password=False)
    command.upgrade(environment(tmp_path / "migrations", url), "head")
    assert "photo" not in {each["name"] for each in inspect(shop.engine).get_columns("product")}
    with shop.engine.begin() as db:
        db.execute(text("insert into shelf (id, name) values (5000, 'top')"))
        db.execute(
            text("insert into product (id, shelf_id, name, stock) values (5000, 5000, 'nut', 1)")
        )
    assert [entry.op for entry in shop.hub.history("product", (5000,))] == ["insert"]
    replica.sync()
    assert [row[:3] for row in replica.base_rows("product").values()] == [(5000, 5000, "nut")]
    assert "photo" not in replica.schemas["product"].column


def test_a_database_that_is_no_hub_yet_migrates_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    command.upgrade(environment(tmp_path / "migrations", url), "head")
    assert not [name for name in inspect(engine).get_table_names() if name.startswith("reunite")]
    engine.dispose()


def test_what_a_failed_migration_leaves_is_captured(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    Base.metadata.create_all(engine)
    with Hub(engine) as hub:
        hub.track(Base.metadata)
        with pytest.raises(ZeroDivisionError), migrating(engine):
            raise ZeroDivisionError
        with Session(engine) as session:
            session.add(Shelf(name="top"))
            session.commit()
        assert len(hub.history("shelf", (1,))) == 1
    engine.dispose()


def test_doctor_sees_what_a_migration_without_the_helper_took_away(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    Base.metadata.create_all(engine)
    with Hub(engine) as hub:
        hub.track(Product)
        assert stale_triggers(tmp_path / "hub.db") == []
        with engine.begin() as db:  # as a batch does it
            db.execute(text("create table _new as select * from product"))
            db.execute(text("drop table product"))
            Base.metadata.create_all(db)
            db.execute(text("insert into product select * from _new"))
            db.execute(text("drop table _new"))
        assert any("product" in sentence for sentence in stale_triggers(tmp_path / "hub.db"))
        hub.number()
        assert stale_triggers(tmp_path / "hub.db") == []
    engine.dispose()
