"""A hub in a process of its own, as in life: real HTTP, its own memory, its own interpreter.

`HubProcess` starts it; run as a module, this file is it. It tracks every table of the database,
says `{"url", "token"}` in one line when it listens, and ends when its standard input is closed, so
no hub outlives the run that started it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 20.0


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hub is, and what it asks for."""

    url: str
    token: str


class HubProcess:
    """A hub over an SQLite file or a database's URL, served until the block ends.

    chosen_keys    the program chooses the integer keys of all tables itself
    hook           a table whose inserts call a hook that does nothing
    """

    def __init__(
        self, database: Path | str, *, chosen_keys: bool = True, hook: str | None = None
    ) -> None:
        options = ["--chosen-keys"] if chosen_keys else []
        if hook is not None:
            options += ["--hook", hook]
        place = str(database.resolve() if isinstance(database, Path) else database)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.hub_process", place, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError("The hub did not start; its error stands above.")
        address = msgspec.json.decode(line, type=Address)
        self.url, self.token = address.url, address.token

    @property
    def pid(self) -> int:
        return self._process.pid

    def processor_s(self) -> float:
        """The processor time that the hub has used so far; 0 where there is no /proc."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        # After the name, which is in parentheses, the 12th and 13th words: user and system time.
        words = status.rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process. May be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _hook(change: Any, db: Any) -> None:
    """There, and never called by what is measured."""


def _serve(database: str, *, chosen_keys: bool, hook: str | None) -> None:
    from reunite import Hub

    with Hub(database) as hub:
        for table in hub.track_all():
            if chosen_keys:
                hub.track(table, generated_key=False)
        if hook is not None:
            hub.on_insert(hook)(_hook)
        token = hub.create_token()

        def say(url: str) -> None:
            print(msgspec.json.encode(Address(url=url, token=token)).decode(), flush=True)

        # One principal is all there is, and may take all of it.
        hub.serve(
            port=0,
            on_listening=say,
            principal_requests_max=512,
            principal_rate_max=1_000_000,
            principal_burst_max=1_000_000,
            principal_streams_max=5_000,
        )


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--chosen-keys", action="store_true")
    parser.add_argument("--hook")
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_input, daemon=True).start()
    _serve(arguments.database, chosen_keys=arguments.chosen_keys, hook=arguments.hook)


if __name__ == "__main__":
    main()
