"""The `reunite` command: help, errors and what a terminal is spared."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from reunite.cli.app import app
from reunite.hub import Hub
from tests.integration.cli_world import TABLES, World, execute, rows, run, run_json
from tests.integration.processes import COMMAND
from tests.patience import DEADLINE_S


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


# --- Hostile words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("status", "postgresql://ann:secret@host/db"), "only a hub can have"),
        (("backup", "{hub}", "postgresql://host/db"), "for a copy a new one"),
        (("restore", "{hub}", "postgresql://host/db"), "works on SQLite files"),
        (("status", "http://127.0.0.1:8000"), "the URL of a hub"),
        (("log", "https://shop.example/sync"), "the URL of a hub"),
        (("log", "mysql://ann:secret@host/db"), "postgresql://user@host/name"),
        (("log", "postgresql://ann:se cret@host/db"), "cannot be read"),
        (("log", "postgresql://ann:secret@127.0.0.1:99999/db"), "cannot be read"),
        (("log", "postgresql://ann:secret@host/db?nonsense=1"), "cannot be read"),
        (("log", "postgresql:///db?host={folder}/nowhere"), "cannot be reached (No such file"),
        (("clone", "http://127.0.0.1:99999", "x.db", "--token", "t"), "between 1 and 65535"),
        (("clone", "127.0.0.1:8000", "x.db", "--token", "t"), "must begin with http"),
        (("backup", "{hub}", "{folder}", "--replace"), "is not a file"),
        (("backup", "{hub}", "{folder}/pipe", "--replace"), "is not a file"),
        (("restore", "{hub}", "{folder}", "--replace"), "is not a file"),
        (("demo", "--folder", "{hub}"), "is not a folder"),
        (("token", "create", "{hub}", "--principal", ""), "has a name"),
        (("token", "create", "{hub}", "--label", "a\x1b[2J"), "can be printed"),
        (("token", "create", "{hub}", "--label", "x" * 256), "at most 255"),
        (("token", "revoke", "{hub}", "caf\udce9"), "no UTF-8"),
        (("migrate", "{hub}", "--", "sh", "-c", "kill -9 $$"), "sh was ended by signal 9"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(
    world: World, tmp_path: Path, command: tuple[str, ...], hint: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = {"{hub}": world.hub_file, "{folder}": tmp_path}
    words = [part if "{" not in part else _named(part, names) for part in command]
    told = run(*words, code=1)
    last = told.stderr.splitlines()[-1]
    assert re.match(r"[a-z]+(-[a-z]+)+: |check: ", last)
    assert hint in last
    assert "secret" not in told.output
    assert "se cret" not in told.output
    assert (tmp_path / "pipe").is_fifo()


def _named(text: str, names: dict[str, Path]) -> str:
    for name, path in names.items():
        text = text.replace(name, str(path))
    return text


def test_a_url_of_the_wrong_scheme_or_none_is_told(world: World, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    told = run("clone", world.url.replace("http:", "https:"), new, "--token", "t", code=75)
    assert "speaks no TLS: perhaps its URL begins with http://" in told.stderr
    assert "Give the hub's URL" in run("clone", "", new, "--token", "t", code=2).stderr
    told = run("clone", world.url, new, "--token", "wrong", code=1)
    assert "`reunite token create`" in told.stderr
    assert not new.exists()


def test_a_replica_is_not_restored_over(cloned: World, tmp_path: Path) -> None:
    run("backup", cloned.hub_file, tmp_path / "copy.db")
    told = run("restore", tmp_path / "copy.db", cloned.laptop, "--replace", code=1)
    assert "is a replica" in told.stderr
    run("status", cloned.laptop)


def test_arguments_that_are_no_utf_8_are_refused_and_files_named_so_are_used(
    cloned: World, tmp_path: Path
) -> None:
    told = run(
        "query", cloned.url, "notes", "--token", cloned.token, "--where", "text=\udce9", code=1
    )
    assert told.stderr == (
        "bad-request: A text that was typed has bytes that are no UTF-8: correct it.\n"
    )
    odd = tmp_path / os.fsdecode(b"caf\xe9.db")
    assert run_json("backup", cloned.laptop, odd)["backup"] == str(odd)
    assert run_json("status", odd)["path"] == str(odd)
    assert "There is no file caf\\udce9" in run("status", "caf\udce9.db", code=1).stderr


def damage(file: Path) -> None:
    """Make a hub of the file whose log of commits cannot be read."""
    execute(file, TABLES)
    with Hub(file) as hub:
        hub.track_all()
    execute(file, "pragma wal_checkpoint(truncate)")
    (page,) = rows(file, "select rootpage from sqlite_schema where name = 'reunite_commit'")[0]
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"x" * 4096
    file.write_bytes(content)


def test_a_backup_is_restored_in_the_place_of_a_damaged_file_once_that_is_aside(
    world: World, tmp_path: Path
) -> None:
    copy, file = tmp_path / "copy.db", tmp_path / "damaged.db"
    damage(file)
    run("backup", world.hub_file, copy)
    told = run("restore", copy, file, "--replace", code=1).stderr
    assert "is damaged" in told
    assert "move it aside with damaged.db-wal" in told
    file.rename(tmp_path / "aside.db")
    run("restore", copy, file)
    run("doctor", file)


def test_doctor_says_what_it_can_of_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "hub.db"
    damage(file)
    told = run("doctor", file, code=1).stdout
    assert "✗ The database file is damaged (*** in database main *** " in told
    assert "✓ reunite's own tables are there." in told
    assert "✗ The rest cannot be examined. The database file is damaged:" in told


# --- Streams of every kind ------------------------------------------------------------------------


def reunite(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )


def test_a_terminal_that_lacks_letters_gets_them_spelled_out(world: World) -> None:
    execute(world.hub_file, "insert into notes values (1, 'Größe ✓')")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert reunite("doctor", world.hub_file, env=env).stdout.startswith("\\u2713 The database")
    query = ("query", world.url, "notes", "--token", world.token)
    assert "Gr\\xf6\\xdfe \\u2713" in reunite(*query, env=env).stdout
    (row,) = reunite(*query, "--json", env=env).stdout.splitlines()
    assert json.loads(row) == {"id": 1, "text": "Größe ✓"}


@pytest.mark.parametrize(
    ("script", "code"), [('"$@" >&-', 0), ('"$@" --json >&-', 0), ('"$@" | true', None)]
)
def test_nobody_to_read_is_no_reason_for_a_traceback(
    world: World, script: str, code: int | None
) -> None:
    done = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, "doctor", str(world.hub_file)],
        capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.stderr == ""
    assert code is None or done.returncode == code


def test_an_early_ctrl_c_ends_quietly() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'reunite.cli.app': raise KeyboardInterrupt\n"
        "from reunite.cli import main\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
