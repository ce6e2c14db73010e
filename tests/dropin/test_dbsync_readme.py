"""dbsync's README, with the imports changed: real processes, HTTP, and its `synchronize` loop."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from textwrap import dedent

from tests.integration.test_examples import Program
from tests.patience import DEADLINE_S

MODELS = """
    from sqlalchemy import Column, ForeignKey, Integer, String, create_engine
    from sqlalchemy.orm import declarative_base, relationship

    Base = declarative_base()


    def models(track):
        @track
        class City(Base):

            __tablename__ = "city"

            id = Column(Integer, primary_key=True) # doesn't have to be called 'id'
            name = Column(String(100))

        @track
        class House(Base):

            __tablename__ = "house"

            id = Column(Integer, primary_key=True)
            address = Column(String(200), unique=True)
            city_id = Column(Integer, ForeignKey("city.id"))
            city = relationship(City, backref="houses")

        return City, House
"""
SERVER = """
    import json

    from flask import Flask, request
    from models import Base, create_engine, models
    from reunite.dropin import dbsync
    from reunite.dropin.dbsync import server

    engine = create_engine("sqlite:///server.db")
    dbsync.set_engine(engine)
    models(server.track)
    Base.metadata.create_all(engine)
    app = Flask(__name__)


    @app.route("/register", methods=["POST"])
    def register():
        return (json.dumps(server.handle_register()),
                200,
                {"Content-Type": "application/json"})


    @app.route("/pull", methods=["POST"])
    def pull():
        return (json.dumps(server.handle_pull_request(request.json)),
                200,
                {"Content-Type": "application/json"})


    @app.route("/push", methods=["POST"])
    def push():
        try:
            return (json.dumps(server.handle_push(request.json)),
                    200,
                    {"Content-Type": "application/json"})
        except server.handlers.PushRejected as e:
            return (json.dumps({'error': [repr(arg) for arg in e.args]}),
                    400,
                    {"Content-Type": "application/json"})
"""
NODE = """
    import sys

    from models import Base, create_engine, models
    from reunite.dropin import dbsync
    from reunite.dropin.dbsync import client
    from sqlalchemy.orm import Session

    engine = create_engine(f"sqlite:///{sys.argv[1]}") # sample database URL
    dbsync.set_engine(engine)
    City, House = models(client.track)
    Base.metadata.create_all(engine)
    url = sys.argv[2]

    if not client.isregistered():
       client.register(url + "/register")


    def synchronize(push_url, pull_url, tries):
        for _ in range(tries):
            try:
                return client.push(push_url)
            except client.PushRejected:
                try:
                    client.pull(pull_url)
                except client.UniqueConstraintError as e:
                    for model, pk, columns in e.entries:
                        pass # handle exception
        raise Exception("push rejected %d times" % tries)


    with Session(engine) as session:
        exec(sys.argv[3])
        session.commit()
    print(synchronize(url + "/push", url + "/pull", 3)["new_version_id"])
    client.pull(url + "/pull")
"""


def rows(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "select city.name, address from house join city on city.id = city_id order by 1, 2"
        ).fetchall()


def test_the_readme_runs_but_for_its_imports(tmp_path: Path) -> None:
    for name, text in (("models", MODELS), ("server", SERVER), ("node", NODE)):
        (tmp_path / f"{name}.py").write_text(dedent(text))
    folders = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(folders), "PYTHONUNBUFFERED": "1"}
    serving = Program(
        tmp_path, "-m", "flask", "--app", "server", "run", "--port", "0", environment=environment
    )
    with serving.running():
        url = serving.until_match(r"Running on (http://127.0.0.1:\d+)")

        def node(name: str, work: str) -> int:
            done = subprocess.run(
                [sys.executable, str(tmp_path / "node.py"), f"{name}.db", url, work],
                cwd=tmp_path,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            assert done.returncode == 0, done.stderr
            return int(done.stdout)

        first = node("one", "session.add(House(address='a', city=City(name='Rome')))")
        second = node("two", "session.add(House(address='b', city=City(name='Oslo')))")
        assert second > first
        node("one", "session.query(City).update({'name': City.name + '!'})")
        node("two", "pass")
    expected = [("Oslo", "b"), ("Rome!", "a")]  # one had not pulled Oslo when it wrote
    for name in ("server", "one", "two"):
        assert rows(tmp_path / f"{name}.db") == expected, name
