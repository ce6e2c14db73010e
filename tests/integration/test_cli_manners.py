"""The `reunite` command: help, errors and what a terminal is spared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from reunite.cli.app import app
from tests.integration.cli_world import TABLES, World, execute, run


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("status", "{hub}"), "not-a-replica"),
        (("sync", "{hub}", "--token", "x"), "not-a-replica"),
        (("history", "{laptop}", "airlines", '["AA"]'), "caller-error"),
        (("token", "list", "{laptop}"), "caller-error"),
        (("history", "{hub}", "nope", "[1]"), "unknown-table"),
        (("clone", "ftp://x", "x.db", "--token", "x"), "bad-request"),
    ],
)
def test_an_error_is_one_line_with_its_code(
    cloned: World, command: tuple[str, ...], code: str
) -> None:
    names = {"hub": cloned.hub_file, "laptop": cloned.laptop}
    told = run(*(part.format(**names) if "{" in part else part for part in command), code=1)
    assert told.stdout == ""
    assert re.fullmatch(rf"{code}: .+\n", told.stderr)


def test_values_cannot_steer_the_terminal(world: World) -> None:
    execute(world.hub_file, "insert into notes values (1, 'a' || char(27) || '[2Jb' || char(10))")
    told = run("query", world.url, "notes", "--token", world.token).stdout
    assert r"a\x1b[2Jb\n" in told
    assert "\x1b" not in told


def test_every_command_has_help_and_wrong_usage_is_2(tmp_path: Path) -> None:
    listed = run("--help").stdout
    for name in get_command(app).commands:
        assert name in listed
        assert "Usage" in run(name, "--help").stdout
    assert "75" in listed
    run("nonsense", code=2)
    run("status", tmp_path, "--nonsense", code=2)
    assert run("--version").stdout.startswith("reunite ")


def test_without_its_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; from reunite.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == "The `reunite` command needs the extra `cli`: pip install 'reunite[cli]'\n"
    )


def test_without_the_server_extra_serve_says_what_to_install(tmp_path: Path) -> None:
    execute(tmp_path / "hub.db", TABLES)
    program = (
        "import sys; sys.modules['starlette'] = None; sys.argv = ['reunite', 'serve', 'hub.db'];"
        "from reunite.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "REUNITE_PORT": "0"},
    )
    assert done.returncode == 1
    assert "pip install 'reunite[server]'" in done.stderr
