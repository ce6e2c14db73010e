"""The examples on Flask and FastAPI run as their pages say, as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from tests.integration.test_examples import EXAMPLES, Program
from tests.patience import DEADLINE_S


def environment_of(example: Path) -> dict[str, str]:
    """The example's modules can be imported, whatever else can be."""
    folders = [str(example), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "PYTHONUNBUFFERED": "1"}


def run(folder: Path, environment: dict[str, str], *command: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.stderr == ""
    return done.stdout


def test_the_to_do_list_on_flask(tmp_path: Path) -> None:
    example = EXAMPLES / "todo_on_flask"
    environment = environment_of(example)
    run(tmp_path, environment, "-m", "flask", "--app", "app", "init")

    @contextmanager
    def serving(port: int = 0) -> Iterator[str]:
        server = Program(
            tmp_path, "-m", "flask", "--app", "app", "run", "--port", port, environment=environment
        )
        with server.running():
            yield server.until_match(r"Running on (http://127.0.0.1:\d+)")

    def device(name: str, *words: str) -> list[str]:
        return run(
            tmp_path, environment, example / "todo.py", f"{name}.db", url, *words
        ).splitlines()

    with serving() as url:
        device("phone", "login", "ann", "ann")
        assert device("phone", "add", "ann", "Buy milk") == ["[ ] Buy milk"]
        device("laptop", "login", "ann", "ann")
        assert device("laptop", "done", "Buy milk") == ["[x] Buy milk"]
        assert device("phone", "sync") == ["[x] Buy milk"]
        device("bob", "login", "bob", "bob")
        (refused,) = device("bob", "add", "ann", "Pay Bob")
        assert refused.startswith("refused (not-allowed)")
        with httpx2.Client(base_url=url) as browser:
            assert browser.get("/tasks").status_code == 401
            browser.post("/login", json={"name": "ann", "password": "ann"})
            assert browser.get("/tasks").json() == [{"title": "Buy milk", "is_done": True}]
            assert browser.post("/tasks", json={"title": "Call Bob"}).status_code == 201
    port = int(url.rpartition(":")[2])
    kept = device("phone", "add", "ann", "Walk")
    assert kept == ["no network: it is kept and sent later", "[x] Buy milk", "[ ] Walk"]
    with serving(port):
        expected = ["[x] Buy milk", "[ ] Call Bob", "[ ] Walk"]
        assert device("phone", "sync") == expected
        assert device("laptop", "sync") == expected


def test_the_survey_on_fastapi(tmp_path: Path) -> None:
    example = EXAMPLES / "survey_on_fastapi"
    environment = environment_of(example)

    def serve(port: int) -> Program:
        return Program(
            tmp_path, "-m", "uvicorn", "service:app", "--port", port, environment=environment
        )

    def note(name: str, site: str, birds: int) -> None:
        run(
            tmp_path, environment, example / "collector.py", f"{name}.db", f"{url}/sync",
            f"key-of-{name}-000", name, site, birds,
        )  # fmt: skip

    with ExitStack() as closing:
        with (service := serve(0)).running():
            url = service.until_match(r"running on (http://127.0.0.1:\d+)")
            service.until("INFO:     Application startup complete.")
            ann, bob = (
                closing.enter_context(
                    Program(
                        tmp_path,
                        example / "collector.py",
                        f"{name}.db",
                        f"{url}/sync",
                        f"key-of-{name}-000",
                        environment=environment,
                    ).running()
                )
                for name in ("ann", "bob")
            )
            ann.until("sites: lake")
            bob.until("sites: hill lake")
            note("ann", "lake", 12)
            note("bob", "hill", 3)
            ann.until("ann: 12 birds at lake")
            bob.until("ann: 12 birds at lake", "bob: 3 birds at hill")
        note("bob", "hill", 4)
        port = int(url.rpartition(":")[2])
        with (service := serve(port)).running():
            service.until("INFO:     Application startup complete.")
            bob.until("bob: 4 birds at hill")
            note("ann", "lake", 1)
            ann.until("ann: 1 birds at lake")
            bob.until("ann: 1 birds at lake")
            found = httpx2.get(f"{url}/summary", headers={"Authorization": "Bearer key-of-ann-000"})
            assert found.json() == {"lake": 13, "hill": 7}
            assert httpx2.get(f"{url}/summary").status_code == 401
        assert not [line for line in ann.lines if "hill" in line]
