"""Real processes for tests: a hub served by the command line, and waiting for what others do."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.patience import DEADLINE_S

COMMAND = (sys.executable, "-c", "from reunite.cli import main; main()")


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when the condition holds; fail when it does not in time."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)


def is_running(pid: int, word: str = "") -> bool:
    """Whether there is such a process, with this word in its command line; needs /proc."""
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes().decode() != ""
    except OSError:
        return False


class ServeProcess:
    """`reunite serve FILE --json` on a free port, until the block ends; then Ctrl-C.

    `notes` are the lines of its stderr so far. `command` is what is run instead of ours, and
    `environment` what it gets besides. It is a group of processes of its own, as in a terminal.
    """

    def __init__(
        self,
        file: Path | str,
        *options: object,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 — closed below
        environment = {**os.environ, "REUNITE_PORT": "0", **(environment or {})}
        environment.pop("REUNITE_TOKEN", None)
        self._process = subprocess.Popen(
            [*command, "serve", str(file), "--json", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        alarm = threading.Timer(DEADLINE_S, self._process.kill)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        alarm.join()
        if not line:
            self._end()
            raise AssertionError("\n".join(self.notes))
        told = json.loads(line)
        self.url: str = told["url"]
        self.token: str = told["token"]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def notes(self) -> list[str]:
        if not self._stderr.closed:
            self._stderr.flush()
            position = os.lseek(self._stderr.fileno(), 0, os.SEEK_CUR)
            self._notes = os.pread(self._stderr.fileno(), position, 0).decode().splitlines()
        return self._notes

    @property
    def workers(self) -> list[int]:
        """The processes that `--workers` started, by id; needs /proc."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [pid for pid in map(int, children.split()) if is_running(pid, "spawn_main")]

    def _end(self) -> None:
        # To all of its processes, as a terminal does.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)
        self._process.wait(timeout=DEADLINE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self.notes is not None
        self._stderr.close()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """The block kills it, so no exit code is expected."""
        try:
            yield
        finally:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        assert self._process.returncode == 0, self.notes
