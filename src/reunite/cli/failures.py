"""What a failed command prints, and the code it ends with.

    0    done
    1    it could not be done; the line on stderr says why, and what to do
    2    the command line is wrong (typer prints how it is meant)
    75   the hub cannot be reached: nothing is lost, try later (EX_TEMPFAIL of sysexits.h)

The rule         an error of ours is one line on stderr, `code: message`, and never a traceback.
                 A code is one of a class in `errors.py`, or of `COMMAND_CODES`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup

from reunite.cli.screen import note
from reunite.errors import BadRequestError, HubUnreachableError, ReuniteError, StorageFaultError
from reunite.stores.sql.database import error_of

# Codes of the command line alone, which no class of `errors.py` has: meaning and next step.
COMMAND_CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "system-error": (
            "The operating system refused something, and the message repeats its words.",
            "Look at the file or folder that it names, its rights and the room on its disk.",
        ),
        "missing-extra": (
            "What the command needs is not installed.",
            "Install the extra that the message names.",
        ),
        "command-failed": (
            "The command that `reunite migrate` ran ended with another exit code than 0.",
            "Its own output says why; capture is on again, and what it changed stays changed.",
        ),
    }
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 75

_EXTRA_BY_MODULE = {"httpx2": "client", "starlette": "server", "uvicorn": "server"}


class ReuniteGroup(TyperGroup):
    """The group of all commands: turns errors into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (
            ReuniteError,
            OSError,
            sqlite3.Error,
            ModuleNotFoundError,
            UnicodeEncodeError,
        ) as error:
            if isinstance(error, BrokenPipeError):
                raise  # typer ends quietly when the reader of a pipe has gone
            if isinstance(error, ModuleNotFoundError) and _missing_extra(error) is None:
                raise
            note(line_of(error))
            raise typer.Exit(exit_code_of(error)) from error


def line_of(error: Exception) -> str:
    """The error as `code: message`, on one line."""
    if isinstance(error, sqlite3.Error):
        error = error_of(error)
    if isinstance(error, UnicodeEncodeError):
        error = BadRequestError("A text that was typed has bytes that are no UTF-8: correct it.")
    if isinstance(error, ModuleNotFoundError):
        extra = _missing_extra(error)
        code, message = "missing-extra", f"This needs: pip install 'reunite[{extra}]'"
    elif isinstance(error, ReuniteError):
        code, message = error.code, error.message
    elif isinstance(error, sqlite3.Error):
        code, message = StorageFaultError.code, f"SQLite says: {error}."
    else:
        code, message = "system-error", f"The operating system says: {error}."
    if exit_code_of(error) == EXIT_UNREACHABLE:
        message += " Nothing is lost."
    return f"{code}: {' '.join(message.split())}"


def exit_code_of(error: Exception) -> int:
    """The exit code that a failed command ends with."""
    return EXIT_UNREACHABLE if isinstance(error, HubUnreachableError) else EXIT_FAILED


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    """The extra that brings the module, if it is one of an extra."""
    return _EXTRA_BY_MODULE.get((error.name or "").partition(".")[0])
