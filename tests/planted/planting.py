"""Planted bugs: deliberate breakages of the design, each of which something must find.

A file in `bugs/` is one bug:

    breaks = "4.4: a pending change is retired by the checkpoint that … knows its outcome."
    finds = "simulator"               # or the test that finds it: "tests/pair/test_x.py::test_y"
    hub = "memory"                    # of the simulator; `sqlite` where only the SQL store has it
    live = true                       # where only replicas with streams have it
    seeds = [3, 17]                   # known to find it; fresh ones follow

    [[edits]]
    file = "replica/inbox.py"         # below src/reunite
    before = '''…'''                  # stands there once
    after = '''…'''

What it is       a copy of the package with the bug in it, and a process that runs a finder on it.
The rule         the bug must break a promise, not the program: a finder that dies of a NameError
                 has found nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "src" / "reunite"
BUGS = Path(__file__).parent / "bugs"
SIMULATOR = "simulator"

# Seeds that are tried when the known ones find nothing, and how long a finder may take.
FRESH_SEEDS_MAX = 60
TIMEOUT_S = 240

# What a bug that breaks the program rather than a promise dies of.
_ACCIDENTS = ("NameError", "ImportError", "AttributeError", "SyntaxError", "TypeError")


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One replacement in one file."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One deliberate breakage."""

    name: str
    breaks: str
    finds: str
    edits: tuple[Edit, ...]
    hub: str = "memory"
    live: bool = False
    seeds: tuple[int, ...] = ()


def bug_of(path: Path) -> Bug:
    """Read one bug. Raises TypeError for a field that is unknown or missing."""
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    edits = tuple(Edit(**edit) for edit in told.pop("edits"))
    seeds = tuple(told.pop("seeds", ()))
    return Bug(name=path.stem, edits=edits, seeds=seeds, **told)


def all_bugs() -> list[Bug]:
    """All of them, by name."""
    return [bug_of(path) for path in sorted(BUGS.glob("*.toml"))]


def misfits(bug: Bug) -> list[str]:
    """Why the bug cannot be planted into the code of today, a line for each edit."""
    lines = []
    for edit in bug.edits:
        path = PACKAGE / edit.file
        count = path.read_text(encoding="utf-8").count(edit.before) if path.exists() else 0
        if count != 1 or edit.before == edit.after:
            lines.append(
                f"tests/planted/bugs/{bug.name}.toml: {edit.file} has these lines {count} times."
                f" Write the same mistake into the lines of today:\n{edit.before}"
            )
    return lines


def record(bug: Bug, seed: int) -> None:
    """Write the seed into the bug's file, as the only one that is known to find it."""
    path = BUGS / f"{bug.name}.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^seeds = .*$", f"seeds = [{seed}]", text), encoding="utf-8")


def plant(bug: Bug, folder: Path) -> Path:
    """A copy of the package with the bug; the folder to import it from."""
    # With its compiled files: they fit, because a copy keeps the times of its originals.
    shutil.copytree(PACKAGE, folder / "reunite")
    for edit in bug.edits:
        path = folder / "reunite" / edit.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(edit.before, edit.after), encoding="utf-8")
    return folder


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of a search; `text` is what the finder said."""

    is_found: bool
    text: str

    @property
    def seed(self) -> int | None:
        """The seed that found it."""
        found = re.search(r"--seed (\d+)", self.text)
        return int(found[1]) if found else None

    @property
    def is_accident(self) -> bool:
        """Whether the program broke, rather than a promise."""
        last = [line for line in self.text.splitlines() if "Error" in line][-3:]
        return any(accident in line for line in last for accident in _ACCIDENTS)


def search(bug: Bug, folder: Path, *, seeds: str | None = None) -> Finding:
    """Look for the bug in a copy made by `plant`: known seeds, then fresh ones, or the test."""
    if bug.finds != SIMULATOR:
        return _run(folder, "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", bug.finds)
    known = ",".join(map(str, bug.seeds))
    first = 1_000_000  # the fresh ones are the same for everybody
    fresh = f"{first}..{first + FRESH_SEEDS_MAX - 1}"
    wanted = seeds or (f"{known},{fresh}" if known else fresh)
    live = ("--live",) if bug.live else ()
    return _run(folder, "reunite.testing.simulator", "--hub", bug.hub, "--seeds", wanted, *live)


def _run(folder: Path, module: str, *arguments: str) -> Finding:
    command: Sequence[str] = (sys.executable, "-m", module, *arguments)
    try:
        ended = subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(is_found=False, text=f"It did not end within {TIMEOUT_S} s.")
    return Finding(is_found=ended.returncode == 1, text=ended.stdout + ended.stderr)
