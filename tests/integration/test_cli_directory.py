"""Users, tenants, roles and permissions on the command line, and a device that logs in there."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reunite import Hub
from tests.integration.cli_world import execute, rows, run, run_json, run_lines
from tests.integration.processes import ServeProcess

PASSWORD = "correct horse battery"
OWN = '{"field":"owner","operator":"exact","value":"$user.id"}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A hub of two tenants, with a user in one of them, all by commands."""
    path = tmp_path / "hub.db"
    execute(
        path,
        """
        create table lead (id text primary key not null, org integer, owner text);
        insert into lead values ('l1', 7, 'ann'), ('l2', 7, 'uma'), ('l3', 8, 'ann');
        """,
    )
    with Hub(path) as hub:
        hub.track_all()
    run("tenant", "create", path, "acme", "--value", "7", "--title", "Acme Corp")
    run("tenant", "seal", path, "lead", "org")
    run("role", "groups", path)
    run("user", "create", path, "ann", "--role", "Sales", "--tenant", "acme", typed=PASSWORD)
    run("permission", "set", path, "Sales", "lead", "--tenant", "acme")
    return path


def test_a_device_logs_in_and_stays_so_until_it_is_revoked(file: Path, tmp_path: Path) -> None:
    replica = tmp_path / "till.db"
    with ServeProcess(file) as served:
        wrong = ("clone", served.url, replica, "--user", "ann")
        assert "not-authenticated" in run(*wrong, typed="guess", code=1).stderr
        assert list(tmp_path.glob("till*")) == []
        run("clone", served.url, replica, "--user", "ann", typed=PASSWORD)
        assert rows(replica, "select id from lead order by id") == [("l1",), ("l2",)]

        run("permission", "filter", file, "Sales", "lead", "own", OWN, "--tenant", "acme")
        run("sync", replica)
        assert rows(replica, "select id from lead order by id") == [("l1",)]

        (log_in,) = [one for one in run_lines("token", "list", file) if "log_in" in one]
        assert (log_in["user"], log_in["tenant"], log_in["device"]) == ("ann", "acme", "till.db")
        assert "till.db" in run("token", "list", file).stdout
        assert run_json("token", "revoke", file, "--device", "till.db") == {"revoked": 1}
        assert "not-authenticated" in run("sync", replica, code=1).stderr
        run("login", replica, "--user", "ann", typed=PASSWORD)
        run("sync", replica)

        run("user", "deactivate", file, "ann")
        run("sync", replica, code=1)
        run("user", "activate", file, "ann")
        run("login", replica, "--user", "ann", typed=PASSWORD)
        run("sync", replica)


def test_lists_tell_what_is_there_and_never_a_password(file: Path) -> None:
    (user,) = run_lines("user", "list", file)
    assert user | {"created_ms": 0} == {
        "user": "ann",
        "is_active": True,
        "has_password": True,
        "claims": {},
        "roles": [{"role": "Sales", "tenant": "acme"}],
        "created_ms": 0,
    }
    (tenant,) = run_lines("tenant", "list", file)
    assert (tenant["tenant"], tenant["value"], tenant["title"]) == ("acme", 7, "Acme Corp")
    assert len(run_lines("role", "list", file)) == 7
    (permission,) = run_lines("permission", "list", file)
    assert permission["may"] == ["push", "pull", "create", "update", "read"]
    told = "".join(
        run(what, "list", file).stdout for what in ("user", "tenant", "role", "permission")
    )
    assert "Sales in acme" in told
    assert "argon2" not in told
    assert PASSWORD not in told


def test_an_explanation_names_the_role(file: Path) -> None:
    who = ("--principal", "ann", "--tenant", "7", "--role", "Sales")
    told = run("explain", file, "lead", '["l1"]', *who).stdout
    assert "what is stored for its roles decides" in told
    assert "the role Sales in acme may push, pull, create, update, read" in told


def test_an_explanation_looks_up_who_is_only_named(file: Path) -> None:
    told = run("explain", file, "lead", '["l1"]', "--principal", "ann").stdout
    assert "ann, Sales in 7, sees the row" in told
    assert "the role Sales in acme may push, pull, create, update, read" in told
    run("user", "deactivate", file, "ann")
    told = run("explain", file, "lead", '["l1"]', "--principal", "ann", "--tenant", "acme").stdout
    assert "the user or the tenant is not active in the directory" in told
    run("user", "leave", file, "ann", "--tenant", "acme")


def test_the_directory_travels_as_a_file(file: Path, tmp_path: Path) -> None:
    document = tmp_path / "directory.json"
    run("permission", "export", file, document)
    assert json.loads(run("permission", "export", file).stdout) == json.loads(document.read_text())
    run("permission", "validate", file, document)
    run("permission", "unset", file, "Sales", "lead", "--tenant", "acme")
    assert run_lines("permission", "list", file) == []
    run("permission", "import", file, document)
    assert len(run_lines("permission", "list", file)) == 1

    broken = document.read_text().replace('"table": "lead"', '"table": "lode"')
    document.write_text(broken)
    told = run("permission", "validate", file, document, code=1).stdout
    assert "permissions[0].table: this hub tracks no table 'lode'" in told
    assert "permissions[0].table" in run("permission", "import", file, document, code=1).stderr
    document.write_text("{")
    run("permission", "validate", file, document, code=1)
    run("permission", "validate", file, tmp_path / "nothing.json", code=1)


def test_roles_and_tenants_come_and_go(file: Path) -> None:
    run("role", "create", file, "Editors", "--template", "read_only")
    run("tenant", "create", file, "umbrella", "--value", "8")
    run("user", "join", file, "ann", "--role", "Editors", "--tenant", "umbrella")
    run("permission", "set", file, "Editors", "lead", "--tenant", "umbrella", "--may", "pull,read")
    run("user", "leave", file, "ann", "--tenant", "umbrella")
    run("tenant", "deactivate", file, "umbrella")
    run("tenant", "activate", file, "umbrella")
    run("tenant", "remove", file, "umbrella")
    run("role", "remove", file, "Editors")
    assert len(run_lines("permission", "list", file)) == 1
    run("user", "password", file, "ann", typed="another password")
    run("user", "create", file, "bob", "--no-password", "--claim", "teams=[1]")
    run("user", "remove", file, "bob")
    run("token", "rotate-keys", file, "--algorithm", "HS256")
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("select algorithm from reunite_key").fetchall() == [("HS256",)]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("permission", "set", "FILE", "Nobody", "lead"), 1),
        (("permission", "set", "FILE", "Sales", "nothing"), 1),
        (("permission", "set", "FILE", "Sales", "lead", "--may", "fly"), 2),
        (("permission", "set", "FILE", "Sales", "lead", "--may", "read", "--template", "x"), 2),
        (("permission", "unset", "FILE", "Sales", "lead"), 1),
        (("permission", "filter", "FILE", "Sales", "lead", "own"), 2),
        (("permission", "filter", "FILE", "Sales", "lead", "own", "{"), 2),
        (("permission", "filter", "FILE", "Sales", "lead", "own", "--remove"), 1),
        (("role", "create", "FILE", "x", "--template", "all"), 1),
        (("user", "join", "FILE", "nobody", "--role", "Sales"), 1),
        (("user", "leave", "FILE", "nobody"), 1),
        (("user", "leave", "FILE", "ann"), 1),
        (("user", "leave", "FILE", "ann", "--tenant", "nowhere"), 1),
        (("user", "leave", "FILE", "ann", "--tenant", "acme", "--role", "Nobody"), 1),
        (("user", "leave", "FILE", "ann", "--tenant", "acme", "--role", "Support"), 1),
        (("user", "password", "FILE", "nobody"), 2),
        (("user", "remove", "FILE", "nobody"), 1),
        (("tenant", "remove", "FILE", "nobody"), 1),
        (("token", "revoke", "FILE"), 2),
        (("token", "revoke", "FILE", "--user", "nobody"), 1),
        (("token", "rotate-keys", "FILE", "--algorithm", "none"), 1),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    file: Path, arguments: tuple[str, ...], code: int
) -> None:
    before = run_lines("permission", "list", file)
    result = run(*(file if one == "FILE" else one for one in arguments), code=code)
    assert result.stderr
    assert run_lines("permission", "list", file) == before
