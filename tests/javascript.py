"""What the tests of the browser client need besides Python: Node, its packages, and Chromium.

`python -m tests.javascript` fetches what is missing, which `make setup` does: the packages that
`js/package-lock.json` names, and Chromium by apt-get where this user may install. Without them the
tests are skipped and say why, except where CI is set: there they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JS = Path(__file__).parent.parent / "js"

NODE_VERSION_MIN = 20


def why_missing() -> str | None:
    """Why the client cannot be built and tested here; None if it can."""
    if shutil.which("node") is None or shutil.which("npx") is None:
        return f"there is no Node: install version {NODE_VERSION_MIN} or later, then `make setup`"
    if not (JS / "node_modules" / ".package-lock.json").exists():
        return "js/node_modules is missing: run `make setup`"
    return None


def chromium() -> str | None:
    """The path of a Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def need() -> None:
    """Skip the test, or fail in CI, if the client cannot be tested here."""
    reason = why_missing()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must test the browser client: {reason}")
    pytest.skip(f"The browser client is not tested: {reason}")


def run(*command: str) -> str:
    """What a command in `js/` prints; it must end well."""
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=JS,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def main() -> None:
    """Fetch what is missing; say what could not be had, and what to do."""
    if shutil.which("npm") is None:
        _say(f"there is no npm. Install Node {NODE_VERSION_MIN} or later, then run `make setup`.")
    else:
        locked, have = JS / "package-lock.json", JS / "node_modules" / ".package-lock.json"
        if not have.exists() or have.stat().st_mtime < locked.stat().st_mtime:
            # As locked. `npm ci` would refuse where a registry lacks a package for other machines.
            install = ("npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
            done = subprocess.run(install, cwd=JS, check=False, stdout=subprocess.DEVNULL)
            if done.returncode != 0:
                _say(f"`{' '.join(install)}` failed in {JS}; look at what it says above.")
            else:
                have.touch()
    if chromium() is None:
        _fetch_chromium()


def _fetch_chromium() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        _say("there is no Chromium. Install one (`apt-get install chromium`) for its tests.")
        return
    apt_get = ("apt-get", "-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10")
    install = (*apt_get, "install", "-y", "--no-install-recommends", "chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, (*apt_get, "update"), install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return
    _say(f"Chromium could not be installed: {done.stderr.strip()}")


def _say(what: str) -> None:
    print(f"Parts of the browser client will not be tested: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
