"""The console that hubs serve is a fresh build, and keeps to the rules of its page."""

import re
from pathlib import Path

import reunite.console
from tests.javascript import need, run

SERVED = Path(reunite.console.__file__).parent / "static"


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_the_console_that_hubs_serve_is_a_fresh_build(tmp_path: Path) -> None:
    need()
    run("node", "console/build.mjs", str(tmp_path / "built"))
    assert _files(tmp_path / "built") == _files(SERVED), "run `make console`"


def test_the_page_holds_no_code_and_every_url_in_it_is_relative() -> None:
    page = (SERVED / "index.html").read_text(encoding="utf-8")
    assert page.count('<base href="/">') == 1
    assert re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=", page) is None
    named = re.findall(r'(?:src|href)="([^"]*)"', page.replace('<base href="/">', ""))
    assert len(named) == 3
    for url in named:
        assert (SERVED / url).is_file(), url
    for path in SERVED.rglob("*.css"):
        assert re.search(r"url\((?!\"?data:)|@import", path.read_text(encoding="utf-8")) is None


def test_the_console_is_no_large_download() -> None:
    assert sum(len(content) for content in _files(SERVED).values()) < 400_000
