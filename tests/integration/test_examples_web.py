"""What `make run` starts: the pages in `examples/web`, and beside them the story of a sync.

What the pages do in a browser is tested in `js/tests/browser/demos.test.ts`.
"""

import re
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.docs.files import ROOT
from tests.integration.test_examples import EXAMPLES, Program
from tests.patience import DEADLINE_S

SIZES, MODES = ("desktop", "phone"), ("light", "dark")
PAGES = ["", "chat.html", "notifications.html", "chart.html", "shop.html", "device.html"]


def test_make_run_starts_the_pages_and_the_story() -> None:
    recipe = re.search(r"^run: setup.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == "$(PYTHON) examples/web --story --open $(ARGS)"


@pytest.mark.parametrize("demo", ["two-devices", "chat", "notifications", "chart", "shop"])
def test_each_demo_has_pictures_on_a_desktop_and_a_phone(demo: str) -> None:
    page = (ROOT / "docs/howto/demos-in-the-browser.md").read_text(encoding="utf-8")
    for picture in (f"{demo}-{size}-{mode}.png" for size in SIZES for mode in MODES):
        assert (ROOT / "docs/screenshots" / picture).read_bytes().startswith(b"\x89PNG")
        assert picture in page


def started(folder: Path, *options: str) -> Program:
    return Program(
        folder,
        EXAMPLES / "web",
        *("--port", "0", "--folder", "demo", *options),
        environment={"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
    )


def test_the_pages_are_served_and_a_token_opens_the_hub(tmp_path: Path) -> None:
    program = started(tmp_path)
    try:
        url = program.until_match(r"in your browser: (http://127.0.0.1:\d+/)")
        with httpx2.Client(base_url=url, timeout=DEADLINE_S) as web:
            for page in PAGES:
                assert "<!doctype html>" in web.get(page).text
            assert web.post("token", params={"name": "<b>"}).status_code == 400
            token = web.post("token", params={"name": "Ada"}).json()["token"]
            asked = {"Authorization": f"Bearer {token}"}
            found = web.get("sync/v1/query/flight", headers=asked).json()
            assert len(found["rows"]) == 8
            assert web.get("sync/v1/query/flight").status_code == 401
            assert web.get("backend.py").status_code == 404
    finally:
        program.end()
    assert program.process.returncode == 0


@pytest.mark.slow
def test_the_story_is_told_beside_the_pages_and_one_ctrl_c_ends_both(tmp_path: Path) -> None:
    program = started(tmp_path, "--story", "--small")
    try:
        url = program.until_match(r"in your browser: (http://127.0.0.1:\d+/)")
        program.until_match(r"(Ctrl-C stops it)")
        assert "<!doctype html>" in httpx2.get(url, timeout=DEADLINE_S).text
        told = "\n".join(program.lines)
        assert len(re.findall(r"^\d\. .*$", told, re.MULTILINE)) == 9, told
        assert "✗" not in told
        command = re.search(r"(\S+) status demo/laptop.db", told)
        assert command is not None
        done = subprocess.run(
            [command[1], "status", "demo/laptop.db"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
    finally:
        program.end()
    assert program.process.returncode == 0
    assert "Stopped." in program.lines[-1]
