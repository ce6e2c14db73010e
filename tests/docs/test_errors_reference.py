"""docs/reference/errors.md and the drawing in errors.py are the error tree, complete."""

import inspect
import re
from collections.abc import Iterator

import pytest

from docs.generate_reference import meaning_and_next_step, pages
from reunite import errors
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


def test_drawing_is_the_tree() -> None:
    drawn = re.findall(r"^ {4}([│├└─ ]*)(\w+)", inspect.getdoc(errors) or "", re.MULTILINE)
    found = {(name, len(branches) // 4) for branches, name in drawn}
    assert found == {(error.__name__, depth) for error, depth in TREE}
