"""The black-box suite checks what docs/protocol.md says, and knows nothing else of reunite."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.files import ROOT, project_files

SUITE = ROOT / "conformance" / "http"
SOURCES = project_files("conformance/http/*.py", "conformance/http/suite/*.py")


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def listed() -> list[tuple[str, str]]:
    """(section and name, sentence) of each case."""
    output = subprocess.run(
        [sys.executable, str(SUITE), "--list", "--url", "none", "--token", "none"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [re.match(r"(\w+: .*?) {2,}(.*)", line) for line in output.splitlines()]
    assert all(found), "a line of the list cannot be read"
    return [(match[1], match[2]) for match in found if match]


def test_every_case_checks_a_sentence_of_the_protocol() -> None:
    text = plain((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))
    cases = listed()
    assert len(cases) > 100, "this test no longer reads the list"
    assert [case for case in cases if plain(case[1]) not in text] == []


def test_no_two_cases_have_one_name() -> None:
    names = [name for name, _ in listed()]
    assert len(names) == len(set(names))


def test_the_suite_imports_the_standard_library_alone() -> None:
    def modules(path: Path) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
        return found

    assert SOURCES, "there is nothing to look at"
    foreign = {path.name: modules(path) - sys.stdlib_module_names - {"suite"} for path in SOURCES}
    assert {name: found for name, found in foreign.items() if found} == {}
