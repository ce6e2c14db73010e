"""Rules and principals on the command line: serve says what holds, tokens carry what rules ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from reunite import Hub, Rules, row, user
from tests.integration.cli_world import TABLES, execute, rows, run, run_json, run_lines
from tests.integration.processes import ServeProcess

OPEN = "There are no rules: whoever has a token may read and write all of it."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hub.db"
    execute(path, TABLES)
    return path


def declare(file: Path) -> None:
    """A program declares a rule, and ends."""
    with Hub(file) as hub:
        hub.track("planes", rules=Rules(read=row.carrier.is_in(user.carriers), insert=True))


def test_serve_says_whether_there_are_rules(file: Path) -> None:
    with ServeProcess(file) as served:
        assert OPEN in served.notes
    declare(file)
    with ServeProcess(file) as served:
        told = " ".join(served.notes)
    assert OPEN not in told
    assert "Rules say who may read and write which rows." in told
    assert "Closed, since other tables have rules and these have none: airlines, notes." in told


def test_what_a_program_declared_holds_for_every_hub_of_the_database(
    file: Path, tmp_path: Path
) -> None:
    """The command was told of no rules, and keeps them."""
    declare(file)
    claims = ("--claim", 'carriers=["AA"]')
    token = run("token", "create", file, "--principal", "ann", *claims).stdout.split()[0]
    with ServeProcess(file) as served:
        for name, given, expected in (
            ("ann", token, [("N102UW",)]),
            ("owner", served.token, []),
        ):
            replica = tmp_path / f"{name}.db"
            run("clone", served.url, replica, "--token", given)
            assert rows(replica, "select tailnum from planes") == expected
            assert rows(replica, "select count(*) from notes") == [(0,)]


def test_tokens_carry_tenant_roles_and_claims(file: Path) -> None:
    with Hub(file) as hub:
        hub.track_all()
    made = run_json(
        "token", "create", file, "--principal", "ann", "--tenant", "north", "--role", "boss",
        "--role", "clerk", "--claim", "teams=[1,2]", "--claim", "is_new=true",
        "--claim", "motto=two words", "--label", "laptop",
    )  # fmt: skip
    has = {
        "principal": "ann",
        "tenant": "north",
        "roles": ["boss", "clerk"],
        "claims": {"teams": [1, 2], "is_new": True, "motto": "two words"},
    }
    assert {name: made[name] for name in has} == has
    (listed,) = run_lines("token", "list", file)
    assert {name: listed[name] for name in has} == has
    shown = run("token", "list", file).stdout
    assert "ann" in shown
    assert "north" in shown
    with Hub(file) as hub:
        principal = hub.authenticate(made["token"])
    assert (principal.tenant, principal.roles) == ("north", ("boss", "clerk"))


@pytest.mark.parametrize("claim", ["teams", "=1", "id=1", "x=null", 'x={"a":1}', "x=[[1]]"])
def test_claims_that_cannot_be_are_refused(file: Path, claim: str) -> None:
    with Hub(file) as hub:
        hub.track_all()
    code = 2 if "=" not in claim or claim.startswith("=") else 1
    run("token", "create", file, "--claim", claim, code=code)
    assert run_lines("token", "list", file) == []
