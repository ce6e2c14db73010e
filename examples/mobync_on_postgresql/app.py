"""A Flask backend on PostgreSQL for devices that speak mobync; README.md says how to run it."""

import json
import os
import sys
from typing import Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from reunite.dropin.mobync import Mobync, SqlSynchronizer, diffs_table, flask_blueprint

TOKENS = {"ann-secret": "ann", "bob-secret": "bob"}


class Base(DeclarativeBase):
    pass


class Task(Base):
    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    done: Mapped[bool] = mapped_column(default=False)
    person: Mapped[str | None]


diffs = diffs_table(Base.metadata)


class Tasks(SqlSynchronizer):
    """A task that names a person names its owner."""

    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        person = json.loads(kwargs["json_data"]).get("person")
        return person in {None, owner_id}

    validate_update = validate_create


def make_app(database_url: str) -> Flask:
    engine = sa.create_engine(database_url)
    Base.metadata.create_all(engine)
    app = Flask(__name__)
    mobync = Mobync(Tasks(engine, {"tasks": Task}, diffs))
    app.register_blueprint(flask_blueprint(mobync, TOKENS.get))
    return app


if __name__ == "__main__":
    application = make_app(os.environ.get("DATABASE_URL", "sqlite:///tasks.db"))
    application.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
