"""A to-do list with sign-in: Flask and SQLAlchemy, and a hub for devices beside the routes.

$ flask --app app init                         # makes the tables and two users
$ flask --app app run
"""

from __future__ import annotations

import os

from flask import Flask, abort, request, session
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from reunite import Hub, Rules, row, user
from reunite.contrib.flask import Reunite
from reunite.contrib.sqlalchemy import acting_as

TOKEN_AGE_S = 30 * 24 * 3600


class Base(DeclarativeBase):
    pass


class Account(Base):
    """Stays at the hub: it is not tracked."""

    __tablename__ = "account"
    name: Mapped[str] = mapped_column(primary_key=True)
    password: Mapped[str]


class Task(Base):
    __tablename__ = "task"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]  # no foreign key: devices do not have the accounts
    title: Mapped[str]
    is_done: Mapped[bool] = mapped_column(default=False)


app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "change me in production")
engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///todo.db"))
tokens = URLSafeTimedSerializer(app.secret_key, salt="device")

mine = row.owner == user.id
hub = Hub(engine)
hub.track(Task, rules=Rules(read=mine, insert=mine, update=mine, delete=mine))


def signed_in() -> str | None:
    """Who sent the request: a browser by its session, a device by the token that it was given."""
    if "name" in session:
        return str(session["name"])
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        return str(tokens.loads(token, max_age=TOKEN_AGE_S))
    except BadSignature:
        return None


Reunite(app, hub, authenticate=signed_in)


@app.post("/login")
def login() -> dict[str, str]:
    """A session for a browser, and a token for a device."""
    given = request.get_json()
    with Session(engine) as db:
        account = db.get(Account, given["name"])
        if account is None or not check_password_hash(account.password, given["password"]):
            abort(401)
    session["name"] = account.name
    return {"token": tokens.dumps(account.name)}


@app.get("/tasks")
def tasks() -> list[dict[str, object]]:
    with Session(engine) as db:
        found = db.scalars(select(Task).where(Task.owner == _me()).order_by(Task.title))
        return [{"title": task.title, "is_done": task.is_done} for task in found]


@app.post("/tasks")
def add() -> tuple[dict[str, int], int]:
    """The web page writes as it always did; devices hear of it."""
    with Session(engine) as db:
        with acting_as(hub, db, _me()):
            task = Task(owner=_me(), title=request.get_json()["title"])
            db.add(task)
        db.commit()
        return {"id": task.id}, 201


def _me() -> str:
    return signed_in() or abort(401)


@app.cli.command("init")
def init() -> None:
    """Make the tables, and two users whose password is their name."""
    Base.metadata.create_all(engine)
    with Session(engine) as db:
        for name in ("ann", "bob"):
            db.merge(Account(name=name, password=generate_password_hash(name)))
        db.commit()
