"""The browser client: its own tests, in Node and in Chromium, and the module that hubs serve."""

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.javascript import JS, need

SERVED = JS.parent / "src" / "reunite" / "server" / "client.js"
DSN = JS.parent / "src" / "reunite" / "dropin" / "dsn_sync" / "client.js"

# What a page has to load, compressed. The aim is 25,000.
SIZE_MAX = 29_200

FILES = sorted(path.relative_to(JS).as_posix() for path in (JS / "tests").rglob("*.test.ts"))


def run(*command: str) -> str:
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


@pytest.mark.parametrize("file", FILES)
def test_its_own_tests_pass(file: str) -> None:
    need()
    run("npx", "vitest", "run", file)


def test_the_module_that_hubs_serve_is_a_fresh_build(tmp_path: Path) -> None:
    need()
    run("node", "build.mjs", str(tmp_path))
    assert (tmp_path / "client.js").read_bytes() == SERVED.read_bytes(), "run `make client`"
    assert (tmp_path / "dsn.js").read_bytes() == DSN.read_bytes(), "run `make client`"


def test_the_module_is_small() -> None:
    assert len(gzip.compress(SERVED.read_bytes(), 9)) < SIZE_MAX


def test_the_package_asks_for_nothing_else_at_run_time() -> None:
    package = json.loads((JS / "package.json").read_text(encoding="utf-8"))
    assert package.get("dependencies", {}) == {}


def test_the_lock_names_no_place_but_the_registry() -> None:
    lock = json.loads((JS / "package-lock.json").read_text(encoding="utf-8"))
    places = {entry.get("resolved", "") for entry in lock["packages"].values()}
    assert {place for place in places if not place.startswith("https://registry.npmjs.org/")} <= {
        ""
    }
    assert all(entry.get("integrity") for name, entry in lock["packages"].items() if name)
