"""The example is dbsync's README with its imports changed: it runs, over HTTP, in processes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from reunite.dropin.dbsync.client import Client
from tests.integration.test_examples import EXAMPLES, Program
from tests.patience import DEADLINE_S


class Base(DeclarativeBase):
    pass


class City(Base):
    __tablename__ = "city"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


def persons(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "select person.name, city.name from person join city on city.id = city_id order by 1"
        ).fetchall()


def run_node(folder: Path, name: str, url: str, *names: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(folder / "node.py"), f"{name}.db", url, *names],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_readme_runs_but_for_its_imports(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLES / "cities_on_dbsync", folder)
    serving = Program(folder, "server.py", "0", environment={"PYTHONUNBUFFERED": "1"})
    with serving.running():
        url = serving.until_match(r"Running on (http://127.0.0.1:\d+)")
        run_node(folder, "one", url, "Ann", "Bob")
        run_node(folder, "two", url, "Cem")
        shown = run_node(folder, "one", url)
        everybody = [
            ("Ann", "the city of one.db"), ("Bob", "the city of one.db"),
            ("Cem", "the city of two.db"),
        ]  # fmt: skip
        assert shown[:-1] == [f"{name}, {city}" for name, city in everybody]
        assert shown[-1].startswith("version ")
        for name in ("server", "one"):
            assert persons(folder / f"{name}.db") == everybody, name
        look_and_repair(folder / "one.db", url)


def look_and_repair(path: Path, url: str) -> None:
    """The other routes, from this process."""
    engine = create_engine(f"sqlite:///{path}")
    client = Client(engine)
    client.track(City)
    assert client.isconnected(f"{url}/ping")
    assert client.isready(f"{url}/ping")
    assert client.isconnected(f"{url}/nowhere")
    assert not client.isready(f"{url}/nowhere")
    query = client.query_server(f"{url}/query")
    assert [city.id for city in query(City, name="the city of two.db") or []]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update reunite_guard set suspended = 1")
        db.execute("update city set name = 'wrong'")
        db.execute("update reunite_guard set suspended = 0")
    client.repair(f"{url}/repair", extra_data={"who": "me"})
    engine.dispose()
    assert {city for _, city in persons(path)} == {"the city of one.db", "the city of two.db"}
