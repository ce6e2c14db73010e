"""SECURITY.md promises nothing that no test holds."""

import re

from tests.docs.files import ROOT, project_files

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROMISED = TEXT[TEXT.index("## Strangers") : TEXT.index("## What is not promised")]


def test_each_promise_names_tests_that_exist() -> None:
    tests = {
        name
        for path in project_files("tests/*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    promises = [line for line in PROMISED.splitlines() if line.startswith("- ")]
    assert len(promises) > 20
    for promise in promises:
        named = re.findall(r"`(test_\w+)`", promise)
        assert named, f"name a test of this promise, or move it: {promise}"
        assert set(named) <= tests, set(named) - tests


def test_all_hostile_tests_are_named_or_about_something_that_is() -> None:
    """A file of attacks without a promise is a promise that was forgotten."""
    for path in project_files("tests/hostile/test_*.py"):
        found = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert any(name in TEXT for name in found), path.name
