"""MO-15: both examples start with one command, and two devices meet there (MO-S1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.dropin.mobync_world import diff
from tests.integration.test_examples import EXAMPLES, Program


@contextmanager
def running(example: str, folder: Path, **environment: str) -> Iterator[str]:
    """The example on a free port, and its URL."""
    program = Program(folder, EXAMPLES / example / "app.py", 0, environment=environment)
    with program.running():
        yield program.until_match(r"Running on (http://127.0.0.1:\d+)")


def two_devices_meet(url: str, token: str, owner: str) -> None:
    def sync(clock: int, *diffs: dict[str, Any]) -> dict[str, Any]:
        body = {"auth_token": token, "logical_clock": clock, "diffs": diffs}
        answer = httpx2.post(f"{url}/sync", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found.pop("success") is True
        assert found.pop("message") == ""
        return found

    def task(type_: str, row: str, **values: Any) -> dict[str, Any]:
        return diff(type_, row, owner=owner, model="tasks", **values)

    def logged(made: dict[str, Any], clock: int) -> dict[str, Any]:
        return made | {"logical_clock": clock}

    d1, d2, d3 = (task("create", f"uuid{n}", title=str(n), done=False) for n in (1, 2, 3))
    d4, d5 = task("update", "uuid1", title="x"), task("delete", "uuid3")
    assert sync(0, d1) == {"logical_clock": 1, "diffs": []}
    assert sync(0, d3) == {"logical_clock": 2, "diffs": [logged(d1, 0)]}
    assert sync(1, d2) == {"logical_clock": 3, "diffs": [logged(d3, 1)]}
    assert sync(2) == {"logical_clock": 3, "diffs": [logged(d2, 2)]}
    assert sync(3, d4) == {"logical_clock": 4, "diffs": []}
    assert sync(3) == {"logical_clock": 4, "diffs": [logged(d4, 3)]}
    assert sync(4, d5) == {"logical_clock": 5, "diffs": []}
    assert sync(4) == {"logical_clock": 5, "diffs": [logged(d5, 4)]}


def test_in_memory(tmp_path: Path) -> None:
    with running("mobync_in_memory", tmp_path) as url:
        two_devices_meet(url, "ann", "ann")
        found = httpx2.get(f"{url}/list-db").json()
        assert [row["title"] for row in found["tasks"]] == ["x", "2"]
        assert [one["logical_clock"] for one in found["diffs"]] == [0, 1, 2, 3, 4]

        item = {"where": "tasks", "data": {"id": "seed", "title": "s", "done": True}}
        assert len(httpx2.post(f"{url}/add-item", json=item).json()["tasks"]) == 3
        poison = {"where": "tasks", "data": {"id": "half"}}
        assert httpx2.post(f"{url}/add-item", json=poison).status_code == 400
        seed = {"where": "tasks", "id": "seed"}
        assert len(httpx2.post(f"{url}/delete-item", json=seed).json()["tasks"]) == 2
        wrong = {"where": "diffs", "id": found["diffs"][0]["id"]}
        assert httpx2.post(f"{url}/delete-item", json=wrong).status_code == 400


def test_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    database = postgresql.replace("postgresql://", "postgresql+psycopg://", 1)
    with running("mobync_on_postgresql", tmp_path, DATABASE_URL=database) as url:
        two_devices_meet(url, "ann-secret", "ann")
        foreign = diff("create", "t", owner="bob", model="tasks", title="t", person="ann")
        body = {"auth_token": "bob-secret", "logical_clock": 0, "diffs": [foreign]}
        assert httpx2.post(f"{url}/sync", json=body).json()["code"] == "unauthorized"
