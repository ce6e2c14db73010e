"""The benchmarks run: what they measure is looked at by people, that they run is looked at here."""

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import browser, postgresql, standard
from benchmarks.__main__ import BENCHMARKS
from benchmarks.figures import Settings
from tests.postgresql_server import why_missing

ROOT = Path(__file__).resolve().parents[2]


def test_the_standard_row_is_as_the_readme_says() -> None:
    """Ten columns; the size named in the README is the mean of what travels."""
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    said = int(re.search(r"about (\d+) bytes", text)[1])  # type: ignore[index]

    rows = [standard.row(number) for number in range(1, 100_000, 97)]
    sizes = [
        len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) for row in rows
    ]

    assert {len(row) for row in rows} == {10}
    assert abs(statistics.mean(sizes) - said) < 10
    assert standard.row(7) == standard.row(7)


def test_every_benchmark_has_its_place_in_the_readme() -> None:
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert re.findall(r"^### `(\w+)`", text, re.MULTILINE) == list(BENCHMARKS)


def test_without_a_postgresql_server_nothing_is_measured_and_a_sentence_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgresql, "why_missing", lambda: "there is no module nowhere")
    assert list(postgresql.run(Settings(folder=tmp_path))) == []
    assert "NOT MEASURED" in capsys.readouterr().err


@pytest.mark.slow
def test_a_quick_run_measures_everything_beside_its_limit(tmp_path: Path) -> None:
    """Figures are not judged here: a busy machine must not fail a test."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--json",
         tmp_path / "figures.json", "--folder", tmp_path],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    answer = json.loads((tmp_path / "figures.json").read_bytes())
    figures = answer["figures"]
    missing = {"postgresql"} if why_missing() else set()
    missing |= {"browser"} if browser.why_missing() else set()
    assert {figure["benchmark"] for figure in figures} == set(BENCHMARKS) - missing
    assert all(figure["ratio"] > 0 and figure["limit"] > 0 for figure in figures)
    assert answer["is_quick"] is True
