"""The tidiness that a reviewer would otherwise have to look for."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.files import ROOT, project_files

SOURCES = project_files("src/*.py")
LINES_MAX = 600
# Files that were looked at and have no second idea inside; say why in their module docstring.
MAY_BE_LONGER: set[str] = set()

# Put together here, so that this file does not contain them.
MACHINE_PATHS = re.compile("|".join(rf"/{folder}/" for folder in ("work", "root", "home", "Users")))
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")))
# Where time and chance enter; in pure code they are arguments. `uuid.UUID` itself is a value.
IMPURE = re.compile(r"\b(?:now|utcnow|today|uuid1|uuid4|uuid7|getrandbits|urandom)\(")
PURE_FOLDERS = ("core", "protocol", "engine")


def found_in(files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
        )
        if pattern.search(line)
    ]


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    text = [path for path in project_files() if b"\0" not in path.read_bytes()[:8192]]
    assert found_in(text, MACHINE_PATHS) == []


def test_lock_names_only_the_public_registry() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/\"\s]+)", lock))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
    assert "pandas" not in {package["name"] for package in tomllib.loads(lock)["package"]}


def test_sources_hold_no_unfinished_business() -> None:
    assert found_in(SOURCES, UNFINISHED) == [], "finish it, or write it down as an issue"


def test_every_module_says_what_it_is() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_long_files_are_looked_at() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES_MAX
    }
    assert long == MAY_BE_LONGER, "find the second idea inside, or add the file and say why"


@pytest.mark.parametrize("folder", PURE_FOLDERS)
def test_pure_code_asks_neither_clock_nor_chance(folder: str) -> None:
    """The import contract cannot see these calls: their modules also hold mere values."""
    assert found_in(project_files(f"src/reunite/{folder}/*.py"), IMPURE) == []
