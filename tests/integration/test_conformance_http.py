"""The black-box suite holds our hub to the protocol, and would notice if it did not keep to it."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from reunite.hub import Hub
from tests.integration.processes import ServeProcess
from tests.integration.wrong_hub import Corruption, Rewriting, wrong_hub
from tests.patience import DEADLINE_S

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "conformance" / "http"
TOKEN = "conformance-token"


def made_hub(path: Path) -> Path:
    """A database with the tables of the suite."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript((SUITE / "schema.sql").read_text(encoding="utf-8"))
    with Hub(path) as hub:
        hub.track("product", merge={"stock": "counter"})
        hub.track_all()
        hub.create_token(token=TOKEN)
    return path


def check(*urls: str, other: str | None = None, case: str = "") -> dict[str, Any]:
    """What the suite finds, as it prints it for programs."""
    options = [option for url in urls for option in ("--url", url)]
    if other is not None:
        options += ["--other-url", other]
    done = subprocess.run(
        [sys.executable, str(SUITE), *options, "--token", TOKEN, "--case", case, "--json"],
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE_S,
    )
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if found["fail"] else 0)
    return found


def told(found: dict[str, Any], verdict: str) -> list[str]:
    return [
        f"{case['section']}: {case['name']}: {case['reason']}"
        for case in found["cases"]
        if case["verdict"] == verdict
    ]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Two processes that serve one database, and a third that serves another one."""
    folder = tmp_path_factory.mktemp("conformance")
    one, other = made_hub(folder / "hub.db"), made_hub(folder / "other.db")
    with ExitStack() as closing_all:
        yield tuple(  # type: ignore[misc]
            closing_all.enter_context(ServeProcess(path, "--token", TOKEN)).url
            for path in (one, one, other)
        )


def test_our_hub_keeps_to_the_protocol(serving: tuple[str, str, str]) -> None:
    first, _, other = serving
    found = check(first, other=other)
    assert told(found, "fail") == []
    assert told(found, "skip") == []
    assert found["pass"] > 100


def test_two_processes_on_one_database_are_one_hub(serving: tuple[str, str, str]) -> None:
    """Requests go to them by turns, so what one began the other goes on with, and a retry is
    answered by the one that never saw the request (I2)."""
    first, second, other = serving
    found = check(first, second, other=other)
    assert told(found, "fail") == []
    assert found["pass"] > 100


def test_without_a_second_hub_its_cases_are_not_checked(serving: tuple[str, str, str]) -> None:
    found = check(serving[0], case="another")
    assert told(found, "fail") == []
    assert any("--other-url" in reason for reason in told(found, "skip"))


def without(operation: str, *fields: str) -> Corruption:
    """Leave fields out of the answers to an operation."""

    def corrupt(asked: str, _message: Any, answer: Any) -> Any:
        if asked != operation:
            return answer
        return {name: value for name, value in answer.items() if name not in fields}

    return corrupt


def without_rows(kind: str) -> Corruption:
    def corrupt(asked: str, _message: Any, answer: Any) -> Any:
        for part in answer.get("tables", []) if asked == "pull" else []:
            part.pop(kind, None)
        return answer

    return corrupt


def always_applied(asked: str, _message: Any, answer: Any) -> Any:
    if asked == "push":
        answer["outcomes"] = []
    return answer


def shown_too_early(asked: str, _message: Any, answer: Any) -> Any:
    if asked == "pull" and answer.get("more"):
        answer |= {"checkpoint": True, "answered": 0, "mark": 0}
    return answer


def one_group(asked: str, message: Any) -> Any:
    """A hub to which a whole push is one transaction."""
    if asked == "push" and message.get("groups"):
        runs = [run for group in message["groups"] for run in group["runs"]]
        message["groups"] = [{"runs": runs, "divisible": False}]
    return message


def all_divisible(asked: str, message: Any) -> Any:
    """A hub that does not keep transactions together."""
    if asked == "push":
        for group in message.get("groups", []):
            group["divisible"] = True
    return message


def lenient(asked: str, message: Any) -> Any:
    """A hub that reads over what it does not know."""
    return {name: value for name, value in message.items() if name != "surprise"}


@pytest.mark.parametrize(
    ("corrupt", "section"),
    [
        (without("pull", "answered"), "identity"),
        (without("pull", "outcomes"), "identity"),
        (without("pull", "reset"), "pulling"),
        (without_rows("puts"), "pulling"),
        (without_rows("deletes"), "pulling"),
        (without("push", "renumber"), "merging"),
        (without("push", "blocks"), "merging"),
        (without("register", "blocks"), "registering"),
        (always_applied, "judging"),
        (shown_too_early, "pulling"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_hub_that_answers_wrongly_is_found_out(
    serving: tuple[str, str, str], corrupt: Corruption, section: str
) -> None:
    with wrong_hub(serving[0], corrupt=corrupt) as url:
        found = check(url, case=section)
    assert told(found, "fail") != [], "the suite does not notice"
    assert found["pass"] > 0, "what is not wrong passes"


@pytest.mark.parametrize(
    ("rewrite", "section"),
    [(one_group, "judging"), (all_divisible, "judging"), (lenient, "unknown field")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_hub_that_does_something_else_is_found_out(
    serving: tuple[str, str, str], rewrite: Rewriting, section: str
) -> None:
    with wrong_hub(serving[0], rewrite=rewrite) as url:
        found = check(url, case=section)
    assert told(found, "fail") != [], "the suite does not notice"


@pytest.mark.parametrize("header", ["reunite-protocol", "www-authenticate", "content-type"])
def test_a_hub_that_leaves_a_header_out_is_found_out(
    serving: tuple[str, str, str], header: str
) -> None:
    with wrong_hub(serving[0], without_header=header) as url:
        done = subprocess.run(
            [sys.executable, str(SUITE), "--url", url, "--token", TOKEN, "--case", "token"],
            capture_output=True,
            text=True,
        )
    # 2, if the suite cannot even begin.
    assert done.returncode in (1, 2), done.stdout


def test_a_hub_without_the_tables_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table note (id text primary key not null)")
    with ServeProcess(path, "--token", TOKEN) as server:
        done = subprocess.run(
            [sys.executable, str(SUITE), "--url", server.url, "--token", TOKEN],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert "['item', 'product', 'sale', 'seat']: see schema.sql" in done.stderr
