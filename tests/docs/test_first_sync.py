"""The console sessions of docs/howto work as they are written.

The commands are taken from a page and run in a shell, in order, in an empty folder, and what they
print is compared with the page. Only what differs from run to run is put in or levelled: the hub's
port and token, times, durations and rates. A line `…` stands for any lines.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.files import ROOT
from tests.docs.test_markdown_code import blocks_and_prose
from tests.patience import DEADLINE_S

PAGE = ROOT / "docs" / "howto" / "your-first-sync.md"
PAGES = (PAGE, ROOT / "docs" / "howto" / "backup-and-retention.md")
HUB_STOPS = "<!-- test: the hub stops here -->"
URL = "http://127.0.0.1:8000"

LEVELLED = (
    (re.compile(r"http://127\.0\.0\.1:\d+"), "URL"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"in [\d.]+ s \([\d,]+ rows/s\)"), "in SECONDS"),
    (re.compile(r"#code=[\w-]+"), "#code=CODE"),
    (re.compile(r"[\d.]+ kB"), "SIZE"),
    (re.compile(r"\[Errno \d+\]"), "[Errno]"),
    (re.compile(r"\d+ (?:second|minute)s? ago"), "SOME TIME ago"),
    (re.compile(r'"(replica|synced_ms|age_s)":("[^"]*"|[\d.]+)'), r'"\1":…'),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell"),
]


def steps(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of a page with the lines it prints; a comment is a command without lines."""
    blocks, prose = blocks_and_prose(page)
    found = [(number, [HUB_STOPS]) for number, line in prose if line == HUB_STOPS]
    found += [
        (block.line, block.text.splitlines()) for block in blocks if block.language == "console"
    ]
    command, told = "", []
    for line in (line for _, lines in sorted(found) for line in lines):
        if line.startswith("$ ") or line == HUB_STOPS:
            if command:
                yield command, told
            command, told = line.removeprefix("$ "), []
        else:
            told.append(line)
    yield command, told


def levelled(lines: list[str], token: str) -> list[str]:
    text = "\n".join(line.rstrip() for line in lines)
    if token:
        text = text.replace(token, "TOKEN")
    for pattern, word in LEVELLED:
        text = pattern.sub(word, text)
    return text.split("\n")


def is_told(expected: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same, where `…` stands for any."""
    if "…" not in expected:
        return expected == printed
    before, after = expected[: expected.index("…")], expected[expected.index("…") + 1 :]
    return (
        len(printed) >= len(before) + len(after)
        and printed[: len(before)] == before
        and printed[len(printed) - len(after) :] == after
    )


class Terminal:
    """A folder, the commands on its PATH, and the hub that runs in another terminal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "REUNITE_PORT": "0",
        }
        self._environment.pop("REUNITE_TOKEN", None)
        self._hub: subprocess.Popen[str] | None = None
        self.url = self.token = ""

    def run(self, command: str) -> list[str]:
        """What the command prints."""
        if command == HUB_STOPS:
            self.stop_hub()
            return [""]
        if command.startswith("reunite serve "):
            return self._serve(command)
        typed = command.replace(URL, self.url).replace("TOKEN", self.token)
        done = subprocess.run(
            typed,
            shell=True,
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout.removesuffix("\n").split("\n")

    def _serve(self, command: str) -> list[str]:
        self._hub = subprocess.Popen(
            command.split(),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._hub.stdout is not None
        alarm = threading.Timer(DEADLINE_S, self._hub.kill)
        alarm.start()
        lines = []
        for line in self._hub.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        alarm.cancel()
        alarm.join()
        text = "\n".join(lines)
        self.url = re.findall(r"listens at (\S+)", text)[0]
        self.token = re.findall(r"Token: (\S+)", text)[0]
        # A hub that is started again is at the place that its replicas know.
        self._environment["REUNITE_PORT"] = self.url.rpartition(":")[2]
        return lines

    def stop_hub(self) -> None:
        """Ctrl-C in the hub's terminal."""
        if self._hub is None:
            return
        self._hub.send_signal(signal.SIGINT)
        assert self._hub.stdout is not None
        assert self._hub.stdout.read() == "Stopped.\n"
        self._hub.stdout.close()
        assert self._hub.wait(timeout=DEADLINE_S) == 0
        self._hub = None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_console_session_works_as_written(page: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        for command, told in steps(page):
            printed = levelled(terminal.run(command), terminal.token)
            expected = levelled(told or [""], "")
            assert is_told(expected, printed), f"$ {command}\n" + "\n".join(printed)
    finally:
        terminal.stop_hub()


def test_commands_of_the_readme_are_among_them() -> None:
    run = {part.strip() for command, _ in steps(PAGE) for part in command.split("&&")}
    blocks, _ = blocks_and_prose(ROOT / "README.md")
    shown = {
        part.strip()
        for block in blocks
        if block.language == "console"
        for line in block.text.splitlines()
        if line.startswith("$ ") and not line.startswith("$ make ")
        for part in line.removeprefix("$ ").split("&&")
    }
    assert len(shown) > 5
    assert shown - run == set()
