"""`python -m tests.newest`: the tests of Django on Python 3.13, with the newest Django of the lock.

They run in an environment of their own, made from the same lock. Where no Python 3.13 is found,
that is said loudly, and nothing is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-newest"
VERSION = "3.13"

# On SQLite, and what starts no project of its own: a minute or two.
TESTS = ("tests/contrib/django", "--ignore=tests/contrib/django/sb_sync")
LEFT_OUT = ("postgresql", "how_to", "deployment", "requests")
CHOICE = ("-m", "not slow", "-k", " and ".join(f"not {word}" for word in LEFT_OUT))


def find_python() -> str | None:
    """A Python of that version that runs."""
    folders = sorted((Path.home() / ".pyenv" / "versions").glob(f"{VERSION}.*/bin/python"))
    named = shutil.which(f"python{VERSION}")
    for found in (*map(str, reversed(folders)), *([named] if named else [])):
        done = subprocess.run(
            [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
        if done.stdout.strip() == VERSION:
            return found
    return None


def main(jobs: str = "0") -> int:
    """Make the environment, and run the tests in it; their exit code."""
    python = find_python()
    if python is None:
        print(f"NOT TESTED on Python {VERSION} with the newest Django: there is no such Python.")
        return 0
    uv = [str(Path(sys.executable).with_name("uv")), "sync", "--frozen", "--all-extras", "-q"]
    subprocess.run(
        [*uv, "-p", python],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)},
        check=True,
    )
    command = [ENVIRONMENT / "bin" / "python", "-m", "pytest", "-n", jobs, *CHOICE, *TESTS]
    return subprocess.run(list(map(str, command)), cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
