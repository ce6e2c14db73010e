"""Synchronizers for the tests of the mobync drop-in, of every kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from reunite.dropin.mobync import (
    InMemorySynchronizer,
    SqlSynchronizer,
    Synchronizer,
    diffs_table,
)
from tests.dropin.mobync_world import MODEL, Implementation


def sql_synchronizer(engine: sa.Engine) -> SqlSynchronizer:
    """Two models with three fields, in a new database."""
    metadata = sa.MetaData()
    models = {
        name: sa.Table(
            name,
            metadata,
            sa.Column("id", sa.Text, primary_key=True),
            *(sa.Column(f"field{n}", sa.Text) for n in (1, 2, 3)),
        )
        for name in (MODEL, "model2")
    }
    diffs = diffs_table(metadata)
    metadata.create_all(engine)
    return SqlSynchronizer(engine, models, diffs)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqlSynchronizer]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'server.db'}")
    yield sql_synchronizer(engine)
    engine.dispose()


@pytest.fixture
def on_postgresql(postgresql: str) -> Iterator[SqlSynchronizer]:
    engine = sa.create_engine(postgresql.replace("postgresql://", "postgresql+psycopg://", 1))
    yield sql_synchronizer(engine)
    engine.dispose()


@pytest.fixture(params=["memory", "plain", "sqlite"])
def synchronizer(request: pytest.FixtureRequest) -> Synchronizer:
    """Each kind in turn; "plain" has nothing but the seven methods of mobync."""
    if request.param == "memory":
        return InMemorySynchronizer([MODEL, "model2"])
    if request.param == "plain":
        return Implementation()
    found: SqlSynchronizer = request.getfixturevalue("sqlite")
    return found
