"""The Python examples of README.md and docs/ run, and every relative link leads somewhere.

The blocks of one page share a namespace and an empty folder, from top to bottom, as a reader
would type them. A block after the comment `<!-- no-run: reason -->` is shown only.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.files import ROOT, project_files

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)")
NO_RUN = re.compile(r"^\s*<!-- no-run: \S.* -->\s*$")
INLINE_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+(?P<target>\S+)")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.*?)\s*#*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its first line's number, and its text."""

    language: str
    line: int
    text: str
    is_shown_only: bool


def blocks_and_prose(path: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """Split a page into its fenced blocks and its other lines with their numbers."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    opened: re.Match[str] | None = None
    body: list[str] = []
    is_shown_only = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence is not None:
            opened, body = fence, []
        elif opened is not None:
            if (
                fence is not None
                and not fence["language"]
                and fence["fence"].startswith(opened["fence"])
            ):
                text = "\n".join(body) + "\n"
                first = number - len(body)
                blocks.append(Block(opened["language"], first, text, is_shown_only))
                opened, is_shown_only = None, False
            else:
                body.append(line.removeprefix(opened["indent"]))
        else:
            prose.append((number, line))
            if line.strip():
                is_shown_only = NO_RUN.match(line) is not None
    assert opened is None, f"{path.relative_to(ROOT)}: a code block is never closed"
    return blocks, prose


def runnable(path: Path) -> list[Block]:
    blocks, _ = blocks_and_prose(path)
    return [block for block in blocks if block.language == "python" and not block.is_shown_only]


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get: lower case, dashes for spaces, no punctuation."""
    found: set[str] = set()
    _, prose = blocks_and_prose(path)
    for _, line in prose:
        if heading := HEADING.match(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"])
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            repeated = sum(1 for one in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", one))
            found.add(f"{anchor}-{repeated}" if anchor in found else anchor)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PAGES = project_files("*.md")
PAGES_WITH_CODE = [
    path for path in PAGES if name_of(path).startswith(("README.md", "docs/")) and runnable(path)
]


@pytest.mark.parametrize("path", PAGES_WITH_CODE, ids=name_of)
def test_python_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in runnable(path):
        # The empty lines in front give a traceback the line numbers of the page.
        padded = "\n" * (block.line - 1) + block.text
        exec(compile(padded, str(path), "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = []
    _, prose = blocks_and_prose(path)
    for number, line in prose:
        text = INLINE_CODE.sub("", line)
        for link in (*LINK.finditer(text), *REFERENCE.finditer(text)):
            if ELSEWHERE.match(link["target"]):
                continue
            file_part, _, anchor = unquote(link["target"]).partition("#")
            target = (path.parent / file_part).resolve() if file_part else path
            is_there = target.exists() and target.is_relative_to(ROOT)
            if is_there and anchor and target.suffix == ".md":
                is_there = anchor in anchors(target)
            if not is_there:
                broken.append(f"{name_of(path)}:{number}: {link['target']}")
    assert broken == []


def test_pages_are_found() -> None:
    """An empty parametrize passes silently; this does not."""
    assert ROOT / "README.md" in PAGES


def test_a_page_is_split_as_a_reader_sees_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` title\n\n```python\nx = 1\n```\n\n<!-- no-run: needs a server -->\n"
        "```python\nfail()\n```\n\n- in a list\n\n  ~~~python\n  y = x\n  ~~~\n\n## A b title\n"
    )
    assert [(block.line, block.text) for block in runnable(page)] == [
        (4, "x = 1\n"),
        (15, "y = x\n"),
    ]
    assert anchors(page) == {"a-b-title", "a-b-title-1"}
