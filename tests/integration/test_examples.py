"""The examples run as their pages say."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from tests.patience import DEADLINE_S

EXAMPLES = Path(__file__).parents[2] / "examples"


class Program:
    """A program whose lines are read as they come."""

    def __init__(self, folder: Path, *command: object, environment: dict[str, str]) -> None:
        self._news = threading.Condition()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.strip())
                self._news.notify_all()

    def until(self, *lines: str) -> None:
        """Wait until these lines have come, in any order."""
        with self._news:
            found = self._news.wait_for(lambda: set(lines) <= set(self.lines), DEADLINE_S)
        assert found, self.lines

    def until_match(self, pattern: str) -> str:
        with self._news:
            assert self._news.wait_for(
                lambda: any(re.search(pattern, line) for line in self.lines), DEADLINE_S
            ), self.lines
            (match, *_) = (m for line in self.lines if (m := re.search(pattern, line)))
        return match[1]

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @contextmanager
    def running(self) -> Iterator["Program"]:
        try:
            yield self
        finally:
            self.end()


def test_the_cafe_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    cafe = EXAMPLES / "cafe_on_postgresql"
    environment = {"DATABASE_URL": postgresql, "PYTHONPATH": str(cafe)}

    def start(*command: object) -> Program:
        return Program(tmp_path, *command, environment=environment)

    def run(*command: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.stderr == ""
        return done.stdout

    token = run(cafe / "backend.py").strip()

    def backend(port: int) -> Program:
        return start("-m", "uvicorn", "backend:app", "--workers", "2", "--port", port)

    with ExitStack() as stack:
        serving = backend(0)
        try:
            port = int(serving.until_match(r"running on http://127.0.0.1:(\d+)"))
            url = f"http://127.0.0.1:{port}"
            serving.until("INFO:     Application startup complete.")
            tills = [
                stack.enter_context(
                    start(cafe / "till.py", f"{name}.db", f"{url}/sync", token).running()
                )
                for name in ("bar", "garden")
            ]
            placed = httpx2.post(
                f"{url}/orders", json={"drink": "coffee", "amount": 1, "place": "web"}
            )
            assert placed.status_code == 201
            for till in tills:
                till.until("1 coffee for web")
            run(cafe / "till.py", "garden.db", f"{url}/sync", token, "tea", 2)
            for till in tills:
                till.until("1 coffee for web", "2 tea for garden")
            drinks = {each["name"]: each["stock"] for each in httpx2.get(f"{url}/drinks").json()}
            assert drinks == {"coffee": 99, "tea": 98}
            refused = httpx2.post(
                f"{url}/orders", json={"drink": "beer", "amount": 1, "place": "web"}
            )
            assert refused.status_code == 422
        finally:
            serving.end()
        for name in ("bar", "garden"):
            run(cafe / "till.py", f"{name}.db", f"{url}/sync", token, "tea", 10)
        serving = backend(port)
        try:
            for till in tills:
                till.until("10 tea for bar", "10 tea for garden")
            found = httpx2.get(f"{url}/drinks").json()
            assert {each["name"]: each["stock"] for each in found} == {"coffee": 99, "tea": 78}
        finally:
            serving.end()
    for program in (serving, *tills):
        assert not [line for line in program.lines if "Traceback" in line], program.lines


def test_two_tenants_on_one_hub() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "two_tenants.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "ann has l1",
        "max has l1, l2",
        "joe has l3",
        "ann, without the filter, has l1, l2",
        "joe may not come any more: NotAuthenticatedError",
    ]
