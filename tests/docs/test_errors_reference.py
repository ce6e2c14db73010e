"""docs/reference/errors.md and the drawing in errors.py are the error tree, complete."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from docs.generate_reference import meaning_and_next_step, pages
from reunite import errors
from reunite.cli.failures import COMMAND_CODES
from reunite.errors import ReuniteError
from reunite.protocol.problem import codes
from tests.docs.files import ROOT

TEXT = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")


def tree(error: type[ReuniteError], depth: int = 0) -> Iterator[tuple[type[ReuniteError], int]]:
    yield error, depth
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child, depth + 1)


TREE = list(tree(ReuniteError))
CLASSES = [error for error, _ in TREE]


def test_page_is_what_the_classes_say() -> None:
    assert pages()["errors.md"] == TEXT, "run `make docs`"


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_an_error_says_what_it_means_and_what_to_do(error: type[ReuniteError]) -> None:
    meaning, next_step = meaning_and_next_step(error)
    assert meaning.endswith(".")
    assert next_step.endswith("."), "the docstring needs a second sentence: the next step"


def test_every_code_of_an_answer_is_on_the_page() -> None:
    assert [code for code in codes() if f"`{code}`" not in TEXT] == []


def test_every_code_that_the_sources_name_is_on_the_page_or_in_the_protocol() -> None:
    """Codes of parked changes are in the protocol, those of a drop-in, or of the console, on its
    own page."""
    pages_of = ROOT / "docs" / "reference"
    others = (ROOT / "docs" / "protocol.md", pages_of / "mobync.md", pages_of / "console.md")
    elsewhere = "".join(path.read_text(encoding="utf-8") for path in others)
    found: dict[str, str] = {}
    for path in (ROOT / "src" / "reunite").rglob("*.py"):
        if "testing" not in path.parts:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= dict.fromkeys(codes_named(tree), path.name)
    assert {"system-error", "command-failed", "no-keys-left", "unique", "vetoed"} <= set(found), (
        "this test no longer finds where codes are named"
    )
    missing = {code: name for code, name in found.items() if f"`{code}`" not in TEXT + elsewhere}
    assert missing == {}
    assert [code for code in COMMAND_CODES if f"| `{code}` |" not in TEXT] == []


def codes_named(tree: ast.AST) -> Iterator[str]:
    """Texts that are given as `code`, and those that begin a note: `some-code: …`."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=value):
                yield from texts_for_code(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from texts_for_code(target, value)
            case ast.keyword(arg="code", value=ast.Constant(value=str(text))):
                yield text
            case ast.Call(
                func=ast.Name(id="note"),
                args=[
                    ast.JoinedStr(values=[ast.Constant(value=str(text)), *_])
                    | ast.Constant(value=str(text)),
                    *_,
                ],
            ):
                if begins := re.match(r"([a-z]+(?:-[a-z]+)+): ", text):
                    yield begins[1]


def texts_for_code(target: ast.expr, value: ast.expr) -> Iterator[str]:
    match target, value:
        case ((ast.Name(id="code") | ast.Attribute(attr="code")), ast.Constant(value=str(text))):
            yield text
        case ast.Tuple(elts=targets), ast.Tuple(elts=values):
            for inner, part in zip(targets, values, strict=True):
                yield from texts_for_code(inner, part)


def test_drawing_is_the_tree() -> None:
    drawn = re.findall(r"^ {4}([│├└─ ]*)(\w+)", inspect.getdoc(errors) or "", re.MULTILINE)
    found = {(name, len(branches) // 4) for branches, name in drawn}
    assert found == {(error.__name__, depth) for error, depth in TREE}
