"""Real processes for crash tests, forked from one that has imported everything already.

A forked child is a process of its own: SIGKILL ends it in the middle of whatever it does, and the
kernel drops its locks and closes its files. Starting one costs milliseconds, not an interpreter.
Linux only (`pidfd_open`); the parent must have no threads and no open database.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.patience import DEADLINE_S


class Child:
    """A forked process; what it prints to stderr is in `stderr_path`, its stdout can be read."""

    def __init__(self, work: Callable[[], None], stderr_path: Path) -> None:
        self.stderr_path = stderr_path
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _become(work, writing, stderr_path)
        os.close(writing)
        self._stdout = reading
        self._handle = os.pidfd_open(self._pid)
        self.status: int | None = None

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text(encoding="utf-8")

    def first_line(self) -> str:
        """What it prints first; empty if it ends before."""
        ready, _, _ = select.select([self._stdout], [], [], DEADLINE_S)
        return os.read(self._stdout, 65_536).decode() if ready else ""

    def ended_within(self, seconds: float) -> bool:
        """Let it run so long, or until it ends by itself; whether it has."""
        if self.status is None:
            ready, _, _ = select.select([self._handle], [], [], seconds)
            if not ready:
                return False
            self._reap()
        return True

    def where(self) -> str:
        """Where its threads stand: for a process that hangs."""
        os.kill(self._pid, signal.SIGUSR1)
        self.ended_within(1)
        return self.stderr

    def peak_mib(self) -> int:
        """The most memory that it has had, in mebibytes."""
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def interrupt(self) -> None:
        """Ctrl-C, and wait for its end."""
        os.kill(self._pid, signal.SIGINT)
        assert self.ended_within(DEADLINE_S), "it does not stop"

    def kill(self) -> bool:
        """SIGKILL; whether it was still running."""
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()
        return self.status == -signal.SIGKILL

    def _reap(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        os.close(self._handle)
        os.close(self._stdout)


def run_command(arguments: Sequence[str], *, modules: Path | None = None) -> Callable[[], None]:
    """`reunite …` as the work of a child; `modules` is where it writes what it had to import."""

    def work() -> None:
        from reunite.cli import main

        sys.argv = ["reunite", *arguments]
        try:
            main()
        finally:
            if modules is not None:
                modules.write_text("\n".join(sys.modules), encoding="utf-8")

    return work


def import_all(modules: Path) -> None:
    """Import what a child had to, so that the next ones need not."""
    for name in modules.read_text(encoding="utf-8").splitlines():
        if name != "__main__":
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _become(work: Callable[[], None], stdout: int, stderr_path: Path) -> None:
    code = 1
    try:
        stderr = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        faulthandler.register(signal.SIGUSR1, file=2)
        work()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
