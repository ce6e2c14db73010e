"""ARCHITECTURE.md is drawn from the import contract, and every file that it names is there."""

import re
import tomllib

from tests.docs.files import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_drawing_is_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    drawing = TEXT.partition("```text\n")[2].partition("```")[0]
    drawn = [re.split(r"\s{2,}", line)[0] for line in drawing.splitlines()]
    assert drawn == [re.sub(r"[()]", "", layer) for layer in layers]


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:src|docs|tests|conformance)/[^`]*)`", TEXT))
    assert len(named) > 30
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_paths_name_modules_that_exist() -> None:
    drawings = "".join(re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL))
    named = set(re.findall(r"[a-z_]+(?:/[a-z_]+)*\.py", drawings))
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / "src" / "reunite" / name).exists()) == []


def test_every_invariant_is_cited_where_the_page_says() -> None:
    rows = re.findall(r"^\| (I\d+) \|.*\| ([^|]*) \|$", TEXT, re.MULTILINE)
    assert [number for number, _ in rows] == [f"I{n}" for n in range(1, 15)]
    uncited = [
        f"{number}: {path}"
        for number, paths in rows
        for path in re.findall(r"`([^`]+)`", paths)
        if number not in ("I13", "I14")  # kept by limits and versions, which cite no number
        and not re.search(rf"\b{number}\b", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert uncited == []
