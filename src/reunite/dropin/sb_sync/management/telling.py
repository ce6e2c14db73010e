"""What the commands have in common: an answer is a dictionary, told as JSON or in words.

The rule         what goes wrong is a `CommandError`, so that the exit code is 1; stdout has the
                 answer and nothing else.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from reunite.errors import ReuniteError


class SyncCommand(BaseCommand, ABC):
    """A command whose `answer` gives what is told, and `words` its lines."""

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags of all; and a command's own."""
        parser.add_argument("--json", action="store_true", help="as JSON")
        self.add_flags(parser)

    def handle(self, *arguments: Any, **options: Any) -> None:
        """Do it, and tell of it."""
        try:
            answer = self.answer(options)
        except ReuniteError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False, default=str))
        else:
            for line in self.words(answer, options):
                self.stdout.write(line)
        self.after(answer, options)

    def add_flags(self, parser: CommandParser) -> None:
        """The command's own flags."""

    @abstractmethod
    def answer(self, options: Mapping[str, Any]) -> Any:
        """What is told. Raises ReuniteError and CommandError."""

    def words(self, answer: Any, options: Mapping[str, Any]) -> list[str]:
        """The answer in lines."""
        return in_words(answer)

    def after(self, answer: Any, options: Mapping[str, Any]) -> None:
        """What comes last, such as an exit code."""


def action(parser: CommandParser, *choices: str, default: str | None = None) -> None:
    """`--action`, which must be said where there is no default."""
    parser.add_argument(
        "--action", choices=choices, default=default, required=default is None, help="what to do"
    )


def names(text: str | None) -> list[str]:
    """`a,b` as names."""
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def in_words(answer: Any, indent: str = "") -> list[str]:
    """A dictionary or a list in lines."""
    if isinstance(answer, Mapping):
        lines = []
        for name, value in answer.items():
            title = str(name).replace("_", " ") if indent == "" else str(name)
            if isinstance(value, Mapping | list) and value:
                lines.append(f"{indent}{title}:")
                lines += in_words(value, f"{indent}  ")
            else:
                lines.append(f"{indent}{title}: {_word(value)}")
        return lines
    if isinstance(answer, list):
        return [f"{indent}{_word(one)}" for one in answer]
    return [f"{indent}{_word(answer)}"]


def _word(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case Mapping():
            return ", ".join(f"{name} {_word(one)}" for name, one in value.items()) or "none"
        case list() | tuple():
            return ", ".join(_word(one) for one in value) or "none"
        case _:
            return str(value)
